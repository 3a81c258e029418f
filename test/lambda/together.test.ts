import { randomUUID } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { packaged } from '../../config/packaged.ts';
import { plugins } from '../../config/plugins.ts';
import { Tally } from '../../core/engine/report.ts';
import { alarmsOf } from '../../core/package/deployment.ts';
import { runOnce } from '../../core/runtime/container.ts';
import type { Figures } from '../../core/runtime/figures.ts';
import { emfMeter } from '../../core/runtime/lambda/emf.ts';
import { patternBody } from '../cloud/body.ts';
import { caught } from '../leaks.ts';
import { functionOn, pipelineData, pushBody, pushToken, sqsEvent, testFunction, urlEvent } from './function.ts';

const MIB = 2 ** 20;
type Fn = Awaited<ReturnType<typeof testFunction>>;
const pushOf = ({ cloud, source }: Pick<Fn, 'cloud' | 'source'>, name: string) =>
  urlEvent(pushBody(name, source.get(name)?.generation ?? '1'), pushToken(cloud));
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await turn();
};

/** The requests to S3 wait from the first of the three parts of an upload on, until they are released. */
function holdParts({ cloud, sink }: Pick<Fn, 'cloud' | 'sink'>) {
  let release = (): void => {};
  let parts = 0;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  cloud.s3.faults.add(
    (request) => {
      if (!request.target.includes('partNumber=')) return false;
      parts++;
      cloud.s3.hold = held;
      return false;
    },
    { kind: 'reset-before' },
  );
  return {
    begun: () => until(() => sink.uploads.size > 0 && parts === 3),
    release: () => {
      cloud.s3.hold = undefined;
      release();
    },
  };
}

describe('the same object, delivered again while it is under way in another process', () => {
  it('is sent away to come again, and harms nothing: the first goes on to its end', async () => {
    await using fn = await testFunction();
    const other = functionOn(fn.cloud);
    fn.source.put('2026/large', patternBody(20 * MIB));
    const held = holdParts(fn);
    const first = fn.invoke(pushOf(fn, '2026/large'));
    await held.begun();
    fn.cloud.s3.hold = undefined;
    for (let time = 0; time < 3; time++) {
      const again = await other.invoke(pushOf(fn, '2026/large'));
      expect(again).toMatchObject({ statusCode: 429 });
      expect(String(again.body)).toContain('is under way');
    }
    expect(fn.sink.uploads.size).toBe(1);
    held.release();
    expect(await first).toMatchObject({ statusCode: 200 });
    expect(fn.sink.objects.get('raw/large')?.checksums.crc32c).toBe(fn.source.get('2026/large')?.crc32c);
    expect(await other.invoke(pushOf(fn, '2026/large'))).toMatchObject({ statusCode: 200 });
  });

  it('goes for messages of a queue, and for a whole run that overlaps with itself', async () => {
    await using fn = await testFunction();
    const other = functionOn(fn.cloud);
    fn.source.put('2026/large', patternBody(20 * MIB));
    const held = holdParts(fn);
    const first = fn.invoke({});
    await held.begun();
    fn.cloud.s3.hold = undefined;
    expect(await caught(other.invoke({}))).toMatchObject({ name: 'Isthmus.busy' });
    // The next tick of a schedule has nothing to do then, and is no failure.
    const tick = { 'detail-type': 'Scheduled Event', source: 'aws.events', detail: {} };
    expect(await other.invoke(tick)).toMatchObject({ outcome: 'ignored' });
    held.release();
    expect(await first).toMatchObject({ outcome: 'complete' });
  });

  it('is carried by the second when the first was killed and has not said for a while that it lives', async () => {
    await using fn = await testFunction(pipelineData(), { ISTHMUS_LEASE: '1' });
    fn.source.put('2026/large', patternBody(20 * MIB));
    const held = holdParts(fn);
    const first = fn.invoke(pushOf(fn, '2026/large'), 1000).catch(() => undefined);
    await held.begun();
    // As a killed process leaves it: on record, with an upload, and silent.
    const [record] = [...fn.state.objects.values()];
    const [upload] = [...fn.sink.uploads.values()];
    held.release();
    await first;
    if (record === undefined || upload === undefined) throw new Error('nothing was on record');
    const left = JSON.parse(Buffer.concat(record.chunks).toString()) as {
      value: { aliveUntil: number; begun: object[] };
    };
    expect(left.value.begun).toMatchObject([{ sink: 0, key: 'large' }]);
    const dead = { ...left, value: { ...left.value, alive: { until: Date.now() - 1, lease: 1000 } } };
    fn.sink.objects.clear();
    fn.state.store({ ...record, chunks: [Buffer.from(JSON.stringify(dead))] });
    fn.sink.uploads.set(upload.id, { ...upload, parts: new Map() });
    const other = functionOn(fn.cloud);
    expect(await other.invoke(pushOf(fn, '2026/large'))).toMatchObject({ statusCode: 200 });
    expect(fn.cloud.s3.pendingUploads()).toBe(0);
    expect(fn.state.objects.size).toBe(0);
  });
});

