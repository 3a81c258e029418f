import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { endpointsFrom } from '../../config/endpoints.ts';
import type { Sink } from '../../core/api/index.ts';
import { FairMemoryBudget } from '../../core/engine/memory.ts';
import { fixedSlots } from '../../core/engine/slots.ts';
import { addressOf } from '../../plugins/s3/endpoint.ts';
import { s3, s3State } from '../../plugins/s3/index.ts';
import { localCloud } from '../cloud/local-cloud.ts';
import { bytes, sinkSuite } from '../conformance/sink-suite.ts';
import { stateSuite } from '../conformance/state-suite.ts';
import { pluginContext } from '../support.ts';

const CONFLICT =
  '<Error><Code>ConditionalRequestConflict</Code><Message>A conflicting operation is in progress</Message></Error>';
const EMPTY_UPLOAD = { headers: {}, tags: undefined, algorithm: undefined, checksumType: undefined } as const;

const variants = {
  's3 sink': {},
  's3 sink, KMS and tags': {
    encryption: 'aws:kms',
    tags: { team: 'data' },
    storageClass: 'STANDARD_IA',
    expectedBucketOwner: '111122223333',
  },
};

for (const [name, options] of Object.entries(variants)) {
  sinkSuite(name, async () => {
    const cloud = await localCloud();
    const bucket = cloud.s3.bucket('lake');
    const context = pluginContext({ endpoints: cloud.endpoints, credentials: cloud.session });
    return {
      sink: s3.create(
        s3.config.parse({ bucket: 'lake', prefix: 'raw/', region: 'eu-west-1', partSize: '5MiB', ...options }),
        context,
      ),
      read: async (key) => bucket.bytes(`raw/${key}`),
      leftovers: async () => cloud.s3.pendingUploads(),
      [Symbol.asyncDispose]: () => cloud[Symbol.asyncDispose](),
    };
  });
}

describe('the s3 sink after a process was killed', () => {
  const since = Date.now();

  it('aborts the uploads to exactly the key that was being written, page by page, and no older or other ones', async () => {
    await using cloud = await localCloud();
    const bucket = cloud.s3.bucket('lake');
    const upload = (key: string, initiated: number): void => {
      const id = `${key}-${bucket.uploads.size}`;
      bucket.uploads.set(id, { ...EMPTY_UPLOAD, id, key, initiated: new Date(initiated), parts: new Map() });
    };
    for (let n = 0; n < 1100; n++) upload('raw/a b+ü', since + n);
    upload('raw/a b+ü', since - 3_600_000);
    upload('raw/a b+ü2', since);
    upload('raw/a', since);
    const context = pluginContext({ endpoints: cloud.endpoints, credentials: cloud.session });
    const options = { bucket: 'lake', prefix: 'raw/', region: 'eu-west-1' };
    await using sink = s3.create(s3.config.parse(options), context) as Sink & AsyncDisposable;
    await sink.tidy?.('a b+ü', { since, signal: new AbortController().signal });
    expect([...bucket.uploads.values()].map(({ key, initiated }) => [key, initiated.getTime() < since])).toEqual([
      ['raw/a b+ü', true],
      ['raw/a b+ü2', false],
      ['raw/a', false],
    ]);
  });
});

