import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { compose } from '../../config/composition.ts';
import { tokens } from '../../config/tokens.ts';
import { assumeRole } from '../../core/auth/aws-sts.ts';
import { ServerClock } from '../../core/auth/clock.ts';
import { run } from '../../core/engine/run.ts';
import { FileState } from '../../core/state/file.ts';
import { gcs, gcsSink } from '../../plugins/gcs/index.ts';
import { s3, s3Source, s3State } from '../../plugins/s3/index.ts';
import { sinkSuite } from '../conformance/sink-suite.ts';
import { sourceSuite } from '../conformance/source-suite.ts';
import { stateSuite } from '../conformance/state-suite.ts';
import { pluginContext, SILENT, temporaryFolder, testRuntime } from '../support.ts';
import { credentials, gcsUrl, newGcsBucket, newS3Bucket, s3Url } from './fixtures.ts';

sourceSuite(
  'gcs source on fake-gcs-server',
  async (objects) => {
    const bucket = await newGcsBucket();
    for (const [key, bytes] of Object.entries(objects)) await bucket.put(`2026/${key}`, bytes);
    const context = pluginContext({ identities: { nobody: { kind: 'anonymous' } } });
    const options = { bucket: bucket.name, prefix: '2026/', identity: 'nobody', endpoint: gcsUrl };
    return {
      source: gcs.create(gcs.config.parse(options), context),
      remove: (key) => bucket.remove(`2026/${key}`),
      replace: (key, bytes) => bucket.put(`2026/${key}`, bytes),
      [Symbol.asyncDispose]: async () => {},
    };
  },
  {
    'deletes the version that was listed, and no other': 'fake-gcs-server ignores ifGenerationMatch on DELETE',
  },
);

sinkSuite(
  's3 sink on MinIO',
  async () => {
    const bucket = await newS3Bucket();
    const options = { bucket: bucket.name, prefix: 'raw/', region: 'us-east-1', endpoint: s3Url, partSize: '5MiB' };
    return {
      sink: s3.create(s3.config.parse(options), pluginContext({ credentials })),
      read: (key) => bucket.read(`raw/${key}`),
      leftovers: bucket.uploads,
      [Symbol.asyncDispose]: async () => {},
    };
  },
  { 'deletes the revision it was shown and no other': 'MinIO ignores If-Match on DELETE' },
);

sourceSuite(
  's3 source on MinIO',
  async (objects) => {
    const bucket = await newS3Bucket();
    for (const [key, bytes] of Object.entries(objects)) await bucket.put(`2026/${key}`, bytes);
    const options = { bucket: bucket.name, prefix: '2026/', region: 'us-east-1', endpoint: s3Url };
    return {
      source: s3Source.create(s3Source.config.parse(options), pluginContext({ credentials })),
      remove: (key) => bucket.remove(`2026/${key}`),
      replace: (key, bytes) => bucket.put(`2026/${key}`, bytes),
      [Symbol.asyncDispose]: async () => {},
    };
  },
  { 'deletes the version that was listed, and no other': 'MinIO ignores If-Match on DELETE' },
);

sinkSuite(
  'gcs sink on fake-gcs-server',
  async () => {
    const bucket = await newGcsBucket();
    const context = pluginContext({ identities: { nobody: { kind: 'anonymous' } } });
    const options = { bucket: bucket.name, prefix: 'raw/', identity: 'nobody', endpoint: gcsUrl };
    return {
      sink: gcsSink.create(gcsSink.config.parse(options), context),
      read: (key) => bucket.read(`raw/${key}`),
      leftovers: async () => 0,
      [Symbol.asyncDispose]: async () => {},
    };
  },
  {
    'passes its own check, which leaves nothing that a reader could see': 'fake-gcs-server knows no permissions',
    'deletes the revision it was shown and no other': 'fake-gcs-server ignores ifGenerationMatch on DELETE',
  },
);

