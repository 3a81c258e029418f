import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { describe, expect, it } from 'vitest';
import { BrokerError } from '../../core/api/index.ts';
import { run } from '../../core/engine/run.ts';
import { MemoryState } from '../../core/state/memory.ts';
import { MemorySink } from '../../plugins/memory/index.ts';
import { vertexai } from '../../plugins/vertexai/index.ts';
import { googleError } from '../cloud/iam-credentials.ts';
import { ReplyError } from '../cloud/server.ts';
import { runContext } from '../conformance/run-context.ts';
import { job, sinkThat } from '../core/job.ts';
import { temporaryFolder, testRuntime } from '../support.ts';
import { doubling, lines, PARENT, shouting, vertexCloud } from './vertexai-cloud.ts';

const rows = (count: number): string => Array.from({ length: count }, (_, n) => `{"id":"k${n}","n":${n}}\n`).join('');
const BATCH = { model: '7', input: { gcs: ['gs://acme-ml/in.jsonl'] }, output: { bucket: 'acme-ml' }, wait: '0s' };
/** A job that is over already. */
async function adopted(cloud: Awaited<ReturnType<typeof vertexCloud>>): Promise<object> {
  const whole = { ...BATCH, input: { gcs: ['gs://acme-ml/in/a.jsonl', 'gs://acme-ml/in/b.jsonl'] }, keepOutput: true };
  await cloud.carry({ batch: whole }, { state: new MemoryState() });
  return { model: undefined, output: undefined, job: '1000' };
}
const withoutNumber = '{"id":"bad"}\n';