it('a continuation of a run that goes on already has nothing to do, and is no failure', async () => {
  await using fn = await testFunction(pipelineData({ concurrency: 1 }));
  for (let n = 0; n < 20; n++) fn.source.put(`2026/${String(n).padStart(2, '0')}`, `value ${n}`);
  fn.cloud.s3.faults.add('PUT /lake', { kind: 'delay', ms: 60 }, Number.POSITIVE_INFINITY);
  const paused = await fn.invoke({}, 900);
  expect(paused).toMatchObject({ outcome: 'paused' });
  const other = functionOn(fn.cloud, pipelineData({ concurrency: 1 }));
  const answers = await Promise.all([fn.invoke(paused), other.invoke(paused)]);
  expect(answers.map(({ outcome }) => outcome).sort()).toEqual(['complete', 'ignored']);
  expect(fn.sink.objects.size).toBe(20);
});

it('a container that finds the run of a killed one on record waits for it to be over, and goes on', async () => {
  await using fn = await testFunction();
  fn.source.put('2026/a', 'one');
  const parts = { environment: { ...fn.cloud.environment, ISTHMUS_LEASE: '1' }, write: () => {} };
  const { ready, log } = packaged({ data: pipelineData(), plugins, url: import.meta.url }, parts);
  const { job } = (await ready(() => {})).open;
  const never = new AbortController().signal;
  // As a killed process leaves it: on record for a while, and silent.
  const record = {
    version: 1,
    pipeline: 'exports',
    fingerprint: job.fingerprint,
    runId: randomUUID(),
    alive: { until: Date.now() + 600, lease: 1000 },
    tally: { ...(new Tally().toJson() as object) },
  };
  await job.state.save('exports', record as never, undefined, { signal: never });
  const lines: string[] = [];
  const code = await runOnce({
    load: () => ready(() => {}),
    log,
    graceMs: undefined,
    out: (line) => void lines.push(line),
  });
  expect([code, JSON.parse(lines[0] ?? '')]).toMatchObject([0, { runId: record.runId, items: { written: 1 } }]);
});

describe('an object that could not be finished in time', () => {
  it('makes an invocation for a notification fail, since nobody else would call again', async () => {
    const source = { use: 'gcs', with: { bucket: 'exports', prefix: '2026/', identity: 'reader' } };
    await using fn = await testFunction(pipelineData({ source }));
    fn.source.put('2026/a', 'one');
    fn.cloud.s3.faults.add('PUT /lake', { kind: 'delay', ms: 5000 }, Number.POSITIVE_INFINITY);
    expect(await caught(fn.invoke({ Items: ['2026/a'] }, 900))).toMatchObject({ name: 'Isthmus.stopped' });
    expect(await fn.invoke(pushOf(fn, '2026/a'), 900)).toMatchObject({ statusCode: 503 });
    expect(await fn.invoke(sqsEvent([{ object: '2026/a' }]), 900)).toEqual({
      batchItemFailures: [{ itemIdentifier: 'm0' }],
    });
  });

  it('is carried after the pipeline was changed: one object has no place to lose', async () => {
    await using fn = await testFunction();
    fn.source.put('2026/large', patternBody(20 * MIB));
    fn.cloud.s3.faults.add('partNumber=2', { kind: 'delay', ms: 5000 });
    expect(await fn.invoke(pushOf(fn, '2026/large'), 900)).toMatchObject({ statusCode: 503 });
    expect(fn.state.objects.size).toBe(1);
    const sink = { use: 's3', with: { bucket: 'lake', prefix: 'raw/', region: 'eu-west-1', partConcurrency: 2 } };
    const changed = functionOn(fn.cloud, pipelineData({ sink }));
    expect(await changed.invoke(pushOf(fn, '2026/large'))).toMatchObject({ statusCode: 200 });
    expect(fn.state.objects.size).toBe(0);
  });
});

it('a source of a single object takes notifications of it, and of no other', async () => {
  const source = { use: 'gcs', with: { bucket: 'exports', object: '2026/one.csv', identity: 'reader' } };
  await using fn = await testFunction(pipelineData({ source }));
  fn.source.put('2026/one.csv', 'one');
  fn.source.put('2026/two.csv', 'two');
  expect(JSON.parse(String((await fn.invoke(pushOf(fn, '2026/one.csv'))).body))).toMatchObject({ outcome: 'complete' });
  expect(JSON.parse(String((await fn.invoke(pushOf(fn, '2026/two.csv'))).body))).toMatchObject({ outcome: 'ignored' });
  expect(await fn.invoke({ object: '2026/one.csv' })).toMatchObject({ outcome: 'complete' });
  expect([...fn.sink.objects.keys()]).toEqual(['raw/2026/one.csv']);
});