describe('what passes through, and what is buffered', () => {
  const MIB = 2 ** 20;
  const open = async (options: object = {}) => {
    const cloud = await localCloud();
    const bucket = cloud.s3.bucket('lake');
    const context = pluginContext({ endpoints: cloud.endpoints, credentials: cloud.session });
    const sink = s3.create(s3.config.parse({ bucket: 'lake', region: 'eu-west-1', ...options }), context);
    const requests = (pattern: RegExp) =>
      cloud.s3.requests.filter(({ method, target }) => pattern.test(`${method} ${target}`));
    return { cloud, bucket, sink, requests, [Symbol.asyncDispose]: () => cloud[Symbol.asyncDispose]() };
  };
  const never = new AbortController().signal;
  const write = (memory: number) => ({ signal: never, memory: new FairMemoryBudget(memory), expected: undefined });

  it('refuses what must be buffered and does not fit into memory, with the memory that it needs', async () => {
    await using fixture = await open();
    const { item, content } = bytes('huge', Buffer.from('x'));
    const unhashed = { ...item, size: 200_000 * MIB, checksums: {} };
    await expect(
      fixture.sink.write(unhashed, { ...content, size: unhashed.size }, write(8 * MIB)),
    ).rejects.toMatchObject({ code: 'memory_too_small', hint: expect.stringContaining('memory: 20MiB') });
    expect(fixture.cloud.s3.pendingUploads()).toBe(0);
  });

  it('lets 70 MiB pass in parts of 16 MiB through 8 MiB of memory, without a checksum of its own', async () => {
    await using fixture = await open();
    const whole = Buffer.alloc(70 * MIB, 'isthmus ');
    const { item, content } = bytes('large', whole);
    const memory = new FairMemoryBudget(8 * MIB);
    const hashed: unknown[] = [];
    const watched = { ...content, open: async () => hashed.push('read to be hashed') as never };
    expect(await fixture.sink.write(item, watched, { ...write(0), memory })).toMatchObject({ size: whole.length });
    expect(hashed).toEqual([]);
    expect(fixture.requests(/partNumber=/).length).toBe(5);
    expect(memory.peak).toBeLessThanOrEqual(2 * MIB);
    expect(fixture.bucket.bytes('large')?.equals(whole)).toBe(true);
  });

  it.each(['checksum missing, want "CRC32C", got ""', 'Content-MD5 OR x-amz-checksum- HTTP header is required'])(
    'hashes the parts for a server that wants a checksum with each: %s',
    async (message) => {
      await using fixture = await open({ partSize: '5MiB' });
      fixture.bucket.wantsPartSums = message;
      for (const key of ['a', 'b']) {
        const whole = Buffer.alloc(11 * MIB, key);
        const { item, content } = bytes(key, whole);
        await fixture.sink.write(item, content, write(64 * MIB));
        expect(fixture.bucket.bytes(key)?.equals(whole)).toBe(true);
      }
      // It asks once.
      expect(fixture.requests(/POST .*uploads=/).length).toBe(3);
      expect(fixture.cloud.s3.pendingUploads()).toBe(0);
    },
  );

  it('hashes what goes to a server that proves nothing: what it reads is right, at least', async () => {
    await using fixture = await open({ proof: 'size' });
    const lying = bytes('a', Buffer.alloc(100, 'x'), { published: 'AAAAAA==' });
    await expect(fixture.sink.write(lying.item, lying.content, write(8 * MIB))).rejects.toMatchObject({
      code: 'checksum_mismatch',
    });
    expect(fixture.requests(/^PUT/)).toEqual([]);
  });

  it('does not take for its own what was there before: the same bytes with other metadata', async () => {
    await using fixture = await open();
    const { item, content } = bytes('a', Buffer.from('the same'));
    await fixture.sink.write(item, content, { ...write(8 * MIB), expected: 'absent' });
    const stored = await fixture.sink.stat?.('a', { signal: never });
    const busy = { kind: 'answer', status: 503, body: '<Error><Code>SlowDown</Code></Error>' } as const;
    fixture.cloud.s3.faults.add(/^PUT/, busy, Number.POSITIVE_INFINITY);
    for (const expected of [stored, undefined])
      await expect(fixture.sink.write(item, content, { ...write(8 * MIB), expected })).rejects.toMatchObject({
        code: 'throttled',
      });
  });

  it('asks again for a page of a listing that broke off, and for the end of an upload', async () => {
    await using fixture = await open({ partSize: '5MiB' });
    const { item, content } = bytes('a', Buffer.alloc(11 * MIB, 'x'));
    const failed = { kind: 'answer', status: 200, body: '<Error><Code>InternalError</Code></Error>' } as const;
    fixture.cloud.s3.faults.add(/POST .*uploadId=/, failed);
    await fixture.sink.write(item, content, write(64 * MIB));
    expect(fixture.requests(/POST .*uploads=/).length).toBe(1);
    fixture.cloud.s3.faults.add('list-type=2', { kind: 'cut-body', at: 60 });
    const listed = await Array.fromAsync(fixture.sink.list?.({ signal: never }) ?? []);
    expect(listed.map(({ key }) => key)).toEqual(['a']);
  });

  it.each([
    ['eu-west-1', undefined, {}, 'https://lake.s3.eu-west-1.amazonaws.com', '/'],
    ['cn-north-1', undefined, {}, 'https://lake.s3.cn-north-1.amazonaws.com.cn', '/'],
    ['us-east-1', undefined, { bucket: 'a.b' }, 'https://s3.us-east-1.amazonaws.com', '/a.b/'],
    ['eu-west-1', 'http://127.0.0.1:9000', {}, 'http://127.0.0.1:9000', '/lake/'],
    ['eu-west-1', 'https://s3.example.com/below/', { forcePathStyle: false }, 'https://lake.s3.example.com', '/below/'],
  ])('reaches a bucket in %s by %s as S3 does', (region, endpoint, place, origin, path) => {
    expect(addressOf({ bucket: 'lake', ...place }, region, endpoint)).toMatchObject({ origin, path });
  });

  it('follows what the process says of endpoints, and refuses what it cannot reach', () => {
    const { s3: own, s3Host: name } = endpointsFrom({
      AWS_USE_FIPS_ENDPOINT: 'true',
      AWS_USE_DUALSTACK_ENDPOINT: 'true',
    });
    expect(addressOf({ bucket: 'lake' }, 'us-east-1', own, name).host).toBe(
      'lake.s3-fips.dualstack.us-east-1.amazonaws.com',
    );
    expect(endpointsFrom({ AWS_ENDPOINT_URL_S3: 'https://vpce.example.com' }).s3).toBe('https://vpce.example.com');
    expect(() => addressOf({ bucket: 'fast--use1-az4--x-s3' }, 'us-east-1', undefined)).toThrow('directory bucket');
  });

  it.each([1, 2, 3, 16])('sends the parts of an object in %i slots, each part once', async (most) => {
    await using fixture = await open({ partSize: '5MiB' });
    const whole = Buffer.alloc(68 * MIB, 'parts ');
    const { item, content } = bytes('large', whole);
    const slots = fixedSlots(most);
    using _own = await slots.take(never);
    await fixture.sink.write(item, content, { ...write(64 * MIB), slots });
    const sent = fixture.requests(/partNumber=/).map(({ target }) => Number(/partNumber=(\d+)/.exec(target)?.[1]));
    expect(sent.sort((a, b) => a - b)).toEqual(Array.from({ length: 14 }, (_, index) => index + 1));
    expect(slots.peak).toBe(Math.min(most, 4));
    expect(fixture.bucket.bytes('large')?.equals(whole)).toBe(true);
  });

  it('puts an object with one request, and asks nothing about it', async () => {
    await using fixture = await open();
    const { item, content } = bytes('small', Buffer.from('x'.repeat(5000)));
    await fixture.sink.write(item, content, { ...write(8 * MIB), expected: 'absent' });
    expect(fixture.requests(/./).map(({ method }) => method)).toEqual(['PUT']);
  });
});

