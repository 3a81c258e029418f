import { hash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { crc32c } from 'isthmus/testing';

const PAGE = 100;
const byBytes = (one: string, other: string): number => Buffer.compare(Buffer.from(one), Buffer.from(other));

/** A store in memory: uploads that take the place of a file at once, if that is as it was seen. */
export async function startStore() {
  const files = new Map<string, Buffer>();
  const uploads = new Map<string, Buffer[]>();
  const etagOf = (bytes: Buffer): string => `"${hash('sha1', bytes)}"`;
  const about = (key: string, bytes: Buffer) => ({
    key,
    size: bytes.length,
    etag: etagOf(bytes),
    crc32c: crc32c(bytes),
  });

  function list(after: string | null): object {
    const keys = [...files.keys()].sort(byBytes).filter((key) => after === null || byBytes(key, after) > 0);
    const page = keys.slice(0, PAGE).map((key) => about(key, files.get(key) ?? Buffer.alloc(0)));
    return { files: page, more: keys.length > PAGE };
  }

  function commit(id: string, key: string, { headers }: IncomingMessage): number | object {
    const bytes = Buffer.concat(uploads.get(id) ?? []);
    const present = files.get(key);
    if (headers['if-none-match'] === '*' && present !== undefined) return 412;
    if (headers['if-match'] !== undefined && headers['if-match'] !== (present && etagOf(present))) return 412;
    if (headers['x-crc32c'] !== crc32c(bytes)) return 422;
    uploads.delete(id);
    files.set(key, bytes);
    return about(key, bytes);
  }

  async function answer(request: IncomingMessage): Promise<number | object> {
    const url = new URL(request.url ?? '/', 'http://store');
    const body = Buffer.concat(await Array.fromAsync(request));
    const [, kind = '', name = '', action] = url.pathname.split('/').map(decodeURIComponent);
    const present = files.get(name);
    switch (`${request.method} ${kind}`) {
      case 'GET files':
        return list(url.searchParams.get('after'));
      case 'GET about':
        return present === undefined ? 404 : about(name, present);
      case 'DELETE files':
        if (present !== undefined && request.headers['if-match'] !== etagOf(present)) return 412;
        return files.delete(name) ? 204 : 204;
      case 'POST uploads': {
        if (action === 'commit') return commit(name, url.searchParams.get('key') ?? '', request);
        const id = randomUUID();
        uploads.set(id, []);
        return { id };
      }
      case 'PUT uploads':
        return uploads.get(name)?.push(body) === undefined ? 404 : 204;
      case 'DELETE uploads':
        return uploads.delete(name) ? 204 : 404;
      default:
        return 404;
    }
  }

  const server = createServer(async (request, response) => {
    const said = await answer(request);
    if (typeof said === 'number') response.writeHead(said).end();
    else response.end(JSON.stringify(said));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    read: (key: string): Buffer | undefined => files.get(key),
    uploads: (): number => uploads.size,
    close: async (): Promise<void> => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