it('an object in two sources that overlap is carried for both', async () => {
  const source = ['2026/', '2026/x/'].map((prefix) => ({
    use: 'gcs',
    with: { bucket: 'exports', prefix, identity: 'reader' },
  }));
  await using fn = await testFunction(pipelineData({ source }));
  fn.source.put('2026/x/a', 'one');
  expect(await fn.invoke(pushOf(fn, '2026/x/a'))).toMatchObject({ statusCode: 200 });
  expect([...fn.sink.objects.keys()].sort()).toEqual(['raw/a', 'raw/x/a']);
  expect(await caught(fn.invoke({ prefix: '2026/' }))).toMatchObject({ name: 'Isthmus.invalid_event' });
});

it('a paused run without state that lasts begins anew in another process, and is not taken for done', async () => {
  await using fn = await testFunction(pipelineData({ state: { use: 'memory' }, concurrency: 1 }));
  for (let n = 0; n < 20; n++) fn.source.put(`2026/${n}`, `value ${n}`);
  fn.cloud.s3.faults.add('PUT /lake', { kind: 'delay', ms: 60 }, Number.POSITIVE_INFINITY);
  const paused = await fn.invoke({}, 900);
  expect(paused).toMatchObject({ outcome: 'paused' });
  const other = functionOn(fn.cloud, pipelineData({ state: { use: 'memory' } }));
  expect(await other.invoke(paused)).toMatchObject({ outcome: 'complete' });
  expect(fn.sink.objects.size).toBe(20);
});

it('a function that is to call itself needs a state that lasts, and says so', async () => {
  await using fn = await testFunction(
    pipelineData({ state: { use: 'memory' }, concurrency: 1, deploy: { continue: 'self' } }),
  );
  for (let n = 0; n < 20; n++) fn.source.put(`2026/${n}`, `value ${n}`);
  fn.cloud.s3.faults.add('PUT /lake', { kind: 'delay', ms: 60 }, Number.POSITIVE_INFINITY);
  expect(await caught(fn.invoke({}, 900))).toMatchObject({
    name: 'Isthmus.invalid_config',
    message: expect.stringContaining('state'),
  });
  expect(fn.cloud.lambda.invocations).toEqual([]);
});

it('a batch of many items has an answer that Step Functions takes', async () => {
  await using fn = await testFunction();
  const Items = Array.from({ length: 300 }, (_, n) => `2026/${n}`);
  for (const name of Items) fn.source.put(name, 'x');
  const answer = await fn.invoke({ Items });
  expect(answer).toMatchObject({ outcome: 'complete', message: '300 carried, 0 ignored, 0 failed', bytes: 300 });
  expect(JSON.stringify(answer).length).toBeLessThan(1000);
});

describe('metrics', () => {
  const figures: Figures = {
    pipeline: 'exports',
    outcome: 'complete',
    items: { written: 1, unchanged: 0, skipped: 0, deleted: 0, refused: 0, failed: 0 },
    bytes: 3,
    seconds: 1,
    retries: 0,
    tokenRefreshes: 0,
    lagSeconds: undefined,
  };

  it('have exactly the namespace, names and dimension that the alarms look at', () => {
    const written: string[] = [];
    emfMeter((line) => void written.push(line))(figures);
    const line = JSON.parse(written.find((text) => text.includes('_aws')) ?? '{}');
    const [directive] = line._aws.CloudWatchMetrics;
    const alarms = alarmsOf({ silenceHours: 5 } as never).filter(({ namespace }) => !namespace.startsWith('AWS/'));
    expect(alarms.map(({ id }) => id)).toEqual(['FailedRuns', 'Silence']);
    for (const { namespace, metric, dimension } of alarms) {
      expect(directive.Namespace).toBe(namespace);
      expect(directive.Dimensions).toEqual([[dimension]]);
      expect(line[dimension]).toBe('exports');
      expect(directive.Metrics.map(({ Name }: { Name: string }) => Name)).toContain(metric);
    }
  });

  it('count a run that could not even begin as failed', async () => {
    await using fn = await testFunction();
    fn.state.store({ ...EMPTY, key: 'exports.json', chunks: [Buffer.from('{"sav')] });
    const parts = { environment: fn.cloud.environment, write: () => {} };
    const told: Figures[] = [];
    const { ready, log } = packaged({ data: pipelineData(), plugins, url: import.meta.url }, parts);
    const { carrier, open } = await ready((one) => void told.push(one));
    await using _open = open;
    const never = new AbortController().signal;
    const running = carrier.run({}, { signal: never, stop: never, log, now: Date.now });
    expect(await caught(running)).toMatchObject({ code: 'state_unreadable' });
    expect(told).toMatchObject([{ outcome: 'failed', pipeline: 'exports' }]);
  });
});

const EMPTY = {
  size: 5,
  etag: '"00000000000000000000000000000000"',
  lastModified: new Date(),
  headers: {},
  tags: undefined,
  checksums: {},
  checksumType: 'FULL_OBJECT',
  parts: undefined,
  version: undefined,
} as const;