describe.each(['rest', 'grpc'] as const)('a batch prediction job over %s', (transport) => {
  const setup = async () => {
    const cloud = await vertexCloud();
    const endpoint = transport === 'grpc' ? await cloud.vertexai.grpc() : cloud.vertexai.url;
    const carry = (batch: object, options = {}) =>
      cloud.carry({ transport, batch: { ...BATCH, ...batch } }, { endpoint, ...options });
    return { ...cloud, carryBatch: carry };
  };

  it('is created once, waited for by pausing, carried, and what it wrote is deleted', async () => {
    await using cloud = await setup();
    cloud.data.put('in.jsonl', rows(5));
    cloud.vertexai.asksUntilDone = 3;
    const ends: unknown[] = [];
    let last: Awaited<ReturnType<typeof cloud.carryBatch>> | undefined;
    for (let invocation = 0; invocation < 3; invocation++) {
      last = await cloud.carryBatch({ parameters: { threshold: 0.5 }, labels: { team: 'data' } });
      ends.push(last.report.error?.code ?? last.report.outcome);
    }
    expect(ends).toEqual(['pending', 'pending', 'complete']);
    expect(last?.keys).toEqual([
      '1000/_job.json',
      '1000/prediction.results-00000-of-00002',
      '1000/prediction.results-00001-of-00002',
    ]);
    expect(lines(last?.text('1000/prediction.results-00000-of-00002') ?? '')[0]).toEqual({
      instance: { id: 'k4', n: 4 },
      prediction: { twice: 8 },
    });
    expect(last?.facts).toMatchObject({ state: 'SUCCEEDED', successfulCount: 5, failedCount: 0 });
    expect(JSON.parse(last?.text('1000/_job.json') ?? '')).toMatchObject({
      files: [{ key: expect.stringContaining('prediction') }, {}],
    });
    const [job] = [...cloud.vertexai.jobs.values()];
    expect(cloud.vertexai.jobs.size).toBe(1);
    expect(job?.request).toMatchObject({
      model: `${PARENT}/models/7`,
      labels: { team: 'data', 'isthmus-pipeline': 'test' },
      modelParameters: { threshold: 0.5 },
    });
    expect(cloud.staged()).toEqual([]);
  });

  it('that exists is adopted by its number, or as the newest that matches; its output is left', async () => {
    await using cloud = await setup();
    cloud.data.put('in.jsonl', rows(2));
    await cloud.carryBatch({ displayName: 'nightly', keepOutput: true });
    await cloud.carryBatch({ displayName: 'nightly', keepOutput: true, labels: { second: 'yes' } });
    const left = cloud.staged().length;
    expect(left).toBeGreaterThan(0);
    const adopted = { model: undefined, input: undefined, output: undefined };
    const byNumber = await cloud.carryBatch({ ...adopted, job: '1000' });
    expect(byNumber.keys[0]).toBe('1000/_job.json');
    const newest = await cloud.carryBatch({ ...adopted, filter: 'display_name="nightly"' });
    expect(newest.report.outcome).toBe('complete');
    expect(cloud.vertexai.jobs.size).toBe(2);
    expect(cloud.staged()).toHaveLength(left);
    const none = await cloud.carryBatch({ ...adopted, filter: 'display_name="no"' });
    expect(none.report.error).toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining('no batch prediction job'),
    });
  });

  it('with instances that failed is refused, unless so many may; then its errors are carried too', async () => {
    await using cloud = await setup();
    cloud.data.put('in.jsonl', rows(3) + withoutNumber);
    const refused = await cloud.carryBatch({});
    expect(refused.report.error).toMatchObject({
      code: 'job_failed',
      message: expect.stringContaining('1 of 4 instances failed'),
    });
    const taken = await cloud.carryBatch({ maxFailedRatio: 0.25 });
    expect(taken.report.outcome).toBe('complete');
    const errors = taken.keys.find((key) => key.includes('errors_stats')) ?? '';
    expect(lines(taken.text(errors))).toEqual([
      { instance: { id: 'bad' }, error: { code: 3, message: 'Invalid instances: n is missing' } },
    ]);
    expect(taken.facts).toMatchObject({ state: 'PARTIALLY_SUCCEEDED', successfulCount: 3, failedCount: 1 });
  });

  it.each([
    ['EXPIRED', 'job_cancelled'],
    ['CANCELLED', 'job_cancelled'],
    ['FAILED', 'job_failed'],
  ] as const)('that ends as %s is told once, and the next run creates another', async (state, code) => {
    await using cloud = await setup();
    cloud.data.put('in.jsonl', rows(1));
    cloud.vertexai.endings.push({ state, error: 'for a reason' });
    const first = await cloud.carryBatch({});
    expect(first.report.error).toMatchObject({ code, message: expect.stringContaining('for a reason') });
    const second = await cloud.carryBatch({});
    expect(second.report.outcome).toBe('complete');
    expect(cloud.vertexai.jobs.size).toBe(2);
    expect(cloud.staged()).toEqual([]);
  });

  it('is judged anew, and not made anew, when more of it may fail than before', async () => {
    await using cloud = await setup();
    cloud.data.put('in.jsonl', rows(3) + withoutNumber);
    expect((await cloud.carryBatch({})).report.error?.code).toBe('job_failed');
    expect((await cloud.carryBatch({ maxFailedRatio: 0.5 })).report.outcome).toBe('complete');
    expect(cloud.vertexai.jobs.size).toBe(1);
    expect(cloud.staged()).toEqual([]);
  });

  it('that is not asked for any more is cancelled before its files are deleted', async () => {
    await using cloud = await setup();
    cloud.data.put('in.jsonl', rows(3));
    cloud.vertexai.asksUntilDone = 99;
    expect((await cloud.carryBatch({})).report.outcome).toBe('paused');
    cloud.vertexai.asksUntilDone = 0;
    expect((await cloud.carryBatch({ parameters: { other: 1 } })).report.outcome).toBe('complete');
    expect([...cloud.vertexai.jobs.values()].map(({ state }) => state)).toEqual([
      'JOB_STATE_CANCELLED',
      'JOB_STATE_SUCCEEDED',
    ]);
    expect(cloud.staged()).toEqual([]);
  });

  it('that takes longer than it may is cancelled', async () => {
    await using cloud = await setup();
    cloud.data.put('in.jsonl', rows(3));
    cloud.vertexai.asksUntilDone = 99;
    expect((await cloud.carryBatch({ timeout: '1h' })).report.outcome).toBe('paused');
    const later = () => Date.now() + 3_700_000;
    await cloud.carryBatch({ timeout: '1h' }, { now: later });
    expect((await cloud.carryBatch({ timeout: '1h' }, { now: later })).report.error?.code).toBe('job_cancelled');
  });

  it('whose process was the only one to know of it is ended with it', async () => {
    await using cloud = await setup();
    cloud.data.put('in.jsonl', rows(3));
    cloud.vertexai.asksUntilDone = 99;
    await cloud.carryBatch({}, { lasts: 'process' });
    expect([...cloud.vertexai.jobs.values()].map(({ state }) => state)).toEqual(['JOB_STATE_CANCELLED']);
  });

  it('whose counts are not known is judged by its files', async () => {
    await using cloud = await setup();
    cloud.data.put('in.jsonl', rows(3) + withoutNumber);
    cloud.vertexai.endings.push({ state: 'SUCCEEDED', uncounted: true });
    const { report } = await cloud.carryBatch({});
    expect(report.error?.message).toContain('1 of 4 instances failed');
  });

  it('is joined to its input by a key, since it does not keep the order', async () => {
    await using cloud = await setup();
    cloud.data.put('in.jsonl', rows(4));
    const { keys, text, report } = await cloud.carryBatch({ instance: { keyField: 'id' }, join: { by: 'id' } });
    expect(report.failures).toEqual([]);
    expect(report.error).toBeUndefined();
    const all = keys.filter((key) => key.includes('results')).flatMap((key) => lines(text(key)));
    expect(all).toHaveLength(4);
    for (const line of all as { row: { id: string; n: number }; key: string; prediction: { twice: number } }[]) {
      expect(line.row.id).toBe(line.key);
      expect(line.prediction.twice).toBe(line.row.n * 2);
    }
  });

  it('is joined to all files of a wildcard', async () => {
    await using cloud = await setup();
    cloud.data.put('in/a.jsonl', '{"id":"a","n":1}\n');
    cloud.data.put('in/b.jsonl', '{"id":"b","n":2}\n');
    cloud.data.put('in/deep/c.jsonl', 'no rows of this job');
    const input = { gcs: ['gs://acme-ml/in/?.jsonl'] };
    const { report, keys, text } = await cloud.carryBatch({
      ...(await adopted(cloud)),
      input,
      join: { by: 'id' },
    });
    expect(report.error).toBeUndefined();
    const all = keys.filter((key) => key.includes('results')).flatMap((key) => lines(text(key)));
    expect(all.map((line) => (line as { row: unknown }).row)).toEqual([
      { id: 'b', n: 2 },
      { id: 'a', n: 1 },
    ]);
  });

  it('of a model that is not there creates nothing', async () => {
    await using cloud = await setup();
    cloud.data.put('in.jsonl', rows(1));
    const { report } = await cloud.carryBatch({ model: 'publishers/google/models/nothing' });
    expect(report.error).toMatchObject({ code: 'invalid_config', message: expect.stringContaining('was not found') });
    expect(cloud.vertexai.jobs.size).toBe(0);
  });
});

