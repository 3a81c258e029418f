import { hash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { Source } from '../../core/api/index.ts';
import { http } from '../../plugins/http/index.ts';
import { crc32c } from '../cloud/body.ts';
import { runContext } from '../conformance/run-context.ts';
import { sourceSuite } from '../conformance/source-suite.ts';
import { world } from '../faults/world.ts';
import { pluginContext } from '../support.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => boolean;

/** A plain web server: ETags, ranges, HEAD. @param instead answers in its place. */
async function server(objects: Map<string, Buffer>, instead: Answer = () => false) {
  const serve = createServer((request, response) => {
    if (instead(request, response)) return;
    const key = decodeURIComponent((request.url ?? '/').slice(1));
    const bytes = objects.get(key);
    if (bytes === undefined) return void response.writeHead(404).end();
    const etag = `"${hash('sha1', bytes).slice(0, 16)}"`;
    const head = {
      etag,
      'accept-ranges': 'bytes',
      'content-type': 'text/plain',
      'x-goog-hash': `crc32c=${crc32c(bytes)}`,
    };
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const wanted = range !== null && [undefined, etag].includes(request.headers['if-range'] as string | undefined);
    if (!wanted) {
      response.writeHead(200, { ...head, 'content-length': bytes.length });
      return void response.end(request.method === 'HEAD' ? undefined : bytes);
    }
    const [start, end] = [Number(range[1]), range[2] === '' ? bytes.length : Number(range[2]) + 1];
    const part = bytes.subarray(start, end);
    response.writeHead(206, {
      ...head,
      'content-length': part.length,
      'content-range': `bytes ${start}-${start + part.length - 1}/${bytes.length}`,
    });
    response.end(part);
  });
  serve.listen(0, '127.0.0.1');
  await once(serve, 'listening');
  const url = `http://127.0.0.1:${(serve.address() as AddressInfo).port}`;
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      serve.closeAllConnections();
      serve.close();
      await once(serve, 'close');
    },
  };
}

const encoded = (key: string): string => key.split('/').map(encodeURIComponent).join('/');
const make = (urls: readonly (string | object)[]): Source =>
  http.create(http.config.parse({ urls }), pluginContext({})) as Source;

sourceSuite('http source', async (given) => {
  const objects = new Map(Object.entries(given));
  const served = await server(objects);
  return {
    source: make([...objects.keys()].map((key) => `${served.url}/${encoded(key)}`)),
    remove: async (key) => void objects.delete(key),
    replace: async (key, bytes) => void objects.set(key, bytes),
    [Symbol.asyncDispose]: served[Symbol.asyncDispose],
  };
});

const never = new AbortController().signal;
const all = (source: Source) => Array.fromAsync(source.list({ signal: never, run: runContext() }));
const read = async (source: Source, item: unknown): Promise<string> =>
  Buffer.concat(
    (await Array.fromAsync(await source.open(item as never, { signal: never }))).map((c) => Buffer.from(c)),
  ).toString();

