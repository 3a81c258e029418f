import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { Item } from '../../core/api/index.ts';
import { Steps } from '../../core/through/steps.ts';
import { encrypt, filter, gzip, zstd } from '../../plugins/steps/index.ts';
import { isthmus } from '../faults/command.ts';
import { type World, world } from '../faults/world.ts';
import { pluginContext } from '../support.ts';

const KEY = 'arn:aws:kms:eu-west-1:111122223333:key/0d5d6f1e-0000-4000-8000-000000000001';
const text = 'a line of text\n'.repeat(2000);
const sealing = { use: 'encrypt', with: { kmsKeyArn: KEY } };
const through = (...steps: readonly (string | object)[]) => ({
  top: { through: steps.map((step) => (typeof step === 'string' ? { use: step } : step)) },
});
const stored = ({ lake }: World, key: string): Buffer => Buffer.from(lake.bytes(key) ?? []);
const keysIn = ({ lake }: World): string[] => [...lake.objects.keys()].sort();

async function web(answer: () => { readonly headers?: Record<string, string>; readonly body: string }) {
  const serve = createServer(({ method }, response) => {
    const { headers = {}, body } = answer();
    response.writeHead(200, headers);
    response.end(method === 'HEAD' ? undefined : body);
  });
  serve.listen(0, '127.0.0.1');
  await once(serve, 'listening');
  return {
    url: `http://127.0.0.1:${(serve.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      serve.closeAllConnections();
      serve.close();
      await once(serve, 'close');
    },
  };
}

describe('encryption', () => {
  it('of a source that lies fails by name, and the process goes on with the others', async () => {
    await using w = await world();
    w.cloud.kms.keys.set(KEY, []);
    w.bucket.put('a', randomBytes(300_000));
    w.bucket.put('b', 'fine');
    w.cloud.gcs.faults.add('/a?alt=media', { kind: 'corrupt-body', at: 1000 }, Number.POSITIVE_INFINITY);
    const report = await w.carry(through(sealing));
    expect(report.items).toMatchObject({ written: 1, failed: 1 });
    expect(report.failures[0]?.code).toBe('checksum_mismatch');
    expect(keysIn(w)).toEqual(['b.encrypted']);
  });

  it('that is refused a key opens nothing of the source, so that nothing of it stays open', async () => {
    await using w = await world();
    w.cloud.kms.keys.set(KEY, ['arn:aws:iam::111122223333:role/other']);
    for (let n = 0; n < 20; n++) w.bucket.put(`k${n}`, randomBytes(50_000));
    const report = await w.carry(through(sealing));
    expect(report.items.failed).toBe(20);
    expect(w.cloud.gcs.requests.filter(({ target }) => target.includes('alt=media'))).toEqual([]);
  });

  it('renews credentials that have ended, once, and says who is not let in', async () => {
    await using w = await world();
    w.cloud.kms.keys.set(KEY, []);
    w.bucket.put('a', text);
    const ended = {
      kind: 'answer' as const,
      status: 400,
      body: '{"__type":"ExpiredTokenException","message":"ended"}',
    };
    w.cloud.kms.faults.add('POST /', ended, 1);
    expect((await w.carry(through(sealing))).items.written).toBe(1);
    w.bucket.put('b', text);
    w.cloud.kms.faults.add('POST /', ended, Number.POSITIVE_INFINITY);
    expect(await w.carry(through(sealing))).toMatchObject({ error: { code: 'unauthenticated' } });
  });

  it('ends when it is stopped half way', async () => {
    await using w = await world();
    w.cloud.kms.keys.set(KEY, []);
    const context = pluginContext({ endpoints: w.cloud.endpoints, credentials: w.cloud.session });
    const step = encrypt.create(encrypt.config.parse({ kmsKeyArn: KEY }), context);
    const item: Item = { id: 'a', key: 'a', ref: null };
    const { signal } = new AbortController();
    let closed = false;
    async function* endless() {
      try {
        for (;;) yield Buffer.alloc(65_536);
      } finally {
        closed = true;
      }
    }
    let chunks = 0;
    for await (const _ of step.bytes?.(endless(), item, { signal }) ?? []) if (++chunks === 3) break;
    expect(closed).toBe(true);
    await step[Symbol.asyncDispose]?.();
  });

  it('does not leave out what only looks like a folder: of unknown size it may have content', async () => {
    await using w = await world();
    w.cloud.kms.keys.set(KEY, []);
    await using served = await web(() => ({ headers: { etag: '"1"' }, body: 'top secret' }));
    const source = { use: 'http', with: { urls: [`${served.url}/customers/`] } };
    const report = await w.carry({ top: { source, ...through(sealing).top } });
    for (const key of keysIn(w)) expect(stored(w, key).includes('top secret'), key).toBe(false);
    expect(report.items.written + report.items.failed).toBe(1);
  });
});

describe('steps', () => {
  it('that filter are refused where extras are deleted: what they leave out would be one', async () => {
    await using w = await world();
    const top = { delete: { extras: true }, ...through({ use: 'filter', with: { exclude: ['keep/**'] } }).top };
    const { code, err } = await isthmus(w, 'validate', await w.write({ top }));
    expect(code).toBe(2);
    expect(err.join('\n')).toContain('delete');
  });

  it('put no checksum beside what may be another one when it is read again', async () => {
    await using w = await world();
    let reads = 0;
    await using served = await web(() => ({ body: `body-${reads++}` }));
    const source = { use: 'http', with: { urls: [`${served.url}/a`] } };
    const report = await w.carry({ top: { source, ...through('checksum').top } });
    expect(report.failures).toMatchObject([{ key: 'a.sha256', code: 'unverifiable' }]);
    expect(keysIn(w)).toEqual(['a']);
  });

  it('make anew what a server without versions may have changed', async () => {
    await using w = await world();
    let body = 'first';
    await using served = await web(() => ({ headers: { 'content-length': `${body.length}` }, body }));
    const options = { top: { source: { use: 'http', with: { urls: [`${served.url}/a`] } }, ...through('gzip').top } };
    await w.carry(options);
    body = 'second';
    expect((await w.carry(options)).items.written).toBe(1);
    expect(gunzipSync(stored(w, 'a.gz')).toString()).toBe('second');
  });

  it('make anew what was there before they were, by its time too', async () => {
    await using w = await world();
    w.bucket.put('a', text);
    await w.carry({ top: { compare: 'modified' } });
    const options = { top: { compare: 'modified', through: [{ use: 'gzip', with: { as: 'encoding' } }] } };
    expect((await w.carry(options)).items.written).toBe(1);
    expect(gunzipSync(stored(w, 'a')).toString()).toBe(text);
    expect((await w.carry(options)).items.unchanged).toBe(1);
  });

  it('name in a checksum the file as the template of the pipeline names it', async () => {
    await using w = await world();
    w.bucket.put('d/a.csv', text);
    await w.carry({ top: { key: { template: 'out/{stem}-x{ext}' }, ...through('checksum').top } });
    expect(keysIn(w)).toEqual(['out/a-x.csv', 'out/a-x.csv.sha256']);
    expect(stored(w, 'out/a-x.csv.sha256').toString()).toMatch(/ {2}a-x\.csv\n$/);
  });

  it('that are wrong are named, and fail the item: a key that they did not declare, no bytes, no key', () => {
    const item: Item = { id: 'a', key: 'a', ref: null };
    const of = (step: object) => new Steps([{ name: 'mine', step }], 'x').describe(item).item.problem;
    expect(of({ describe: (one: Item) => ({ ...one, key: 'x/a' }) })).toMatchObject({
      code: 'step_failed',
      message: expect.stringMatching(/^mine: a: .*it changes the key to "x\/a": declare keys/),
    });
    expect(of({ describe: () => ({ key: '' }) })).toMatchObject({ code: 'step_failed' });
    expect(of({ keys: 'unique', describe: (one: Item) => ({ ...one, key: 'x/a' }) })).toBeUndefined();
    const texts = new Steps(
      [
        {
          name: 'mine',
          step: {
            bytes: async function* () {
              yield 'text' as never;
            },
          },
        },
      ],
      'x',
    );
    const { changed } = texts.describe(item);
    const read = texts.bytes((async function* () {})(), item, changed, new AbortController().signal);
    return expect(Array.fromAsync(read)).rejects.toMatchObject({
      code: 'step_failed',
      message: expect.stringContaining('mine: a: Error: it gave something else than a Uint8Array'),
    });
  });

  it('put no checksum beside what stands for a folder', async () => {
    await using w = await world();
    w.bucket.put('p/', '');
    w.bucket.put('p/a', 'x');
    await w.carry({ source: { prefix: 'p/' }, ...through('checksum') });
    expect(keysIn(w).filter((key) => key.endsWith('.sha256'))).toEqual(['a.sha256']);
  });

  it('look at what the step before them left: no later one sees the size of the original', async () => {
    const packed: Item = { id: 'a', key: 'big.gz', size: 2000, checksums: { crc32c: 'AAAAAA==' }, ref: null };
    const steps = (minSize: string) =>
      new Steps(
        [
          { name: 'gunzip', step: { keys: 'any', bytes: (content) => content } },
          { name: 'filter', step: filter.create(filter.config.parse({ minSize }), pluginContext({})) },
        ],
        'x',
      );
    expect(steps('100KiB').describe(packed).item.size).toBeUndefined();
    expect(steps('100KiB').describe(packed).item.checksums).toBeUndefined();
  });

  it('compress nothing twice: what has a content encoding keeps it', async () => {
    await using w = await world();
    w.bucket.put('b', 'not really brotli', { contentEncoding: 'br' });
    w.bucket.put('g', gzipSync(text), { contentEncoding: 'gzip' });
    for (const use of [gzip.name, zstd.name]) {
      await w.carry(through({ use, with: { as: 'encoding' } }));
      expect(stored(w, 'b').toString()).toBe('not really brotli');
      expect(gunzipSync(stored(w, 'g')).toString()).toBe(text);
      expect(w.lake.objects.get('b')?.headers['content-encoding']).toBe('br');
      expect(w.lake.objects.get('g')?.headers['content-encoding']).toBe('gzip');
    }
  });

  it.each([{ key: 'a' }, { prefix: 'a' }])(
    'of %j alone know what they made, and replace what was made of it before',
    async (only) => {
      await using w = await world();
      w.bucket.put('a', 'one');
      const options = { ...through('gzip', 'checksum'), run: { only } };
      expect((await w.carry(options)).items.written).toBe(2);
      expect((await w.carry(options)).items).toMatchObject({ unchanged: 2, failed: 0 });
      w.bucket.put('a', 'two');
      expect((await w.carry(options)).items).toMatchObject({ written: 2, failed: 0 });
      expect(gunzipSync(stored(w, 'a.gz')).toString()).toBe('two');
    },
  );

  it.each([
    ['gunzip', { a: 'one', 'a.gz': gzipSync('two') }, 'a'],
    ['gzip', { a: 'one', 'a.gz': gzipSync('two') }, 'a.gz'],
    ['zstd', { a: 'one', 'a.zst': 'two' }, 'a.zst'],
    ['checksum', { a: 'one', 'a.sha256': 'two' }, 'a.sha256'],
    [{ use: 'encrypt', with: { kmsKeyArn: KEY } }, { a: 'one', 'a.encrypted': 'two' }, undefined],
  ])('of one object alone replace nothing of another: %j', async (step, objects, key) => {
    await using w = await world();
    w.cloud.kms.keys.set(KEY, []);
    const [[first, bytes], [second, others]] = Object.entries(objects) as [[string, string], [string, Buffer]];
    w.bucket.put(first, bytes);
    await w.carry(through(step));
    w.bucket.put(second, others);
    const before = key === undefined ? undefined : stored(w, key);
    const report = await w.carry({ ...through(step), run: { only: { key: second } } });
    if (key === undefined) return expect(report.items.failed).toBe(0);
    expect(report.failures).toMatchObject([
      { code: 'key_collision', message: expect.stringContaining(`"${key}" is also the key of`) },
    ]);
    expect(stored(w, key).equals(before ?? Buffer.alloc(0))).toBe(true);
  });

  it('of one object alone do not take for a rival what the filter leaves out', async () => {
    await using w = await world();
    w.bucket.put('a', 'one');
    w.bucket.put('a.gz', gzipSync('left out'));
    const options = { top: { filter: { exclude: ['*.gz'] }, ...through('gzip').top }, run: { only: { key: 'a' } } };
    await w.carry(options);
    w.bucket.put('a', 'two');
    expect((await w.carry(options)).items).toMatchObject({ written: 1, failed: 0 });
  });

  it('of one object alone refuse what they cannot tell: names that a template makes', async () => {
    await using w = await world();
    w.bucket.put('d/a', 'one');
    const options = {
      ...through({ use: 'rename', with: { template: '{name}' } }, 'gzip'),
      run: { only: { key: 'd/a' } },
    };
    await w.carry(options);
    w.bucket.put('d/a', 'two');
    expect((await w.carry(options)).failures).toMatchObject([
      { code: 'key_collision', message: expect.stringContaining('may be of another item') },
    ]);
  });

  it.each([
    [['gzip', 'checksum'], 0],
    [['gunzip', { use: 'rename', with: { template: 'in/{key}' } }], 0],
    [[{ use: 'rename', with: { template: '{name}' } }], 2],
  ])('may be pushed to where they tell whose key is whose: %j', async (steps, code) => {
    await using w = await world();
    const push = {
      subscription: 'projects/p/subscriptions/s',
      audience: 'https://x.example',
      serviceAccount: 's@p.iam.gserviceaccount.com',
    };
    const answer = await isthmus(w, 'validate', await w.write({ top: { push, ...through(...steps).top } }));
    expect([answer.code, answer.err.join()]).toEqual([code, code === 0 ? '' : expect.stringContaining('with push')]);
  });

  it('fail together with what would be beside, and both come once the source is mended', async () => {
    await using w = await world();
    w.bucket.put('x.gz', 'not gzip');
    expect((await w.carry(through('gunzip', 'checksum'))).items.failed).toBe(2);
    w.bucket.put('x.gz', gzipSync('fine now'));
    expect((await w.carry(through('gunzip', 'checksum'))).items).toMatchObject({ written: 2, failed: 0 });
  });
});