stateSuite('s3 state', async () => {
  const cloud = await localCloud();
  cloud.s3.bucket('state');
  const context = pluginContext({ endpoints: cloud.endpoints, credentials: cloud.session });
  const options = { bucket: 'state', prefix: 'isthmus/', region: 'eu-west-1' };
  return {
    store: s3State.create(s3State.config.parse(options), context),
    [Symbol.asyncDispose]: () => cloud[Symbol.asyncDispose](),
  };
});

describe('s3 state', () => {
  const signal = new AbortController().signal;
  const open = async () => {
    const cloud = await localCloud();
    const bucket = cloud.s3.bucket('state');
    const context = pluginContext({ endpoints: cloud.endpoints, credentials: cloud.session });
    const options = { bucket: 'state', region: 'eu-west-1' };
    const store = s3State.create(s3State.config.parse(options), context);
    return { cloud, bucket, store, [Symbol.asyncDispose]: () => cloud[Symbol.asyncDispose]() };
  };

  it('recognises its own save when the answer to it was lost', async () => {
    await using fixture = await open();
    const { cloud, store } = fixture;
    cloud.s3.faults.add('PUT /state/p.json', { kind: 'reset-after' });
    const revision = await store.save('p', 1, undefined, { signal });
    expect(await store.load('p', { signal })).toEqual({ value: 1, revision });
    cloud.s3.faults.add('DELETE /state/p.json', { kind: 'reset-after' });
    await store.delete('p', revision, { signal });
    expect(await store.load('p', { signal })).toBeUndefined();
  });

  it('knows its own save again that was given up before S3 had answered', async () => {
    await using fixture = await open();
    const { cloud, store } = fixture;
    const first = await store.save('p', 1, undefined, { signal });
    cloud.s3.faults.add('PUT /state/p.json', { kind: 'stall-body', at: 0 });
    const given = new AbortController();
    const saving = store.save('p', 2, first, { signal: given.signal });
    while (!fixture.bucket.bytes('p.json')?.toString().includes('"value":2')) await turn();
    given.abort();
    await expect(saving).rejects.toMatchObject({ code: 'stopped' });
    const third = await store.save('p', 3, first, { signal });
    expect(await store.load('p', { signal })).toEqual({ value: 3, revision: third });
  });

  it('deletes its own save that was given up before S3 had answered', async () => {
    await using fixture = await open();
    const { cloud, store, bucket } = fixture;
    const first = await store.save('p', 1, undefined, { signal });
    cloud.s3.faults.add('PUT /state/p.json', { kind: 'stall-body', at: 0 });
    const given = new AbortController();
    const saving = store.save('p', 2, first, { signal: given.signal });
    while (!bucket.bytes('p.json')?.toString().includes('"value":2')) await turn();
    given.abort();
    await expect(saving).rejects.toMatchObject({ code: 'stopped' });
    await store.delete('p', first, { signal });
    expect(await store.load('p', { signal })).toBeUndefined();
  });

  it('tries again while another save to the same key is under way, which may be its own', async () => {
    await using fixture = await open();
    const { cloud, store } = fixture;
    cloud.s3.faults.add('PUT /state/p.json', { kind: 'answer', status: 409, body: CONFLICT });
    await store.save('p', 1, undefined, { signal });
    expect((await store.load('p', { signal }))?.value).toBe(1);
  });

  it('refuses what it did not write, and never begins from zero silently', async () => {
    await using fixture = await open();
    const { bucket, store } = fixture;
    await store.save('p', 1, undefined, { signal });
    const kept = bucket.objects.get('p.json');
    if (kept !== undefined) bucket.store({ ...kept, chunks: [Buffer.from('{"savedBy":"x","val')] });
    await expect(store.load('p', { signal })).rejects.toMatchObject({ code: 'state_unreadable' });
    await store.reset('p', { signal });
    expect(await store.load('p', { signal })).toBeUndefined();
  });
});