describe('the http source', () => {
  it('compares with the SHA-256 that the pipeline names, before the last byte is handed over', async () => {
    await using served = await server(new Map([['a', Buffer.from('hello')]]));
    const good = make([{ url: `${served.url}/a`, sha256: hash('sha256', 'hello') }]);
    expect(await read(good, (await all(good))[0])).toBe('hello');
    const bad = make([{ url: `${served.url}/a`, sha256: hash('sha256', 'other') }]);
    await expect(read(bad, (await all(bad))[0])).rejects.toMatchObject({ code: 'checksum_mismatch' });
  });

  it('reads what servers publish: Repr-Digest, Digest, Content-MD5, those of the clouds', async () => {
    const sum = Buffer.from(hash('sha256', 'hello'), 'hex').toString('base64');
    const headers: Record<string, string>[] = [
      { 'repr-digest': `sha-256=:${sum}:` },
      { digest: `SHA-256=${sum}` },
      { 'x-amz-checksum-sha256': sum },
    ];
    for (const more of headers) {
      await using served = await server(new Map(), (_, response) => {
        response.writeHead(200, { ...more, 'content-length': 5, etag: '"1"' });
        response.end(_.method === 'HEAD' ? undefined : 'hellO');
        return true;
      });
      const source = make([`${served.url}/a`]);
      const [item] = await all(source);
      await expect(read(source, item), Object.keys(more)[0]).rejects.toMatchObject({ code: 'checksum_mismatch' });
    }
  });

  it('follows a redirect, and none to where no pipeline may read', async () => {
    await using served = await server(new Map([['there', Buffer.from('here')]]), (request, response) => {
      const to = { '/moved': '/there', '/inner': 'http://169.254.169.254/latest/meta-data/', '/loop': '/loop' }[
        request.url ?? ''
      ];
      if (to === undefined) return false;
      response.writeHead(302, { location: to }).end();
      return true;
    });
    const source = make(['moved', 'inner', 'loop'].map((path) => `${served.url}/${path}`));
    const [inner, loop, moved] = await all(source);
    expect(await read(source, moved)).toBe('here');
    expect(inner?.problem?.message).toContain('must begin with https');
    expect(loop?.problem?.message).toContain('never ends');
  });

  it('refuses by name what a server answers nonsense for, and the rest goes on', async () => {
    await using served = await server(new Map([['b', Buffer.from('b')]]), (request, response) => {
      if (request.url !== '/a') return false;
      response.socket?.end('this is not HTTP\r\n\r\n');
      return true;
    });
    const [a, b] = await all(make([`${served.url}/a`, `${served.url}/b`]));
    expect(a?.problem).toMatchObject({ code: 'invalid_request' });
    expect(b?.problem).toBeUndefined();
  });

  it('carries what a HEAD says is empty, and is not', async () => {
    await using w = await world();
    await using served = await server(new Map(), (request, response) => {
      if (request.method === 'HEAD') response.writeHead(200, { 'content-length': 0, etag: '"1"' }).end();
      else response.writeHead(200, { etag: '"1"' }).end('not empty');
      return true;
    });
    const report = await w.carry({ top: { source: { use: 'http', with: { urls: [`${served.url}/a`] } } } });
    expect(report.items.written).toBe(1);
    expect(Buffer.from(w.lake.bytes('a') ?? []).toString()).toBe('not empty');
  });

  it('compares with the MD5 that the pipeline names, whatever the server publishes', async () => {
    await using served = await server(new Map([['a', Buffer.from('other')]]));
    const source = make([{ url: `${served.url}/a`, md5: hash('md5', 'hello') }]);
    const [item] = await all(source);
    expect(item).toMatchObject({
      whole: true,
      checksums: { md5: Buffer.from(hash('md5', 'hello'), 'hex').toString('base64') },
    });
    await using w = await world();
    const pinned = { use: 'http', with: { urls: [{ url: `${served.url}/a`, md5: hash('md5', 'hello') }] } };
    expect((await w.carry({ top: { source: pinned } })).failures[0]).toMatchObject({ code: 'checksum_mismatch' });
  });

  it('does not carry again what has no length, and the checksum that is there already', async () => {
    await using w = await world();
    const crc = crc32c(Buffer.from('streamed'));
    await using served = await server(new Map(), (request, response) => {
      response.writeHead(200, { etag: '"1"', 'x-goog-hash': `crc32c=${crc}`, 'transfer-encoding': 'chunked' });
      response.end(request.method === 'HEAD' ? undefined : 'streamed');
      return true;
    });
    const source = { use: 'http', with: { urls: [`${served.url}/a`] } };
    expect((await w.carry({ top: { source } })).items.written).toBe(1);
    expect((await w.carry({ top: { source } })).items).toMatchObject({ written: 0, unchanged: 1 });
  });

  it('reads in one request from a server that knows no ranges', async () => {
    await using w = await world();
    const large = randomBytes(12 * 2 ** 20);
    let gets = 0;
    await using served = await server(new Map(), (request, response) => {
      if (request.method === 'GET') gets++;
      response.writeHead(200, { etag: '"1"', 'content-length': large.length, 'accept-ranges': 'none' });
      response.end(request.method === 'HEAD' ? undefined : large);
      return true;
    });
    const report = await w.carry({ top: { source: { use: 'http', with: { urls: [`${served.url}/a`] } } } });
    expect([report.items.written, gets]).toEqual([1, 1]);
  });

  it('refuses one that is gone by name, and the rest goes on', async () => {
    await using served = await server(new Map([['b', Buffer.from('b')]]));
    const [a, b] = await all(make([`${served.url}/a`, `${served.url}/b`]));
    expect(a?.problem).toMatchObject({ code: 'source_gone' });
    expect(b?.problem).toBeUndefined();
  });

  it('reads what has no length, from a server that knows no HEAD', async () => {
    await using served = await server(new Map(), (request, response) => {
      if (request.method === 'HEAD') response.writeHead(405).end();
      else response.writeHead(200, { 'last-modified': 'Tue, 01 Jul 2025 00:00:00 GMT' }).end('streamed');
      return true;
    });
    const source = make([`${served.url}/a`]);
    const [item] = await all(source);
    expect(item?.size).toBeUndefined();
    expect(await read(source, item)).toBe('streamed');
  });

  it('resumes with a server that ignores ranges', async () => {
    const large = 'isthmus '.repeat(20_000);
    let gets = 0;
    await using served = await server(new Map(), (request, response) => {
      response.writeHead(200, { 'content-length': large.length, etag: '"1"' });
      if (request.method === 'HEAD') response.end();
      else if (gets++ === 0) response.write(large.slice(0, 50_000), () => response.socket?.resetAndDestroy());
      else response.end(large);
      return true;
    });
    const source = make([`${served.url}/a`]);
    expect(await read(source, (await all(source))[0])).toBe(large);
  });

  it('compares with the MD5 that the pipeline names where there is nothing better, and stores nothing that differs', async () => {
    await using w = await world();
    await using served = await server(new Map(), (request, response) => {
      response.writeHead(200, { 'content-length': 5, etag: '"1"' });
      response.end(request.method === 'HEAD' ? undefined : 'other');
      return true;
    });
    const one = { url: `${served.url}/a`, md5: hash('md5', 'hello') };
    const source = { use: 'http', with: { urls: [one] } };
    expect((await w.carry({ top: { source } })).failures[0]).toMatchObject({ code: 'checksum_mismatch' });
    expect(w.lake.objects.size).toBe(0);
  });

  it('reads what has a SHA-256 as a whole, however large: in parts nobody could compare it', async () => {
    await using w = await world();
    const large = randomBytes(12 * 2 ** 20);
    await using served = await server(new Map([['a', large]]));
    const source = (sha256: string) => ({ use: 'http', with: { urls: [{ url: `${served.url}/a`, sha256 }] } });
    const wrong = await w.carry({ top: { source: source(hash('sha256', 'what was promised')) } });
    expect(wrong.failures[0]).toMatchObject({ code: 'checksum_mismatch' });
    expect(w.lake.objects.size).toBe(0);
    const right = await w.carry({ top: { source: source(hash('sha256', large)) } });
    expect(right.items.written).toBe(1);
  });

  it('joins no two versions where a server names none: it begins again, or fails', async () => {
    const [first, second] = [Buffer.alloc(300_000, 'a'), Buffer.alloc(300_000, 'b')];
    let gets = 0;
    await using served = await server(new Map(), (request, response) => {
      response.writeHead(200, { 'content-length': first.length });
      if (request.method === 'HEAD') response.end();
      else if (gets++ === 0) response.write(first.subarray(0, 150_000), () => response.socket?.resetAndDestroy());
      else response.end(second);
      return true;
    });
    const source = make([`${served.url}/a`]);
    const [item] = await all(source);
    expect(item?.whole).toBe(true);
    await expect(read(source, item)).rejects.toMatchObject({ code: 'network' });
    expect(await read(source, item)).toBe(second.toString());
  });

  it('takes no other part for the one that it asked for', async () => {
    const bytes = Buffer.concat([Buffer.alloc(150_000, 'a'), Buffer.alloc(150_000, 'b')]);
    await using served = await server(new Map(), (request, response) => {
      const head = { etag: '"1"', 'content-length': bytes.length };
      if (request.method === 'HEAD') response.writeHead(200, head).end();
      else if (request.headers.range === undefined)
        response.writeHead(200, head).write(bytes.subarray(0, 150_000), () => response.socket?.resetAndDestroy());
      else {
        const range = { 'content-range': `bytes 0-149999/${bytes.length}`, 'content-length': 150_000 };
        response.writeHead(206, { ...head, ...range }).end(bytes.subarray(0, 150_000));
      }
      return true;
    });
    const source = make([`${served.url}/a`]);
    const [item] = await all(source);
    // Of this item: nonsense of one server says nothing of the others.
    await expect(read(source, item)).rejects.toMatchObject({ code: 'invalid_request' });
  });

  it.each([
    ['http://example.com/a', 'must begin with https'],
    ['https://me:secret@example.com/a', 'no user and password'],
    ['https://169.254.169.254/latest', 'an address of an inner network'],
    ['https://metadata.google.internal/x', 'an address of an inner network'],
    ['https://10.0.0.1/a', 'an address of an inner network'],
    ['https://127.0.0.1/a', 'an address of an inner network'],
    ['https://2852039166/a', 'an address of an inner network'],
    ['https://0xa9fea9fe/a', 'an address of an inner network'],
    ['https://[::]/a', 'an address of an inner network'],
    ['https://[::1]/a', 'an address of an inner network'],
    ['https://[::ffff:169.254.169.254]/a', 'an address of an inner network'],
    ['https://[64:ff9b::a9fe:a9fe]/a', 'an address of an inner network'],
    ['https://[fd00:ec2::254]/a', 'an address of an inner network'],
    ['https://metadata.google.internal./a', 'an address of an inner network'],
    ['https://b.s3.amazonaws.com/a?X-Amz-Security-Token=x', 'a signature or token'],
    ['https://b.s3.amazonaws.com/a?X-Amz-Signature=00', 'a signature or token'],
    ['https://example.com/', 'its path names nothing'],
    ['nonsense', 'must be a URL'],
  ])('refuses %s: %s', (url, message) => {
    expect(JSON.stringify(http.config.safeParse({ urls: [url] }).error?.issues)).toContain(message);
  });

  it.each(['https://0.gravatar.com/a', 'https://10.example.com/a', 'https://[2606:4700::1111]/a'])(
    'allows %s, which anybody can reach',
    (url) => expect(http.config.safeParse({ urls: [url] }).success).toBe(true),
  );

  it('carries one URL under two keys, and tells them apart', async () => {
    await using served = await server(new Map([['a', Buffer.from('hello')]]));
    const source = make(['one', 'two'].map((key) => ({ url: `${served.url}/a`, key })));
    const items = await all(source);
    expect(items.map(({ key }) => key)).toEqual(['one', 'two']);
    for (const item of items) expect((await source.stat?.(item, { signal: never }))?.key).toBe(item.key);
  });

  it('refuses two URLs with one key', () => {
    const { error } = http.config.safeParse({ urls: ['https://a.example/x', 'https://b.example/x'] });
    expect(error?.issues[0]?.message).toBe('has the key of number 1, "x": give it another');
  });
});
