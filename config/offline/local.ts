import { hash } from 'node:crypto';
import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { BrokerError, type PluginDefinition, visible } from '../../core/api/index.ts';
import type { Configured, Pipeline } from '../../core/pipeline/validate.ts';
import { entryOf, type HttpConfig } from '../../plugins/http/config.ts';
import { FIXED, fixturesIn } from './fixtures.ts';

interface Places {
  readonly fixtures: string;
  /** Gone afterwards. */
  readonly temporary: string;
  readonly opened: AsyncDisposableStack;
}

type Endpoint = Configured<PluginDefinition>;

/**
 * A pipeline that touches nothing but this process: files are those of the fixtures, in folders that are gone afterwards;
 * URLs are served here; and no other server is asked, whatever `endpoint` says.
 */
export async function localPipeline(pipeline: Pipeline, places: Places): Promise<Pipeline> {
  const named = (kind: string, all: readonly unknown[], index: number): string =>
    all.length === 1 ? kind : `${kind}.${index}`;
  const each = <One extends Endpoint>(kind: string, all: readonly One[]): Promise<One[]> =>
    Promise.all(all.map((one, index) => moved(one, named(kind, all, index), places)));
  const kept = <One extends Endpoint>(one: One | undefined, name: string): Promise<One> | undefined =>
    one && moved(one, name, places);
  const [sources, sinks] = [await each('source', pipeline.sources), await each('sink', pipeline.sinks)];
  return {
    ...pipeline,
    sources,
    sinks,
    state: await kept(pipeline.state, 'state'),
    receipts: await kept(pipeline.receipts, 'receipts'),
    deadLetters: await kept(pipeline.deadLetters, 'dead-letters'),
  };
}

async function moved<One extends Endpoint>(one: One, name: string, places: Places): Promise<One> {
  const { fixtures, temporary } = places;
  const from = join(fixtures, name);
  if (one.plugin.name === 'file')
    return { ...one, config: { ...one.config, path: await copied(from, join(temporary, name)) } };
  if (one.plugin.name === 'http') return { ...one, config: await served(one.config as HttpConfig, from, places) };
  return 'endpoint' in one.config ? { ...one, config: { ...one.config, endpoint: undefined } } : one;
}

/** The files of a fixture in a folder of their own, as old as they always are. */
async function copied(from: string, to: string): Promise<string> {
  await mkdir(to, { recursive: true });
  for (const { key, bytes } of await fixturesIn(from)) {
    const place = join(to, key);
    await mkdir(dirname(place), { recursive: true });
    await writeFile(place, bytes);
    await utimes(place, FIXED, FIXED);
  }
  return to;
}

/** A web server for what a list of URLs names; its files lie under the keys that they get. */
async function served({ urls }: HttpConfig, from: string, { opened }: Places): Promise<HttpConfig> {
  const files = new Map((await fixturesIn(from)).map(({ key, bytes }) => [key, bytes]));
  const entries = urls.map(entryOf);
  const missing = entries.find(({ key }) => !files.has(key));
  if (missing !== undefined)
    throw new BrokerError(
      'invalid_config',
      `${join(from, missing.key)} does not exist: it is what ${new URL(missing.url).host} serves as ${visible(missing.key)}`,
      {
        hint: 'What is served lies under the key that it gets: the path of its URL, or its `key`.',
      },
    );
  const server = createServer((request, response) => {
    const entry = entries[Number(request.url?.slice(1))];
    const bytes = entry && files.get(entry.key);
    if (bytes === undefined) return void response.writeHead(404).end();
    const head = { etag: `"${hash('sha1', bytes)}"`, 'last-modified': FIXED.toUTCString(), 'accept-ranges': 'none' };
    response.writeHead(200, { ...head, 'content-length': bytes.length });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  opened.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { urls: entries.map(({ key, sha256, md5 }, index) => ({ url: `${base}/${index}`, key, sha256, md5 })) };
}
