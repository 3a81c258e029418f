import { describe, expect, it, vi } from 'vitest';
import { patternBody } from '../cloud/body.ts';
import type { Fault } from '../cloud/faults.ts';
import { LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { functionOn, testFunction } from '../lambda/function.ts';
import { arn, distributed, drive, type Json } from './driver.ts';

const MIB = 2 ** 20;
const REFUSED: Fault = { kind: 'answer', status: 403 };
const name = (index: number): string => `2026/${String(index).padStart(3, '0')}`;
const ask = (fn: { invoke(event: unknown): Promise<Json> }, event: Json): Promise<Json> =>
  fn.invoke({ distributed: event });

async function filled(count: number, more: Json = {}, shares: Json = {}) {
  const fn = await testFunction(distributed(more, shares));
  for (let index = 0; index < count; index++) fn.source.put(name(index), `item ${index}`);
  return fn;
}

async function large(more: Json = {}) {
  const fn = await testFunction(distributed(more));
  fn.source.put('2026/large', patternBody(40 * MIB));
  return fn;
}

describe('a distributed run that something comes in between of', () => {
  it('is another one when the name of its execution is used again', async () => {
    await using fn = await filled(3);
    const execution = arn();
    await drive(fn, { execution, started: '2026-01-01T00:00:00Z' });
    fn.source.put('2026/new', 'new');
    const { finished } = await drive(fn, { execution, started: '2026-06-01T00:00:00Z' });
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 1, unchanged: 3 } });
  });

  it('is planned once when its plan comes twice at once', async () => {
    await using fn = await filled(3);
    const other = functionOn(fn.cloud, distributed());
    const event = { phase: 'plan', execution: arn(), started: 'now', input: {} };
    const [one, two] = await Promise.all([ask(fn, event), ask(other, event)]);
    expect(one).toMatchObject({ outcome: 'planned' });
    expect(two).toEqual(one);
  });

  it('leaves the key to the item that has it, also when its child is tried again', async () => {
    const receipts = { use: 's3', with: { bucket: 'state', prefix: 'receipts/', region: 'eu-west-1' } };
    await using fn = await filled(0, { key: { template: '{name}', collisions: 'skip' }, receipts });
    fn.source.put('2026/a/x', 'the first');
    fn.source.put('2026/b/x', 'the second, which is left out');
    const { finished } = await drive(fn, { child: async (_, carry) => await carry({ retry: 1 }) });
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 1, skipped: 1 } });
    expect(fn.sink.objects.get('raw/x')?.size).toBe('the first'.length);
  });

  it('does not refuse what a child that died had moved already', async () => {
    await using fn = await filled(5, { move: true });
    fn.source.writers.add(LOCAL_SERVICE_ACCOUNT);
    // What became of its shard cannot be told: as if it had died then.
    fn.cloud.s3.faults.add(/PUT \/state\/distributed.*done-1/, REFUSED, 1);
    const { finished } = await drive(fn, {
      child: async (_, carry) => await carry().catch(() => carry({ retry: 1 })),
    });
    expect(finished).toMatchObject({ outcome: 'complete', items: { refused: 0, failed: 0 } });
    expect(fn.sink.objects.size).toBe(5);
    expect(fn.source.get(name(0))).toBeUndefined();
  });

  it('tries a child again that failed for what passes, and keeps nothing of the first try', async () => {
    await using fn = await filled(5, { retry: { attempts: 1 } });
    fn.cloud.s3.faults.add('PUT /lake', { kind: 'answer', status: 503 }, 40);
    let tries = 0;
    const { finished } = await drive(fn, {
      child: async (_, carry) => {
        for (;;)
          try {
            return await carry({ retry: tries++ });
          } catch (error) {
            expect((error as Error).name).toBe('Isthmus.unavailable');
            fn.cloud.s3.faults.clear();
          }
      },
    });
    expect(tries).toBe(2);
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 5 } });
  });

  it('ends with a report when a phase was stopped, and does not ask for ever', async () => {
    await using fn = await filled(3);
    const { run, attempt } = await ask(fn, { phase: 'plan', execution: arn(), input: {} });
    const failure = { Error: 'Isthmus.stopped', Cause: '{"errorMessage":"no time"}' };
    await expect(ask(fn, { phase: 'finish', execution: arn(), plan: { run, attempt }, failure })).rejects.toMatchObject(
      { name: 'Isthmus.not_carried' },
    );
  });

  it('counts each delete once, when it finishes twice, and leaves what has come back', async () => {
    await using fn = await filled(20, { delete: { extras: true, maxPercent: 100 } });
    await drive(fn);
    for (let index = 0; index < 6; index++) fn.source.delete(name(index));
    fn.cloud.s3.faults.add(/PUT \/state\/distributed.*report-1/, REFUSED, 1);
    const { plan, execution } = await drive(fn, {
      between: (phase) => {
        if (phase === 'gather') fn.source.put(name(5), 'item 5');
      },
    }).catch(async (error: Error) => {
      expect(error.message).toContain('403');
      const head = JSON.parse(Buffer.concat(fn.state.objects.get('exports.distributed.json')?.chunks ?? []).toString());
      return { plan: { run: head.value.runId, attempt: 1 } as Json, execution: head.value.execution as string };
    });
    const finished = await ask(fn, { phase: 'finish', execution, plan });
    expect(finished).toMatchObject({ outcome: 'complete', items: { deleted: 5, skipped: 1 } });
    expect(fn.sink.objects.size).toBe(15);
  });

  it('refuses sources whose items only whoever listed them can open', async () => {
    await using fn = await filled(1, {
      source: { use: 'bigquery', with: { project: 'acme-data', table: 'd.t', format: 'csv', identity: 'reader' } },
    });
    await expect(ask(fn, { phase: 'plan', execution: arn(), input: {} })).rejects.toThrow(
      'only where they were listed',
    );
  });

  it('asks for no token before its turn, where thousands begin at once', async () => {
    await using fn = await testFunction(distributed(), { ISTHMUS_WARM_UP: 'off' });
    await expect(ask(fn, { phase: 'nothing' })).rejects.toThrow();
    expect(fn.cloud.googleSts.requests).toEqual([]);
    await using warm = await testFunction(distributed());
    await expect(ask(warm, { phase: 'nothing' })).rejects.toThrow();
    await vi.waitFor(() => expect(warm.cloud.googleSts.requests).toHaveLength(1));
    const { spreadSeconds } = await import('../../core/distributed/concurrency.ts');
    expect([200, 3000, 10_000].map(spreadSeconds)).toEqual([0, 0, 140]);
  });

  it('keeps to a rate of less than one request a second for each child', async () => {
    const { concurrencyFor, toleratedOf } = await import('../../core/distributed/concurrency.ts');
    const load = { shards: 1000, items: 5_000_000, bytes: 5_000_000_000 };
    expect(concurrencyFor(load, { maxConcurrency: 200, requestsPerSecond: 10 }, 256)).toBe(1);
    expect(concurrencyFor(load, { maxConcurrency: 200, requestsPerSecond: 3500 }, 256)).toBeLessThan(60);
    expect(concurrencyFor({ ...load, bytes: 1e15 }, { maxConcurrency: 200, requestsPerSecond: 3500 }, 256)).toBe(200);
    expect(toleratedOf(7, 10)).toBe(43);
    expect([toleratedOf(1, 10), toleratedOf(10, 10), toleratedOf(1000, 10), toleratedOf(5, 0)]).toEqual([
      100, 30, 10, 0,
    ]);
  });
});