it('a batch job of Gemini tells of errors among its answers', async () => {
  await using cloud = await vertexCloud();
  cloud.data.put(
    'in.jsonl',
    `${JSON.stringify({ id: 'a', request: { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] } })}\n${JSON.stringify({ id: 'b', request: {} })}\n`,
  );
  cloud.vertexai.endings.push({ state: 'SUCCEEDED', uncounted: true });
  const batch = { ...BATCH, model: 'publishers/google/models/gemini-2.5-flash' };
  const { report } = await cloud.carry({ batch });
  expect(report.error?.message).toContain('1 of 2 instances failed');
});

it('a job that was created although the answer was lost is found by its label', async () => {
  await using cloud = await vertexCloud();
  cloud.data.put('in.jsonl', rows(1));
  cloud.vertexai.faults.add(/^POST .*batchPredictionJobs/, { kind: 'reset-after' });
  const first = await cloud.carry({ batch: BATCH });
  expect(first.report.outcome).toBe('failed');
  const second = await cloud.carry({ batch: BATCH });
  expect(second.report.outcome).toBe('complete');
  expect(cloud.vertexai.jobs.size).toBe(1);
});

describe('online predictions', () => {
  const predict = (options: object) => ({ predict: { endpoint: '7', folder: '', ...options } });

  it('keep the order, in batches by count and bytes, and come as instance and prediction', async () => {
    await using cloud = await vertexCloud();
    cloud.data.put('in.jsonl', rows(100));
    const { report, text, keys, facts } = await cloud.carry(
      predict({ instances: { from: 'gs://acme-ml/in.jsonl' }, batch: { count: 7 }, rowsPerFile: 40 }),
    );
    expect(report.outcome).toBe('complete');
    expect(keys).toEqual(['part-000000000000.jsonl', 'part-000000000001.jsonl', 'part-000000000002.jsonl']);
    const all = keys.flatMap((key) => lines(text(key))) as { instance: { n: number }; prediction: { twice: number } }[];
    expect(all.map(({ instance }) => instance.n)).toEqual(Array.from({ length: 100 }, (_, n) => n));
    expect(all.every(({ instance, prediction }) => prediction.twice === instance.n * 2)).toBe(true);
    // 40 rows: five batches of seven and one of five; twice; and 20: three.
    expect(facts).toMatchObject({ rows: 100, failedRows: 0, requests: 15 });
  });

  it('take rows from S3, from a file, and from the pipeline; a key stands for the row', async () => {
    await using cloud = await vertexCloud();
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'in.jsonl'), rows(3));
    cloud.s3.bucket('rows', 'eu-west-1');
    const { accessKeyId, secretAccessKey, sessionToken = '' } = cloud.session;
    const client = new S3Client({
      endpoint: cloud.s3.url,
      region: 'eu-west-1',
      forcePathStyle: true,
      credentials: { accessKeyId, secretAccessKey, sessionToken },
    });
    await client.send(new PutObjectCommand({ Bucket: 'rows', Key: 'in.jsonl', Body: rows(3) }));
    const s3 = await cloud.carry(predict({ instances: { from: 's3://rows/in.jsonl', region: 'eu-west-1' } }));
    expect(lines(s3.text('part-000000000000.jsonl'))).toHaveLength(3);
    const inline = await cloud.carry(predict({ instances: [{ id: 'x', n: 1 }], key: 'id' }));
    expect(lines(inline.text('part-000000000000.jsonl'))).toEqual([{ key: 'x', prediction: { twice: 2 } }]);
    const file = await cloud.carry(predict({ instances: { from: join(folder.path, 'in.jsonl') } }));
    expect(lines(file.text('part-000000000000.jsonl'))).toHaveLength(3);
  });

  it('find the instance that is to blame, keep the others, and put it into the dead letters with its reason', async () => {
    await using cloud = await vertexCloud();
    cloud.data.put('in.jsonl', rows(9) + withoutNumber);
    const instances = { from: 'gs://acme-ml/in.jsonl' };
    const strict = await cloud.carry(predict({ instances }));
    expect(strict.report).toMatchObject({
      outcome: 'partial',
      failures: [
        {
          key: 'part-000000000000.jsonl row 9',
          code: 'answer_refused',
          message: expect.stringContaining('n is missing'),
        },
      ],
    });
    expect(strict.keys).toEqual(['_dead-letters.jsonl', 'part-000000000000.jsonl']);
    const lax = await cloud.carry(predict({ instances, maxFailedRatio: 0.1 }));
    expect(lax.report.outcome).toBe('complete');
    expect(lines(lax.text('part-000000000000.jsonl'))).toHaveLength(9);
    expect(lines(lax.text('_dead-letters.jsonl'))).toEqual([
      { number: 9, reason: expect.stringContaining('n is missing'), row: { id: 'bad' } },
    ]);
    expect(lax.facts).toMatchObject({ rows: 10, failedRows: 1 });
  });

  it('wait as a quota says, and go on', async () => {
    await using cloud = await vertexCloud();
    cloud.vertexai.faults.add(':predict', {
      kind: 'answer',
      status: 429,
      headers: { 'retry-after': '0' },
      body: '{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED"}}',
    });
    const { report } = await cloud.carry(predict({ instances: [{ n: 1 }] }));
    expect(report.outcome).toBe('complete');
  });

  it('end the run where the model is not there', async () => {
    await using cloud = await vertexCloud();
    const { report } = await cloud.carry(predict({ endpoint: '8', instances: [{ n: 1 }] }));
    expect(report.error).toMatchObject({ code: 'invalid_config', message: expect.stringContaining('was not found') });
  });

  it('by rawPredict send each row as it is, and keep numbers that no double holds', async () => {
    await using cloud = await vertexCloud();
    const seen: unknown[] = [];
    cloud.vertexai.models.set('endpoints/9', (body) => {
      seen.push(body);
      return { got: 1 };
    });
    cloud.vertexai.faults.add(/rawPredict/, {
      kind: 'answer',
      status: 200,
      body: '{"id":12345678901234567890,"list":[[1,2],[3]]}',
    });
    cloud.data.put('in.jsonl', '{"any":[1,[2]]}\n{"x":1}\n');
    const { text } = await cloud.carry({
      predict: { endpoint: '9', raw: true, folder: '', concurrency: 1, instances: { from: 'gs://acme-ml/in.jsonl' } },
    });
    expect(text('part-000000000000.jsonl')).toBe(
      '{"instance":{"any":[1,[2]]},"prediction":{"id":12345678901234567890,"list":[[1,2],[3]]}}\n{"instance":{"x":1},"prediction":{"got":1}}\n',
    );
    expect(seen).toEqual([{ x: 1 }]);
  });

  it('after a failed write ask again only for the file that was not stored', async () => {
    await using cloud = await vertexCloud();
    cloud.data.put('in.jsonl', rows(30));
    const instances = { from: 'gs://acme-ml/in.jsonl' };
    const stop = new AbortController();
    const failing = sinkThat(async ({ key }) => {
      if (key.includes('1.jsonl')) stop.abort();
    });
    const config = predict({ instances, rowsPerFile: 10, batch: { count: 10 } });
    const first = await cloud.carry(config, {
      through: failing,
      runtime: { stop: stop.signal },
      job: { concurrency: 1 },
    });
    expect(first.report.outcome).toBe('paused');
    const second = await cloud.carry(config, { sink: failing.inner });
    expect(second.report.outcome).toBe('complete');
    expect(second.keys).toHaveLength(3);
    expect(second.facts).toMatchObject({ requests: 3, rows: 30 });
  });
});