stateSuite('file state', async () => {
  const folder = await temporaryFolder();
  return { store: new FileState(folder.path), [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
});

stateSuite(
  's3 state on MinIO',
  async () => {
    const bucket = await newS3Bucket();
    const options = { bucket: bucket.name, prefix: 'state/', region: 'us-east-1', endpoint: s3Url };
    const store = s3State.create(s3State.config.parse(options), pluginContext({ credentials }));
    return { store, [Symbol.asyncDispose]: async () => {} };
  },
  { 'deletes only the revision that was seen': 'MinIO ignores If-Match on DELETE' },
);

it('AWS STS: a role is assumed at MinIO, and its session writes an object', async () => {
  const { accessKeyId } = credentials;
  const bucket = await newS3Bucket();
  const place = { region: 'us-east-1', endpoint: s3Url };
  const role = { roleArn: 'arn:aws:iam::111122223333:role/any', sessionName: 'compat', durationSeconds: 900 };
  const options = { clock: new ServerClock(Date.now) };
  const session = await assumeRole(credentials, role, place, options);
  expect(session.accessKeyId).not.toBe(accessKeyId);
  expect((session.expiration?.getTime() ?? 0) - Date.now()).toBeGreaterThan(800_000);
  const config = s3.config.parse({ bucket: bucket.name, region: 'us-east-1', endpoint: s3Url });
  const sink = s3.create(config, pluginContext({ credentials: session }));
  expect(await sink.check?.({ signal: new AbortController().signal })).toMatchObject([
    { name: 'list', verdict: 'pass' },
    { name: 'write', verdict: 'pass' },
  ]);
  expect(await bucket.uploads()).toBe(0);
  const wrong = { ...credentials, secretAccessKey: 'wrong-wrong' };
  await expect(assumeRole(wrong, role, place, options)).rejects.toMatchObject({ code: 'unauthenticated' });
});

it('the whole pipeline, fake-gcs-server to MinIO, and once more: everything unchanged', async () => {
  await using folder = await temporaryFolder();
  const source = await newGcsBucket();
  const sink = await newS3Bucket();
  const objects = new Map([
    ['a.txt', Buffer.from('hello')],
    ['empty', Buffer.alloc(0)],
    ['naïve/日本語 😀', Buffer.from('unicode')],
    ['large.bin', randomBytes(21 * 2 ** 20 + 7)],
  ]);
  for (const [key, bytes] of objects) await source.put(key, bytes, 'text/plain');
  const file = join(folder.path, 'pipeline.yaml');
  const spec = {
    name: 'compat',
    identities: { nobody: { kind: 'anonymous' } },
    source: { use: 'gcs', with: { bucket: source.name, identity: 'nobody', endpoint: gcsUrl } },
    sink: { use: 's3', with: { bucket: sink.name, region: 'us-east-1', endpoint: s3Url } },
  };
  await writeFile(file, JSON.stringify(spec));
  const carry = async () => {
    await using open = await compose(process.env).get(tokens.jobs).open(file, { log: SILENT, now: Date.now });
    return await run(open.job, { runtime: testRuntime() });
  };
  expect(await carry()).toMatchObject({ outcome: 'complete', items: { written: 4 }, failures: [] });
  for (const [key, bytes] of objects) expect((await sink.read(key))?.equals(bytes), key).toBe(true);
  expect(await carry()).toMatchObject({ outcome: 'complete', items: { unchanged: 4, written: 0 } });
  expect(await sink.uploads()).toBe(0);
});

it('a plan with what is deleted and moved, its receipts, and an object that goes on after a stop: fake-gcs-server to MinIO', async () => {
  await using folder = await temporaryFolder();
  const [source, sink, kept] = [await newGcsBucket(), await newS3Bucket(), await newS3Bucket()];
  const large = randomBytes(21 * 2 ** 20);
  await source.put('large.bin', large);
  const file = join(folder.path, 'pipeline.yaml');
  const s3Bucket = (bucket: string) => ({ use: 's3', with: { bucket, region: 'us-east-1', endpoint: s3Url } });
  const write = async (more: object = {}): Promise<void> => {
    const spec = {
      name: 'compat',
      identities: { nobody: { kind: 'anonymous' } },
      source: { use: 'gcs', with: { bucket: source.name, identity: 'nobody', endpoint: gcsUrl } },
      sink: { ...s3Bucket(sink.name), with: { ...s3Bucket(sink.name).with, partSize: '5MiB', partConcurrency: 1 } },
      state: { use: 'file', with: { path: 'state' } },
      receipts: s3Bucket(kept.name),
      ...more,
    };
    await writeFile(file, JSON.stringify(spec));
  };
  const end = new AbortController();
  const carry = async (signal = new AbortController().signal) => {
    await using open = await compose(process.env).get(tokens.jobs).open(file, { log: SILENT, now: Date.now });
    let sent = 0;
    const bytes = (count: number): void => {
      sent += count;
      if (sent > 13 * 2 ** 20) end.abort();
    };
    return await run(open.job, { runtime: testRuntime({ signal }), observer: { bytes } });
  };
  await write();
  const paused = await carry(end.signal);
  expect(paused.outcome).toBe('paused');
  // How many parts are there depends on how much MinIO reads of the first before it refuses it.
  expect([5, 10].map((parts) => parts * 2 ** 20)).toContain(paused.unfinishedBytes);
  expect(await sink.uploads()).toBe(1);
  expect(await carry()).toMatchObject({ outcome: 'complete', items: { written: 1 }, receipts: { lines: 1 } });
  expect((await sink.read('large.bin'))?.equals(large)).toBe(true);
  expect(await sink.uploads()).toBe(0);
  const cli = compose(process.env).get(tokens.cli);
  const out: string[] = [];
  const output = { out: (line: string) => void out.push(line), err: () => {}, terminal: undefined };
  expect(await cli(['receipts', file], output, '0')).toBe(0);
  expect(await cli(['verify', file, '--deep'], output, '0')).toBe(0);
  // What is gone in the source goes in the sink.
  await source.put('new', Buffer.from('x'));
  await source.remove('large.bin');
  await write({ delete: { extras: true, maxPercent: 100 } });
  const plan = join(folder.path, 'plan.jsonl');
  expect(await cli(['plan', file, '--out', plan], output, '0')).toBe(0);
  expect(await cli(['apply', plan], output, '0')).toBe(0);
  expect(await sink.read('large.bin')).toBeUndefined();
  expect(await sink.read('new')).toEqual(Buffer.from('x'));
  await write({ move: true });
  expect(await carry()).toMatchObject({ outcome: 'complete', moved: 1 });
});

it('there and back: fake-gcs-server to MinIO to fake-gcs-server, bytes, headers and metadata the same', async () => {
  await using folder = await temporaryFolder();
  const [first, middle, last] = [await newGcsBucket(), await newS3Bucket(), await newGcsBucket()];
  const objects = new Map([
    ['a.txt', Buffer.from('hello')],
    ['empty', Buffer.alloc(0)],
    ['naïve/日本語 😀', Buffer.from('unicode')],
    ['large.bin', randomBytes(21 * 2 ** 20 + 7)],
  ]);
  for (const [key, bytes] of objects) await first.put(key, bytes, 'text/plain', { owner: 'Größe', note: 'plain' });
  const gcsOf = (bucket: string) => ({ use: 'gcs', with: { bucket, identity: 'nobody', endpoint: gcsUrl } });
  const s3Of = (bucket: string) => ({ use: 's3', with: { bucket, region: 'us-east-1', endpoint: s3Url } });
  const carry = async (source: object, sink: object) => {
    const file = join(folder.path, 'pipeline.yaml');
    const identities = { nobody: { kind: 'anonymous' } };
    await writeFile(file, JSON.stringify({ name: 'compat', identities, source, sink }));
    await using open = await compose(process.env).get(tokens.jobs).open(file, { log: SILENT, now: Date.now });
    return await run(open.job, { runtime: testRuntime() });
  };
  expect(await carry(gcsOf(first.name), s3Of(middle.name))).toMatchObject({ outcome: 'complete', failures: [] });
  const back = () => carry(s3Of(middle.name), gcsOf(last.name));
  expect(await back()).toMatchObject({ outcome: 'complete', items: { written: 4 }, failures: [] });
  for (const [key, bytes] of objects) {
    expect((await last.read(key))?.equals(bytes), key).toBe(true);
    const [before, after] = [await first.resource(key), await last.resource(key)];
    expect(after).toMatchObject({
      crc32c: before.crc32c,
      size: before.size,
      contentType: 'text/plain',
      metadata: { owner: 'Größe', note: 'plain' },
    });
  }
  expect(await back()).toMatchObject({ outcome: 'complete', items: { unchanged: 4, written: 0 } });
});