describe('an item in pieces that something comes in between of', () => {
  const half = (fn: Awaited<ReturnType<typeof large>>) =>
    drive(fn, { child: async (_, carry, place) => (place === 1 ? undefined : await carry()) });

  it('is not begun anew by a child that comes late: nothing would end that upload', async () => {
    await using fn = await large();
    let late: (() => Promise<Json>) | undefined;
    const { finished } = await drive(fn, {
      child: async (_, carry, place) => {
        if (place === 0) late = carry;
        return await carry();
      },
    });
    expect(finished).toMatchObject({ outcome: 'complete' });
    await expect(late?.()).rejects.toMatchObject({ name: 'Isthmus.superseded' });
    expect(fn.sink.uploads.size).toBe(0);
  });

  it('of a run that was ended is not begun anew by a function that outlived it', async () => {
    await using fn = await large();
    let late: (() => Promise<Json>) | undefined;
    await expect(
      drive(fn, {
        child: async (_, carry, place) => {
          if (place === 1) late = carry;
          return place === 1 ? undefined : await carry();
        },
      }),
    ).rejects.toThrow();
    await drive(fn);
    await expect(late?.()).rejects.toMatchObject({ name: 'Isthmus.superseded' });
    expect(fn.sink.uploads.size).toBe(0);
  });

  it('is not begun anew either by one that is in the middle of its piece when its run is ended', async () => {
    await using fn = await large();
    let late: Promise<unknown> = Promise.resolve();
    await expect(
      drive(fn, {
        child: async (_, carry, place) => {
          if (place > 0) return undefined;
          // Its bytes come later than the run is over.
          fn.cloud.gcs.faults.add('2026%2Flarge?', { kind: 'delay', ms: 1500 }, 2);
          late = carry().catch((error: unknown) => error);
          while (fn.sink.uploads.size === 0) await new Promise((resolve) => setImmediate(resolve));
          return undefined;
        },
      }),
    ).rejects.toThrow();
    const { finished } = await drive(fn);
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    await late;
    expect(fn.sink.uploads.size).toBe(0);
    expect([...fn.state.objects.keys()].filter((key) => key.includes('.upload-'))).toEqual([]);
  });

  it('is made once when two finish at the same time', async () => {
    await using fn = await large();
    const other = functionOn(fn.cloud, distributed());
    const { plan, execution } = await drive(fn, { between: () => {} }).then((all) => all);
    fn.source.put('2026/second', patternBody(40 * MIB));
    let both: PromiseSettledResult<Json>[] = [];
    const next = await drive(fn, {
      between: async (phase, { run, attempt }) => {
        if (phase !== 'transfer') return;
        const event = { phase: 'finish', execution: arn(), plan: { run, attempt } };
        both = await Promise.allSettled([ask(fn, event), ask(other, event)]);
      },
    });
    for (const one of both)
      if (one.status === 'fulfilled')
        expect(one.value).toMatchObject({ outcome: 'complete', items: { written: 1, unchanged: 1, failed: 0 } });
    expect(both.some(({ status }) => status === 'fulfilled')).toBe(true);
    expect(next.finished).toMatchObject({ outcome: 'complete', items: { written: 1, failed: 0 } });
    expect(fn.sink.uploads.size).toBe(0);
    expect([plan.run, execution]).toHaveLength(2);
  });

  it('is known as made, also where nobody compares: finish may die a moment after', async () => {
    await using fn = await large({ compare: 'always' });
    fn.cloud.s3.faults.add(/PUT \/state\/distributed.*done-1\/[\w-]+\.json/, REFUSED, 1);
    const run = drive(fn, {
      between: (phase) => {
        if (phase !== 'transfer') return;
        fn.cloud.s3.faults.clear();
        fn.cloud.s3.faults.add(/PUT \/state\/distributed.*done-1/, REFUSED, 1);
      },
      child: async (_, carry) => await carry().catch(() => carry({ retry: 1 })),
    });
    await expect(run).rejects.toThrow('403');
    const head = JSON.parse(Buffer.concat(fn.state.objects.get('exports.distributed.json')?.chunks ?? []).toString());
    const plan = { run: head.value.runId, attempt: 1 };
    expect(await ask(fn, { phase: 'finish', execution: arn(), plan })).toMatchObject({
      outcome: 'complete',
      items: { written: 1, failed: 0 },
    });
  });

  it('is not cut where S3 does not prove the whole: one process hashes it', async () => {
    await using fn = await large({
      sink: {
        use: 's3',
        with: { bucket: 'lake', prefix: 'raw/', region: 'eu-west-1', proof: 'size', partSize: '8MiB' },
      },
    });
    const { gathered, finished } = await drive(fn);
    expect(gathered).toMatchObject({ shards: 1 });
    expect(finished).toMatchObject({ outcome: 'complete' });
  });

  it('and what a paused child left of a smaller one, is ended by the next run', async () => {
    await using fn = await testFunction(distributed({}, { shardBytes: '1GiB' }));
    fn.source.put('2026/middle', patternBody(40 * MIB));
    fn.cloud.gcs.faults.add('2026%2Fmiddle?', { kind: 'stall-body', at: 6 * MIB }, Number.POSITIVE_INFINITY);
    const { run, attempt, ...plan } = await ask(fn, { phase: 'plan', execution: arn(), input: {} });
    await ask(fn, { phase: 'list', run, attempt, range: 0 });
    await ask(fn, { phase: 'gather', run, attempt });
    const { manifestOf } = await import('./driver.ts');
    const paused = await fn.invoke(
      { distributed: { phase: 'transfer', run, attempt, concurrency: 1, shards: manifestOf(fn, plan) } },
      2500,
    );
    expect(paused).toMatchObject({ outcome: 'paused' });
    expect(fn.sink.uploads.size).toBe(1);
    fn.cloud.gcs.faults.clear();
    const { finished } = await drive(fn);
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(fn.sink.uploads.size).toBe(0);
  });

  it('tells of failures only as long as they are ones', async () => {
    await using fn = await large();
    await expect(half(fn)).rejects.toThrow();
    const { finished } = await drive(fn, { input: { again: true } });
    expect(finished.message).toBe('exports: complete: 1 written; 40 MiB');
  });
});