describe('rows', () => {
  const predict = (options: object) => ({ predict: { endpoint: '7', folder: '', concurrency: 1, ...options } });
  const from = { from: 'gs://acme-ml/in.jsonl' };
  const asked = async () => {
    const cloud = await vertexCloud();
    const seen: unknown[] = [];
    cloud.vertexai.models.set('endpoints/7', (instance) => {
      seen.push((instance as { n?: number }).n);
      return doubling(instance);
    });
    return { ...cloud, seen };
  };

  it('are asked once, though there are two sinks and a write is tried again', async () => {
    await using cloud = await asked();
    cloud.data.put('in.jsonl', rows(6));
    let writes = 0;
    const flaky = sinkThat(async () => {
      if (++writes === 1) throw new BrokerError('unavailable', 'for a moment');
    });
    const retry = { attempts: 3, baseDelayMs: 1, maxDelayMs: 1 };
    const other = new MemorySink();
    const { report } = await cloud.carry(predict({ instances: from, rowsPerFile: 3 }), {
      job: { sinks: [flaky, other], retry },
    });
    expect(report.outcome).toBe('complete');
    expect(cloud.seen).toEqual([0, 1, 2, 3, 4, 5]);
    expect(other.objects.size).toBe(2);
  });

  it('that were answered before a request failed are not asked again', async () => {
    await using cloud = await asked();
    cloud.data.put('in.jsonl', rows(6));
    let requests = 0;
    cloud.vertexai.models.set('endpoints/7', (instance) => {
      cloud.seen.push((instance as { n?: number }).n);
      if (++requests === 4) throw new ReplyError(googleError(404, 'NOT_FOUND', 'gone for a moment'));
      return doubling(instance);
    });
    const source = cloud.source(predict({ instances: from, batch: { count: 1 } }));
    const { signal } = new AbortController();
    const [item] = await Array.fromAsync(source.list({ signal, run: runContext() }));
    if (item === undefined) throw new Error('there is a file of answers');
    await expect(source.open(item, { signal })).rejects.toThrow('gone for a moment');
    await source.open(item, { signal });
    expect(cloud.seen).toEqual([0, 1, 2, 3, 3, 4, 5]);
    await source[Symbol.asyncDispose]?.();
  });

  it('that were replaced during a pause are not mixed with the new ones', async () => {
    await using cloud = await asked();
    cloud.data.put('in.jsonl', rows(4));
    const stop = new AbortController();
    const stopping = sinkThat(async ({ key }) => {
      if (key.includes('1.jsonl')) stop.abort();
    });
    const config = predict({ instances: from, rowsPerFile: 2 });
    const first = await cloud.carry(config, {
      through: stopping,
      runtime: { stop: stop.signal },
      job: { concurrency: 1 },
    });
    expect(first.report.outcome).toBe('paused');
    cloud.data.put('in.jsonl', rows(9));
    const second = await cloud.carry(config, { sink: stopping.inner });
    expect(second.report.error).toMatchObject({ code: 'state_unreadable' });
    expect(cloud.seen.length).toBeLessThanOrEqual(4);
  });

  it('that are no JSON fail alone', async () => {
    await using cloud = await asked();
    cloud.data.put('in.jsonl', `${rows(2)}not json\n${rows(1)}`);
    const { report, text } = await cloud.carry(predict({ instances: from }));
    expect(report).toMatchObject({ outcome: 'partial', failures: [{ message: 'the row is not JSON' }] });
    expect(lines(text('part-000000000000.jsonl'))).toHaveLength(3);
    expect(lines(text('_dead-letters.jsonl'))).toEqual([{ number: 2, reason: 'the row is not JSON', row: 'not json' }]);
  });

  it('of another run of the same process are asked anew, from the file as it is then', async () => {
    await using cloud = await asked();
    cloud.data.put('in.jsonl', rows(1) + withoutNumber);
    const source = cloud.source(predict({ instances: from }));
    const sink = new MemorySink();
    const outcomes: unknown[] = [];
    for (const text of [rows(1) + withoutNumber, rows(3) + withoutNumber]) {
      cloud.data.put('in.jsonl', text);
      const { outcome, failures } = await run(job({ sources: [source], sinks: [sink], state: cloud.state }), {
        runtime: testRuntime(),
      });
      outcomes.push([outcome, failures.length]);
    }
    expect(outcomes).toEqual([
      ['partial', 1],
      ['partial', 1],
    ]);
    expect(lines(String(sink.objects.get('part-000000000000.jsonl')?.bytes))).toHaveLength(3);
    await source[Symbol.asyncDispose]?.();
  });

  it('that failed and are answered when they are asked again are no failures any more', async () => {
    await using cloud = await asked();
    cloud.data.put('in.jsonl', rows(2));
    let broken = true;
    cloud.vertexai.models.set('endpoints/7', (instance) => {
      if (broken) throw new Error('not today');
      return doubling(instance);
    });
    const stop = new AbortController();
    const stopping = sinkThat(async (_, content) => {
      await content.open();
      stop.abort();
      throw new BrokerError('network', 'cut off');
    });
    const config = predict({ instances: from });
    const first = await cloud.carry(config, { through: stopping, runtime: { signal: stop.signal } });
    expect(first.report.outcome).toBe('paused');
    broken = false;
    const second = await cloud.carry(config, { sink: stopping.inner });
    expect(second.report).toMatchObject({ outcome: 'complete', failures: [] });
    expect(second.facts).toMatchObject({ failedRows: 0 });
  });

  it('of a batch of which one half fails in passing: the other half is not asked again', async () => {
    await using cloud = await asked();
    cloud.data.put('in.jsonl', rows(3) + withoutNumber);
    const source = cloud.source(predict({ instances: from, batch: { count: 4 } }));
    const { signal } = new AbortController();
    const [item] = await Array.fromAsync(source.list({ signal, run: runContext() }));
    if (item === undefined) throw new Error('there is a file of answers');
    let bad = 0;
    cloud.vertexai.models.set('endpoints/7', (instance) => {
      cloud.seen.push((instance as { n?: number }).n);
      if ((instance as { id: string }).id === 'bad' && ++bad === 2)
        throw new ReplyError(googleError(404, 'NOT_FOUND', 'gone for a moment'));
      return doubling(instance);
    });
    await expect(source.open(item, { signal })).rejects.toThrow('gone for a moment');
    cloud.seen.length = 0;
    await source.open(item, { signal });
    expect(new Set(cloud.seen)).toEqual(new Set([2, undefined]));
    await source[Symbol.asyncDispose]?.();
  });

  it('of which all fail end the run before all are paid for', async () => {
    await using cloud = await asked();
    cloud.data.put('in.jsonl', withoutNumber.repeat(7000));
    const config = predict({ instances: from, batch: { count: 1 }, concurrency: 50, rowsPerFile: 100_000 });
    const { report } = await cloud.carry(config);
    expect(report.error).toMatchObject({ code: 'too_many_failures' });
    expect(cloud.seen.length).toBeLessThan(5100);
    // Mended, the same run goes on.
    cloud.vertexai.models.set('endpoints/7', () => ({ twice: 0 }));
    expect((await cloud.carry(config)).report.outcome).toBe('complete');
  });
});

