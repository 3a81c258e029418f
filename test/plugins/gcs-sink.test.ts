import { describe, expect, it } from 'vitest';
import { FairMemoryBudget } from '../../core/engine/memory.ts';
import { gcsSink } from '../../plugins/gcs/index.ts';
import { crc32c } from '../cloud/body.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, localCloud } from '../cloud/local-cloud.ts';
import { bytes, sinkSuite } from '../conformance/sink-suite.ts';
import { pluginContext } from '../support.ts';

async function fixture(options: object = {}) {
  const cloud = await localCloud();
  const bucket = cloud.gcs.bucket('lake', [LOCAL_SERVICE_ACCOUNT], [LOCAL_SERVICE_ACCOUNT]);
  const context = pluginContext({
    endpoints: cloud.endpoints,
    credentials: cloud.session,
    identities: { writer: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } },
  });
  const config = gcsSink.config.parse({ bucket: 'lake', prefix: 'raw/', identity: 'writer', ...options });
  const sink = gcsSink.create(config, { ...context, use: { deletes: true } });
  const read = async (key: string): Promise<Buffer | undefined> => {
    const body = bucket.get(`raw/${key}`)?.body;
    return body && Buffer.concat(await Array.fromAsync(body.read(0, body.size)));
  };
  return {
    cloud,
    bucket,
    sink,
    read,
    leftovers: async () => cloud.gcs.pendingUploads(),
    [Symbol.asyncDispose]: () => cloud[Symbol.asyncDispose](),
  };
}

sinkSuite('gcs sink, keyless', () => fixture());

const never = new AbortController().signal;
const options = (memory = 64 * 2 ** 20) => ({
  signal: never,
  memory: new FairMemoryBudget(memory),
  expected: 'absent' as const,
});

describe('the gcs sink', () => {
  const large = Buffer.alloc(17 * 2 ** 20 + 5, 'isthmus ');

  it('carries headers, metadata and the storage class', async () => {
    await using f = await fixture({ storageClass: 'NEARLINE' });
    const { item, content } = bytes('a', Buffer.from('hello'));
    const headers = { contentType: 'text/csv', contentEncoding: 'gzip', cacheControl: 'no-store' };
    await f.sink.write({ ...item, headers, metadata: { Owner: 'Größe 😀' } }, content, options());
    expect(f.bucket.get('raw/a')).toMatchObject({
      ...headers,
      metadata: { Owner: 'Größe 😀' },
      storageClass: 'NEARLINE',
    });
  });

  it.each(['reset-before', 'reset-after'] as const)(
    'goes on where a chunk, or its answer, was lost: %s',
    async (kind) => {
      await using f = await fixture();
      f.cloud.gcs.faults.add('upload_id', { kind }, 1);
      const { item, content } = bytes('a', large);
      const written = await f.sink.write(item, content, options());
      expect(written.checksums?.crc32c).toBe(crc32c(large));
      expect((await f.read('a'))?.equals(large)).toBe(true);
    },
  );

  it('begins anew, as another try of the item, where a session is gone: that says nothing of the bucket', async () => {
    await using f = await fixture();
    f.cloud.gcs.faults.add('upload_id', { kind: 'answer', status: 404, body: 'Not Found' }, Number.POSITIVE_INFINITY);
    const { item, content } = bytes('a', large);
    await expect(f.sink.write(item, content, options())).rejects.toMatchObject({
      code: 'write_conflict',
      next: 'retry',
    });
  });

  it.each([
    [5, 1],
    [300 * 1024, 1],
    [5 * 2 ** 20, 1],
  ])('stores %i bytes in %i request', async (size, requests) => {
    await using f = await fixture();
    const { item, content } = bytes('a', Buffer.alloc(size));
    await f.sink.write(item, content, options());
    expect(f.cloud.gcs.requests.filter(({ method }) => method === 'POST' || method === 'PUT')).toHaveLength(requests);
    expect(f.sink.estimate?.(item)).toMatchObject({ requests: { 'storage.objects.insert': requests } });
  });

  it.each([5, 9_000_000])('carries a content type that no header can hold: of %i bytes', async (size) => {
    await using f = await fixture();
    const { item, content } = bytes('a', Buffer.alloc(size));
    const contentType = 'text/plain; name="Größe 😀"';
    await f.sink.write({ ...item, headers: { contentType } }, content, options());
    expect(f.bucket.get('raw/a')).toMatchObject({ contentType });
  });

  it('knows its own object where the answer to a small one was lost', async () => {
    await using f = await fixture();
    f.cloud.gcs.faults.add('uploadType=multipart', { kind: 'reset-after' }, 1);
    const { item, content } = bytes('a', Buffer.from('small'));
    expect(await f.sink.write(item, content, options())).toMatchObject({ size: 5 });
  });

  it('tries again what is throttled, and gives up what is denied, by name', async () => {
    await using f = await fixture();
    f.cloud.gcs.faults.add('uploadType=multipart', { kind: 'answer', status: 429, headers: { 'retry-after': '0' } }, 1);
    const { item, content } = bytes('a', Buffer.from('small'));
    await f.sink.write(item, content, options());
    f.bucket.writers.clear();
    const denied = f.sink.write({ ...item, key: 'b' }, content, options());
    await expect(denied).rejects.toMatchObject({
      code: 'permission_denied',
      hint: expect.stringContaining('roles/storage.objectUser'),
    });
  });

  it('sends what Cloud Storage could verify: wrong bytes are refused by the server, too', async () => {
    await using f = await fixture();
    const { item, content } = bytes('a', Buffer.from('hello'), { published: crc32c(Buffer.from('hello')) });
    const lying = {
      ...content,
      open: async () => Object.assign((await content.open()) as never, { crc32c: () => 'AAAAAA==' }),
    };
    await expect(f.sink.write(item, lying, options())).rejects.toMatchObject({ code: 'checksum_mismatch' });
    expect(f.bucket.get('raw/a')).toBeUndefined();
  });

  it.each(['https://evil.example', 'https://storage.googleapis.com.evil.example'])(
    'is not made for an endpoint that may not have its token: %s',
    (endpoint) => {
      const identities = { writer: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } };
      const config = gcsSink.config.parse({ bucket: 'lake', identity: 'writer', endpoint });
      const create = () => gcsSink.create(config, pluginContext({ identities: identities as never }));
      expect(create).toThrow('would receive the tokens');
    },
  );

  it('never sends its token to another host than the one that was asked, whatever a session is called', async () => {
    await using f = await fixture();
    const location = 'http://127.0.0.1:1/upload/storage/v1/b/lake/o?uploadType=resumable&upload_id=other';
    f.cloud.gcs.faults.add('uploadType=resumable&name', { kind: 'answer', status: 200, headers: { location } });
    const { item, content } = bytes('a', large);
    await expect(f.sink.write(item, content, options())).rejects.toMatchObject({
      code: 'write_conflict',
      message: expect.stringContaining('No such upload session'),
    });
  });
});