describe('answers of Gemini', () => {
  const generate = (options: object) => ({ generate: { model: 'gemini-2.5-flash', folder: '', ...options } });
  const request = (cloud: { seen: unknown[] }) => cloud.seen[0] as Record<string, unknown>;
  const watched = async (answer = shouting) => {
    const cloud = await vertexCloud();
    const seen: unknown[] = [];
    cloud.vertexai.models.set('models/gemini-2.5-flash', (body) => {
      seen.push(body);
      return answer(body);
    });
    return { ...cloud, seen };
  };

  it('for rows: a template, a system instruction, options, labels; usage is counted', async () => {
    await using cloud = await watched();
    const config = generate({
      prompt: 'Say {{name}} of {{ place.city }} in {{row}}',
      rows: [{ name: 'hi', place: { city: 'Ulm' } }],
      system: 'Be short.',
      config: { temperature: 0, maxOutputTokens: 64, thinkingConfig: { thinkingBudget: 0 } },
      safety: [{ category: 'HARM_CATEGORY_HARASSMENT', threshold: 'BLOCK_ONLY_HIGH' }],
      labels: { team: 'data' },
    });
    const { report, text, facts } = await cloud.carry(config);
    expect(report.outcome).toBe('complete');
    expect(request(cloud)).toEqual({
      contents: [{ role: 'user', parts: [{ text: 'Say hi of Ulm in {"name":"hi","place":{"city":"Ulm"}}' }] }],
      systemInstruction: { parts: [{ text: 'Be short.' }] },
      generationConfig: { temperature: 0, maxOutputTokens: 64, thinkingConfig: { thinkingBudget: 0 } },
      safetySettings: [{ category: 'HARM_CATEGORY_HARASSMENT', threshold: 'BLOCK_ONLY_HIGH' }],
      labels: { team: 'data', 'isthmus-pipeline': 'test' },
    });
    expect(lines(text('part-000000000000.jsonl'))).toEqual([
      {
        row: { name: 'hi', place: { city: 'Ulm' } },
        text: 'SAY HI OF ULM IN {"NAME":"HI","PLACE":{"CITY":"ULM"}}',
        finishReason: 'STOP',
        usage: expect.objectContaining({ totalTokenCount: 10 }),
        modelVersion: 'gemini-2.5-flash-001',
        responseId: 'r1',
      },
    ]);
    expect(facts).toMatchObject({
      rows: 1,
      requests: 1,
      promptTokens: 5,
      answerTokens: 3,
      thoughtTokens: 2,
      totalTokens: 10,
    });
  });

  it('for files: each object goes by its URL, each answer is a file beside its name', async () => {
    await using cloud = await watched();
    cloud.data.put('docs/a.pdf', 'x', { contentType: 'application/pdf' });
    cloud.data.put('docs/sub/b.txt', 'y');
    const { report, keys, text } = await cloud.carry(
      generate({ prompt: 'Summarise {{file}}', files: 'gs://acme-ml/docs/', concurrency: 1 }),
      { job: { concurrency: 1 } },
    );
    expect(report.outcome).toBe('complete');
    expect(keys).toEqual(['a.pdf.json', 'sub/b.txt.json']);
    expect(request(cloud).contents).toEqual([
      {
        role: 'user',
        parts: [
          { fileData: { fileUri: 'gs://acme-ml/docs/a.pdf', mimeType: 'application/pdf' } },
          { text: 'Summarise gs://acme-ml/docs/a.pdf' },
        ],
      },
    ]);
    expect(JSON.parse(text('a.pdf.json'))).toMatchObject({ file: 'gs://acme-ml/docs/a.pdf', finishReason: 'STOP' });
  });

  it('for files come in the order of their keys, and a name that holds another is no trouble', async () => {
    await using cloud = await watched();
    for (const name of ['a-b', 'a', 'a/c']) cloud.data.put(`docs/${name}`, 'x', { contentType: 'text/plain' });
    const { report, keys } = await cloud.carry(generate({ prompt: 'x', files: 'gs://acme-ml/docs/' }));
    expect(report.error).toBeUndefined();
    expect(keys).toEqual(['a-b.json', 'a.json', 'a/c.json']);
  });

  it('for files may be asked only for what is new', async () => {
    await using cloud = await watched();
    cloud.data.put('docs/a.txt', 'x');
    const config = generate({ prompt: 'x', files: 'gs://acme-ml/docs/', onlyNew: true });
    expect((await cloud.carry(config)).keys).toEqual(['a.txt.json']);
    expect((await cloud.carry(config)).keys).toEqual([]);
    await new Promise((resolve) => setImmediate(resolve));
    cloud.data.put('docs/b.txt', 'y');
    expect((await cloud.carry(config)).keys).toEqual(['b.txt.json']);
    expect(cloud.seen).toHaveLength(2);
  });

  it('for files that come while a run pauses are those of the next run', async () => {
    await using cloud = await watched();
    for (const name of ['b', 'c', 'd']) cloud.data.put(`docs/${name}.txt`, 'x');
    const stop = new AbortController();
    const stopping = sinkThat(async ({ key }) => {
      if (key.startsWith('c')) stop.abort();
    });
    const config = generate({ prompt: '{{file}}', files: 'gs://acme-ml/docs/', onlyNew: true });
    const job = { concurrency: 1 };
    const first = await cloud.carry(config, { through: stopping, runtime: { stop: stop.signal }, job });
    expect(first.report.outcome).toBe('paused');
    await new Promise((resolve) => setTimeout(resolve, 5));
    cloud.data.put('docs/a.txt', 'late');
    cloud.data.put('docs/z.txt', 'late');
    expect((await cloud.carry(config, { sink: stopping.inner })).report.outcome).toBe('complete');
    expect((await cloud.carry(config, { sink: stopping.inner })).keys).toContain('a.txt.json');
    expect(cloud.seen).toHaveLength(5);
  });

  it('for files are asked for once, though there are two sinks', async () => {
    await using cloud = await watched();
    cloud.data.put('docs/a.txt', 'x');
    const other = new MemorySink();
    const sinks = [other, new MemorySink()];
    await cloud.carry(generate({ prompt: 'x', files: 'gs://acme-ml/docs/' }), { job: { sinks } });
    expect(other.objects.size).toBe(1);
    expect(cloud.seen).toHaveLength(1);
  });

  it('for a file that is replaced meanwhile are not taken for those of the old one', async () => {
    await using cloud = await watched((body) => {
      cloud.data.put('docs/a.txt', 'changed');
      return shouting(body as never);
    });
    cloud.data.put('docs/a.txt', 'x');
    const { report } = await cloud.carry(generate({ prompt: 'x', files: 'gs://acme-ml/docs/' }));
    expect(report.failures[0]).toMatchObject({ code: 'source_changed' });
  });

  const answering =
    (candidate: object, rest: object = {}) =>
    () =>
      ({ candidates: [candidate], ...rest }) as never;
  const said = (text: string, finishReason = 'STOP') => ({ content: { parts: [{ text }] }, finishReason });

  it('in JSON are asked for by a schema, and each is checked', async () => {
    const schema = { type: 'object', properties: { mood: { type: 'string' } }, required: ['mood'] };
    await using good = await watched(answering(said('{"mood":"fine"}')));
    const { text } = await good.carry(generate({ prompt: 'x', rows: [{}], schema }));
    expect(lines(text('part-000000000000.jsonl'))).toMatchObject([{ json: { mood: 'fine' } }]);
    expect(request(good).generationConfig).toEqual({
      responseMimeType: 'application/json',
      responseJsonSchema: schema,
    });
    for (const [answer, reason] of [
      ['{"mood":1}', 'does not fit the schema: mood'],
      ['not json', 'is not JSON'],
    ] as const) {
      await using bad = await watched(answering(said(answer)));
      const { report } = await bad.carry(generate({ prompt: 'x', rows: [{}], schema }));
      expect(report.failures[0]?.message).toContain(reason);
    }
  });

  it.each([
    ['empty', said(''), {}, 'the answer is empty'],
    [
      'only a thought',
      { content: { parts: [{ text: 'hm', thought: true }] }, finishReason: 'STOP' },
      {},
      'the answer is empty',
    ],
    ['cut off', said('half', 'MAX_TOKENS'), {}, 'finish reason MAX_TOKENS'],
    [
      'blocked',
      { finishReason: 'SAFETY', safetyRatings: [{ category: 'HARM_CATEGORY_HATE_SPEECH', blocked: true }] },
      {},
      'finish reason SAFETY: HARM_CATEGORY_HATE_SPEECH',
    ],
    ['of a reason that is new', said('x', 'SOMETHING_NEW'), {}, 'finish reason SOMETHING_NEW'],
  ])('that are %s are no success', async (_, candidate, rest, reason) => {
    await using cloud = await watched(answering(candidate, rest));
    const { report } = await cloud.carry(generate({ prompt: 'x', rows: [{}] }));
    expect(report).toMatchObject({
      outcome: 'partial',
      failures: [{ code: 'answer_refused', message: expect.stringContaining(reason) }],
    });
  });

  it('to a blocked prompt are none, and are counted; MAX_TOKENS may be accepted', async () => {
    await using blocked = await watched((() => ({ promptFeedback: { blockReason: 'PROHIBITED_CONTENT' } })) as never);
    const { report, facts } = await blocked.carry(generate({ prompt: 'x', rows: [{}] }));
    expect(report.failures[0]?.message).toContain('the prompt was blocked: PROHIBITED_CONTENT');
    expect(facts).toMatchObject({ blockedAnswers: 1 });
    await using cut = await watched(answering(said('half', 'MAX_TOKENS')));
    expect(
      (await cut.carry(generate({ prompt: 'x', rows: [{}], accept: ['STOP', 'MAX_TOKENS'] }))).report.outcome,
    ).toBe('complete');
  });

  it('end when the budget is used up; what is finished is stored, and with more the run goes on', async () => {
    await using cloud = await watched();
    cloud.data.put('in.jsonl', rows(10));
    const config = (tokens: number) =>
      generate({
        prompt: '{{id}}',
        rows: { from: 'gs://acme-ml/in.jsonl' },
        rowsPerFile: 2,
        concurrency: 1,
        budget: { tokens },
      });
    const first = await cloud.carry(config(40), { job: { concurrency: 1 } });
    expect(first.report.error).toMatchObject({
      code: 'budget_exceeded',
      message: '40 tokens are used, budget.tokens is 40',
    });
    expect(first.report.items.written).toBe(2);
    expect(cloud.seen).toHaveLength(4);
    const second = await cloud.carry(config(1000), { sink: first.sink, job: { concurrency: 1 } });
    expect(second.report).toMatchObject({ outcome: 'complete', items: { written: 5 } });
    expect(cloud.seen).toHaveLength(10);
    expect(second.facts).toMatchObject({ totalTokens: 100 });
  });

  it('are estimated by a plan, which asks for none', async () => {
    await using cloud = await watched();
    const source = cloud.source(generate({ prompt: 'Say {{name}}', rows: [{ name: 'a' }, { name: 'b' }] }));
    await Array.fromAsync(source.list({ signal: new AbortController().signal, run: runContext({ purpose: 'plan' }) }));
    expect(source.facts?.()).toMatchObject({
      rows: 2,
      promptTokensOfFirstRow: expect.any(Number),
      estimatedPromptTokens: expect.any(Number),
    });
    expect(cloud.seen).toEqual([]);
    await source[Symbol.asyncDispose]?.();
  });

  it('a row that lacks what the prompt names is a failure, not an empty place', async () => {
    await using cloud = await watched();
    const { report } = await cloud.carry(generate({ prompt: 'Say {{nothing}}', rows: [{ a: 1 }] }));
    expect(report.failures[0]?.message).toContain('the row has no member "nothing"');
    expect(cloud.seen).toEqual([]);
  });
});

describe('the files of a resource', () => {
  const named = (kind: string): string => `${PARENT}/${kind}/1`;
  it.each<[string, string, object]>([
    ['a model', 'models', { artifactUri: 'gs://acme-ml/out' }],
    [
      'a batch prediction job',
      'customJobs',
      { state: 'JOB_STATE_SUCCEEDED', jobSpec: { baseOutputDirectory: { outputUriPrefix: 'gs://acme-ml/out/' } } },
    ],
    [
      'a search for parameters',
      'hyperparameterTuningJobs',
      { state: 'JOB_STATE_SUCCEEDED', trialJobSpec: { baseOutputDirectory: { outputUriPrefix: 'gs://acme-ml/out' } } },
    ],
    [
      'a pipeline',
      'pipelineJobs',
      { state: 'PIPELINE_STATE_SUCCEEDED', runtimeConfig: { gcsOutputDirectory: 'gs://acme-ml/out' } },
    ],
    [
      'a training',
      'trainingPipelines',
      { state: 'PIPELINE_STATE_SUCCEEDED', modelToUpload: { name: `${PARENT}/models/77` } },
    ],
    ['a tuning', 'tuningJobs', { state: 'JOB_STATE_SUCCEEDED', tunedModel: { model: `${PARENT}/models/77` } }],
    ['an endpoint', 'endpoints', { deployedModels: [{ model: `${PARENT}/models/77` }] }],
  ])('%s are found and carried', async (_, kind, resource) => {
    await using cloud = await vertexCloud();
    cloud.data.put('out/model/a.bin', 'a');
    cloud.data.put('out/b', 'b');
    cloud.data.put('outside', 'c');
    cloud.vertexai.resources.set(named(kind), resource as never);
    cloud.vertexai.resources.set(`${PARENT}/models/77`, { artifactUri: 'gs://acme-ml/out' });
    const { report, keys, facts } = await cloud.carry({ resource: { name: named(kind), wait: '0s' } });
    expect(report.outcome).toBe('complete');
    expect(keys).toEqual(['b', 'model/a.bin']);
    expect(facts).toMatchObject({ places: [expect.stringMatching(/^gs:\/\/acme-ml\/out\/?$/)] });
  });

  it('one artifact of a pipeline, by its task and output', async () => {
    await using cloud = await vertexCloud();
    cloud.data.put('p/metrics', 'm');
    cloud.data.put('p/model/x', 'x');
    const output = (uri: string) => ({ artifacts: [{ uri }] });
    const jobDetail = {
      taskDetails: [
        {
          taskName: 'train',
          outputs: { model: output('gs://acme-ml/p/model'), metrics: output('gs://acme-ml/p/metrics') },
        },
      ],
    };
    cloud.vertexai.resources.set(named('pipelineJobs'), { state: 'PIPELINE_STATE_SUCCEEDED', jobDetail } as never);
    expect((await cloud.carry({ resource: { name: named('pipelineJobs'), artifact: 'train.model' } })).keys).toEqual([
      'x',
    ]);
    expect((await cloud.carry({ resource: { name: named('pipelineJobs'), artifact: 'metrics' } })).keys).toEqual([
      'metrics',
    ]);
    const none = await cloud.carry({ resource: { name: named('pipelineJobs'), artifact: 'nope' } });
    expect(none.report.error).toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining('no artifact nope'),
    });
  });

  it('of a pipeline that runs are waited for, of one that failed not', async () => {
    await using cloud = await vertexCloud();
    cloud.vertexai.resources.set(named('pipelineJobs'), { state: 'PIPELINE_STATE_RUNNING' });
    const config = { resource: { name: named('pipelineJobs'), wait: '0s' } };
    expect((await cloud.carry(config)).report).toMatchObject({ outcome: 'paused', error: { code: 'pending' } });
    cloud.vertexai.resources.set(named('pipelineJobs'), {
      state: 'PIPELINE_STATE_FAILED',
      error: { message: 'out of memory' },
    });
    expect((await cloud.carry(config)).report.error).toMatchObject({
      code: 'job_failed',
      message: expect.stringContaining('out of memory'),
    });
  });

  it('a model is exported first where that is asked for, and the copy is deleted', async () => {
    await using cloud = await vertexCloud();
    cloud.vertexai.resources.set(named('models'), {});
    cloud.vertexai.onExport = (prefix) => {
      const place = `${prefix}model-export-1/tf`;
      cloud.data.put(`${place.replace('gs://acme-ml/', '')}/saved_model.pb`, 'pb');
      return place;
    };
    const { report, keys } = await cloud.carry({
      resource: { name: named('models'), export: { format: 'tf-saved-model', bucket: 'acme-ml' } },
    });
    expect(report.outcome).toBe('complete');
    expect(keys).toEqual(['saved_model.pb']);
    expect(cloud.staged()).toEqual([]);
  });

  it('that has none says so', async () => {
    await using cloud = await vertexCloud();
    cloud.vertexai.resources.set(named('models'), {});
    const { report } = await cloud.carry({ resource: { name: named('models') } });
    expect(report.error).toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining('names no files in Cloud Storage'),
    });
  });
});

describe('what is no source', () => {
  it.each<[object, string]>([
    [{}, 'nothing is asked for'],
    [{ batch: { job: '1', filter: 'x' } }, '2 of job, filter and model are given'],
    [{ batch: { model: '1' } }, 'a new job needs input and output'],
    [{ batch: { job: '1', join: { by: 'id' } } }, 'join reads JSON lines'],
    [{ batch: { ...BATCH, join: { by: 'id' }, format: 'csv' } }, 'join reads JSON lines'],
    [{ generate: { model: 'm', prompt: 'x', files: 'gs://acme-ml/x', rowsPerFile: 3 } }, 'rowsPerFile is about rows'],
    [{ batch: { job: '1' }, resource: { name: `${PARENT}/models/1` } }, 'batch and resource are given'],
    [{ generate: { model: 'm', prompt: 'Read {{name}}', files: 'gs://acme-ml/x' } }, 'only {{file}} is known'],
    [{ generate: { model: 'm', prompt: 'x', files: 'gs://acme-ml/*.pdf' } }, 'without wildcards'],
    [{ batch: { ...BATCH, input: { gcs: 'gs://acme-ml/x' } } }, 'must be { gcs: [gs://'],
    [{ generate: { model: 'm', prompt: 'x', rows: [1], onlyNew: true } }, 'onlyNew is about files'],
    [{ generate: { model: 'm', prompt: 'x' } }, 'generate asks for rows or for files'],
    [
      { generate: { model: 'm', prompt: 'x', rows: [1], schema: { type: 'nonsense' } } },
      'generate.schema is not a JSON Schema',
    ],
    [
      { resource: { name: `${PARENT}/customJobs/1`, export: { format: 'x', bucket: 'acme-ml' } } },
      'only models are exported',
    ],
  ])('%o', async (config, message) => {
    await using cloud = await vertexCloud();
    expect(() => cloud.source(config)).toThrow(message);
  });
});

it('rows in S3 need a permission to be read', () => {
  const rows = { from: 's3://acme-lake/in/rows.jsonl', identity: 'lake' };
  const config = { identity: 'reader', project: 'acme-ml', location: 'global' };
  const grants = vertexai.grants?.(vertexai.config.parse({ ...config, generate: { model: 'm', prompt: 'x', rows } }));
  expect(grants).toContainEqual({
    cloud: 'aws',
    identity: 'lake',
    actions: ['s3:GetObject'],
    resources: ['arn:aws:s3:::acme-lake/in/rows.jsonl'],
    reason: 'read s3://acme-lake/in/rows.jsonl',
  });
});
