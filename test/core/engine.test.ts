import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BrokerError, type Item, type Sink, type Source, type StoredObject } from '../../core/api/index.ts';
import type { Job } from '../../core/engine/job.ts';
import { FairMemoryBudget } from '../../core/engine/memory.ts';
import { type Action, plan } from '../../core/engine/plan.ts';
import { run } from '../../core/engine/run.ts';
import { fixedSlots } from '../../core/engine/slots.ts';
import { verify } from '../../core/engine/verify.ts';
import { Watermark } from '../../core/engine/watermark.ts';
import { forEachConcurrently } from '../../core/engine/workers.ts';
import { MemoryState } from '../../core/state/memory.ts';
import { MemorySink } from '../../plugins/memory/index.ts';
import { runContext } from '../conformance/run-context.ts';
import { testRuntime } from '../support.ts';
import { job, numbered, RECEIPT, sinkThat, sourceOf } from './job.ts';

const never = new AbortController().signal;
const context = () => runContext();

describe('a run', () => {
  it('carries everything, and then finds everything unchanged by size and checksum', async () => {
    const sink = new MemorySink();
    const items = { a: '1', b: '2' };
    const first = await run(job({ sinks: [sink], sources: [sourceOf(items)] }), { runtime: testRuntime() });
    expect(first).toMatchObject({ outcome: 'complete', items: { written: 2 }, bytes: 2, failures: [] });
    const second = await run(job({ sinks: [sink], sources: [sourceOf(items)], compare: 'size' }), {
      runtime: testRuntime(),
    });
    expect(second).toMatchObject({ outcome: 'complete', items: { written: 0, unchanged: 2 } });
  });

  it('tries a failed item again and goes on with the others', async () => {
    const tries = new Map<string, number>();
    const sink = sinkThat(async ({ key }) => {
      tries.set(key, (tries.get(key) ?? 0) + 1);
      if (key === 'k0003' && (tries.get(key) ?? 0) < 3) throw new BrokerError('unavailable', 'HTTP 503');
      if (key === 'k0005') throw new BrokerError('throttled', 'HTTP 429');
      if (key === 'k0007') throw new BrokerError('permission_denied', 'HTTP 403');
    });
    const report = await run(job({ sources: [sourceOf(numbered(10))], sinks: [sink] }), { runtime: testRuntime() });
    expect(report).toMatchObject({ outcome: 'partial', items: { written: 8, failed: 2 } });
    expect(report.failures.map(({ key, code }) => [key, code]).sort()).toEqual([
      ['k0005', 'throttled'],
      ['k0007', 'permission_denied'],
    ]);
    expect([tries.get('k0003'), tries.get('k0005'), tries.get('k0007')]).toEqual([3, 3, 1]);
  });

  it('ends at once for what no other item can survive', async () => {
    const sink = sinkThat(async () => {
      throw new BrokerError('bucket_missing', 'no such bucket');
    });
    const report = await run(job({ sources: [sourceOf(numbered(100))], sinks: [sink] }), { runtime: testRuntime() });
    expect(report).toMatchObject({ outcome: 'failed', error: { code: 'bucket_missing' }, items: { written: 0 } });
  });

  it('starts over after a run in which everything failed, though it kept a checkpoint', async () => {
    const state = new MemoryState();
    const denied = sinkThat(async () => {
      throw new BrokerError('permission_denied', 'HTTP 403');
    });
    expect((await run(job({ sinks: [denied], state }), { runtime: testRuntime() })).outcome).toBe('failed');
    expect(await state.load('p')).toBeUndefined();
    expect(await run(job({ state }), { runtime: testRuntime() })).toMatchObject({
      outcome: 'complete',
      items: { written: 2 },
    });
  });

  it('fails when nothing could be carried, so nobody takes it for a success', async () => {
    const sink = sinkThat(async () => {
      throw new BrokerError('permission_denied', 'HTTP 403');
    });
    const report = await run(job({ sinks: [sink] }), { runtime: testRuntime() });
    expect(report.outcome).toBe('failed');
  });

  it('has a receipt for every item in every sink, and one failing sink does not stop the other', async () => {
    const good = new MemorySink();
    const bad = sinkThat(async ({ key }) => {
      if (key === 'b') throw new BrokerError('permission_denied', 'HTTP 403');
    });
    const receipts: string[] = [];
    const report = await run(
      job({ sources: [sourceOf({ a: '1' }), sourceOf({ b: '2', c: '3' })], sinks: [good, bad] }),
      {
        runtime: testRuntime(),
        observer: { receipt: ({ key, sink, outcome }) => void receipts.push(`${key} ${sink} ${outcome}`) },
      },
    );
    expect(receipts.sort()).toEqual([
      'a 0 written',
      'a 1 written',
      'b 0 written',
      'b 1 failed',
      'c 0 written',
      'c 1 written',
    ]);
    expect([...good.objects.keys()].sort()).toEqual(['a', 'b', 'c']);
    expect(report).toMatchObject({ outcome: 'partial', failures: [{ key: 'b', sink: 'test:' }] });
  });

  it('refuses items of two sources that would get one key, and carries the rest', async () => {
    const sink = new MemorySink();
    const report = await run(
      job({ sources: [sourceOf({ a: '1', same: '2' }), sourceOf({ same: '3' })], sinks: [sink] }),
      { runtime: testRuntime() },
    );
    expect(report).toMatchObject({ outcome: 'partial', items: { written: 1, refused: 2 } });
    expect(report.failures[0]).toMatchObject({ key: 'same', code: 'key_collision' });
    expect([...sink.objects.keys()]).toEqual(['a']);
  });

  it('never has more items in flight than concurrency, and pulls no more than that', async () => {
    let flying = 0;
    let most = 0;
    let pulled = 0;
    let done = 0;
    const inner = sourceOf(numbered(40));
    const source: Source = {
      ...inner,
      location: 'memory:',
      ranges: true,
      open: (item, options) => inner.open(item, options),
      async *list(options) {
        for await (const item of inner.list(options)) {
          pulled++;
          expect(pulled - done).toBeLessThanOrEqual(6);
          yield item;
        }
      },
    };
    const sink = sinkThat(async () => {
      most = Math.max(most, ++flying);
      await turn();
      flying--;
      done++;
    });
    await run(job({ sources: [source], sinks: [sink], concurrency: 3 }), { runtime: testRuntime() });
    expect(most).toBe(3);
  });
});

it('verification names what is missing, different, not to be proved and refused, in the order of the keys', async () => {
  const has = (key: string, crc32c?: string) => ({
    key,
    size: 1,
    ...(crc32c === undefined ? {} : { checksums: { crc32c } }),
  });
  const source: Source = {
    location: 'source:',
    open: async () => {
      throw new Error('nothing is read');
    },
    async *list() {
      for (const one of [has('a', 'A'), has('b', 'B'), has('c', 'C'), has('d'), has('e', 'E')])
        yield { ...one, id: one.key, ref: null };
    },
  };
  const sink: Sink = {
    location: 'sink:',
    write: async () => {
      throw new Error('nothing is written');
    },
    async *list() {
      for (const one of [has('a', 'A'), has('b', '?'), has('bb', 'X'), has('d', 'D')]) yield { ...one, complete: true };
    },
    refuses: ({ key }) => (key === 'e' ? { code: 'key_refused', message: 'not e', hint: 'Rename it.' } : undefined),
  };
  const options = { sources: [source], sinks: [sink], run: context, signal: never };
  const told = async (extras: boolean) =>
    (await Array.fromAsync(verify({ ...options, extras }))).map((one) => one && `${one.key} ${one.finding}`);
  const found = [undefined, 'b different', 'c missing', 'd unproved', 'e refused'];
  expect(await told(false)).toEqual(found);
  expect(await told(true)).toEqual([...found, 'bb extra']);
});

describe('a stopped run', () => {
  it('finishes what is in flight, begins nothing new, and goes on there the next time with one report', async () => {
    const state = new MemoryState();
    const stop = new AbortController();
    let writes = 0;
    const sink = sinkThat(async ({ key }) => {
      if (key === 'k0002') throw new BrokerError('permission_denied', 'HTTP 403');
      if (++writes === 10) stop.abort();
      await turn();
    });
    const sources = [sourceOf(numbered(50))];
    const first = await run(job({ sources, sinks: [sink], state }), { runtime: testRuntime({ stop: stop.signal }) });
    expect(first.outcome).toBe('paused');
    expect(first.items.written).toBeLessThan(20);
    const listedAfter: (string | undefined)[] = [];
    const source = sources[0] as Source;
    const watched: Source = {
      location: 'memory:',
      ranges: true,
      open: (item, options) => source.open(item, options),
      list: (options) => {
        listedAfter.push(options.after);
        return source.list(options);
      },
    };
    const second = await run(job({ sources: [watched], sinks: [sink], state }), { runtime: testRuntime() });
    expect(listedAfter[0]).toMatch(/^k00/);
    // The item that failed before the pause is still in the report: nothing is forgotten by pausing.
    expect(second).toMatchObject({
      runId: first.runId,
      outcome: 'partial',
      items: { failed: 1 },
      failures: [{ key: 'k0002' }],
    });
    expect(sink.inner.objects.size).toBe(49);
    expect(await state.load('p')).toBeUndefined();
  });

  it('abandons what is in flight when it is ended, and its cursor does not pass it', async () => {
    const state = new MemoryState();
    const end = new AbortController();
    const sink = sinkThat(async ({ key }) => {
      if (key !== 'k0004') return;
      await turn();
      end.abort();
      throw new BrokerError('network', 'cut off');
    });
    const report = await run(job({ sources: [sourceOf(numbered(30))], sinks: [sink], state }), {
      runtime: testRuntime({ signal: end.signal }),
    });
    expect(report.outcome).toBe('paused');
    const saved = (await state.load('p'))?.value as { cursor?: string };
    expect((saved.cursor ?? '') < 'k0004').toBe(true);
    const second = await run(job({ sources: [sourceOf(numbered(30))], sinks: [sink.inner], state }), {
      runtime: testRuntime(),
    });
    expect(second.outcome).toBe('complete');
    expect(sink.inner.objects.size).toBe(30);
  });

  it('refuses a checkpoint of another source, of a newer release, and what is none; --reset-state begins anew', async () => {
    const state = new MemoryState();
    await state.save('p', { version: 1, fingerprint: 'x' }, undefined);
    await expect(run(job({ state }), { runtime: testRuntime() })).rejects.toMatchObject({ code: 'state_unreadable' });
    expect(await run(job({ state }), { runtime: testRuntime(), resetState: true })).toMatchObject({
      outcome: 'complete',
    });
    const newer = new MemoryState();
    await newer.save('p', { version: 2 }, undefined);
    await expect(run(job({ state: newer }), { runtime: testRuntime() })).rejects.toThrow(/version 2/);
    const stop = new AbortController();
    const other = new MemoryState();
    const stopping = sinkThat(async ({ key }) => {
      if (key === 'k0009') stop.abort();
    });
    const sources = (): Source[] => [sourceOf(numbered(30))];
    await run(job({ sources: sources(), sinks: [stopping], state: other, concurrency: 1 }), {
      runtime: testRuntime({ stop: stop.signal }),
    });
    await expect(
      run(job({ sources: sources(), state: other, fingerprint: 'changed' }), { runtime: testRuntime() }),
    ).rejects.toThrow(/source or the sink/);
  });

  it('that carried nothing yet goes on also when the pipeline was changed meanwhile', async () => {
    const state = new MemoryState();
    const stop = AbortSignal.abort();
    const { runId } = await run(job({ state }), { runtime: testRuntime({ stop }) });
    expect(await run(job({ state, fingerprint: 'changed' }), { runtime: testRuntime() })).toMatchObject({
      outcome: 'complete',
      runId,
    });
  });

  it('pauses when the platform is about to end the process, and when the source says that it is not ready', async () => {
    expect(await run(job({}), { runtime: testRuntime({ stop: AbortSignal.abort() }) })).toMatchObject({
      outcome: 'paused',
      error: { code: 'stopped' },
    });
    const pending: Source = {
      location: 'job:',
      open: async () => [] as never,
      // biome-ignore lint/correctness/useYield: it never gets that far
      async *list(): AsyncGenerator<Item> {
        throw new BrokerError('pending', 'the export job is still running');
      },
    };
    expect(await run(job({ sources: [pending] }), { runtime: testRuntime() })).toMatchObject({
      outcome: 'paused',
      error: { code: 'pending' },
    });
  });

  it('notices that another run of the pipeline saved its state first', async () => {
    const state = new MemoryState();
    const stop = new AbortController();
    const sink = sinkThat(async () => {
      await state.save('p', { theirs: true }, undefined);
      stop.abort();
    });
    const report = await run(job({ sources: [sourceOf({ a: '1', b: '2' })], sinks: [sink], state, concurrency: 1 }), {
      runtime: testRuntime({ stop: stop.signal }),
    });
    expect(report).toMatchObject({ outcome: 'failed', error: { code: 'state_conflict' } });
    expect((await state.load('p'))?.value).toEqual({ theirs: true });
  });
});

describe('a plan', () => {
  const item = (key: string, size = 1, checksums = {}): Item => ({ id: key, key, size, checksums, ref: null });
  const listing = (...items: Item[]): Source => ({
    location: 'list:',
    open: async () => [] as never,
    async *list() {
      yield* items;
    },
  });
  const holding = (...objects: StoredObject[]): Sink & { asked: string[] } => {
    const asked: string[] = [];
    return {
      asked,
      location: 'held:',
      async *list({ after }) {
        for (const object of objects) if (after === undefined || object.key > after) yield object;
      },
      stat: async (key) => {
        asked.push(key);
        const found = objects.find((object) => object.key === key);
        return found && { ...found, checksums: { crc32c: 'stored' }, complete: true };
      },
      write: async () => {
        throw new Error('a plan writes nothing');
      },
    };
  };
  const actions = async (source: Source, sink: Sink, compare: Job['compare'] = 'checksum'): Promise<Action[]> =>
    (await Array.fromAsync(plan({ sources: [source], sinks: [sink], compare, run: context, signal: never }))).flatMap(
      ({ actions }) => actions,
    );

  it('asks the sink only where the listing leaves a doubt', async () => {
    const sink = holding(
      { key: 'a', size: 1, checksums: { md5: 'same' } },
      { key: 'b', size: 2 },
      { key: 'c', size: 1, checksums: { md5: 'kms looks like an md5' } },
      { key: 'd', size: 1 },
    );
    const source = listing(
      item('a', 1, { md5: 'same' }),
      item('b'),
      item('c', 1, { md5: 'x', crc32c: 'stored' }),
      item('d', 1, { crc32c: 'other' }),
      item('e'),
    );
    const verdicts = (await actions(source, sink)).map(
      ({ item: { key }, action, reason }) => `${key} ${action}: ${reason}`,
    );
    expect(verdicts).toEqual([
      'a skip: same MD5',
      'b update: size differs: 1 and 2 bytes',
      'c skip: same CRC32C',
      'd update: CRC32C differs',
      'e create: not in the sink',
    ]);
    expect(sink.asked).toEqual(['c', 'd']);
  });

  it('finds every match whatever the two listings hold', async () => {
    const keys = fc.uniqueArray(
      fc.string({ unit: fc.constantFrom('a', 'b', '/', '\u{ff5e}', '\u{1f600}'), minLength: 1, maxLength: 4 }),
      { maxLength: 30 },
    );
    const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
    await fc.assert(
      fc.asyncProperty(keys, keys, async (ours, theirs) => {
        const sink = new MemorySink();
        for (const key of theirs) sink.objects.set(key, { bytes: Buffer.from('x'), crc32c: 'c', revision: '1' });
        const found = await actions(listing(...ours.sort(byBytes).map((key) => item(key, 1, { crc32c: 'c' }))), sink);
        for (const { item: one, action } of found)
          expect(action, one.key).toBe(theirs.includes(one.key) ? 'skip' : 'create');
        expect(found).toHaveLength(ours.length);
      }),
    );
  });

  it('jumps over what the sink holds between two items', async () => {
    let listed = 0;
    const sink: Sink = {
      ...holding(),
      async *list({ after }) {
        for (let n = after === undefined ? 0 : Math.max(0, Number(after.slice(1).padEnd(6, '0'))); n < 900_000; n++) {
          listed++;
          const key = `k${String(n).padStart(6, '0')}`;
          if (after === undefined || key > after) yield { key, size: 1, checksums: { crc32c: 'c' }, complete: true };
        }
      },
    };
    const found = await actions(
      listing(item('k000001', 1, { crc32c: 'c' }), item('k700000', 1, { crc32c: 'c' })),
      sink,
    );
    expect(found.map(({ action }) => action)).toEqual(['skip', 'skip']);
    expect(listed).toBeLessThan(5000);
  });

  it('fails when a listing is out of order, because comparing would be wrong', async () => {
    await expect(actions(listing(item('b'), item('a')), holding())).rejects.toMatchObject({ code: 'list_order' });
    await expect(actions(listing(item('a'), item('a')), holding())).rejects.toThrow(/listed twice/);
  });
});

describe('the watermark', () => {
  const written = (bytes: number) => ({ ...RECEIPT, outcome: 'written', bytes }) as const;

  it('never passes an unfinished item, and counts what it has passed, in whatever order items finish', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([...Array(12).keys()], { minLength: 12 }), (order) => {
        const watermark = new Watermark(undefined);
        const marks = order.map((_, n) => watermark.begin(`k${String(n).padStart(2, '0')}`, 1));
        const open = new Set(marks.keys());
        const sum = (items: Iterable<number>): number => [...items].reduce((bytes, item) => bytes + 2 ** item, 0);
        for (const n of order) {
          marks[n]?.done(written(2 ** n));
          open.delete(n);
          const first = Math.min(...open, 12);
          expect(watermark.value).toBe(first === 0 ? undefined : `k${String(first - 1).padStart(2, '0')}`);
          expect(watermark.tally).toMatchObject({ items: { written: first }, bytes: 2 ** first - 1 });
          expect(watermark.total()).toMatchObject({ items: { written: 12 - open.size }, bytes: 4095 - sum(open) });
        }
      }),
    );
  });

  it('waits for every sink of an item', () => {
    const watermark = new Watermark('start');
    const mark = watermark.begin('a', 2);
    mark.done(written(1));
    expect([watermark.value, watermark.tally.bytes, watermark.total().bytes]).toEqual(['start', 0, 1]);
    mark.done(written(1));
    expect([watermark.value, watermark.tally.bytes, watermark.total().bytes]).toEqual(['a', 2, 2]);
  });
});

describe('the memory budget', () => {
  it('is never exceeded and serves in the order of asking', async () => {
    const budget = new FairMemoryBudget(10);
    const order: string[] = [];
    const granted = async (name: string, bytes: number): Promise<void> => {
      await budget.lease(bytes, never);
      order.push(name);
    };
    const first = await budget.lease(6, never);
    const large = granted('large', 8);
    const small = granted('small', 1);
    await turn();
    expect(order).toEqual([]);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    await Promise.all([large, small]);
    expect(order).toEqual(['large', 'small']);
    expect(budget.peak).toBeLessThanOrEqual(10);
  });

  it('uses buffers again, and keeps no more of them than the total', async () => {
    const budget = new FairMemoryBudget(2 ** 20);
    const buffers: ArrayBufferLike[] = [];
    for (const bytes of [100_000, 100_000, 2 ** 20, 100_000]) {
      using lease = await budget.lease(bytes, never);
      expect(lease.buffer.length).toBe(bytes);
      buffers.push(lease.buffer.buffer);
    }
    expect(buffers[1]).toBe(buffers[0]);
    expect(buffers[3]).not.toBe(buffers[0]);
  });

  it('refuses what could never be granted, and lets a waiter leave', async () => {
    const budget = new FairMemoryBudget(10);
    await expect(budget.lease(11, never)).rejects.toMatchObject({ code: 'memory_too_small' });
    using _all = await budget.lease(10, never);
    const leaving = new AbortController();
    const waiting = budget.lease(1, leaving.signal);
    leaving.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'stopped' });
  });
});

it('workers wait for what is in flight before they throw, and close the sequence', async () => {
  let closed = false;
  let finished = 0;
  async function* sequence(): AsyncGenerator<number> {
    try {
      for (let n = 0; ; n++) yield n;
    } finally {
      closed = true;
    }
  }
  const work = async (n: number): Promise<void> => {
    if (n === 2) throw new Error('broken');
    await turn();
    finished++;
  };
  await expect(forEachConcurrently(sequence(), fixedSlots(3), work)).rejects.toThrow('broken');
  expect(closed).toBe(true);
  expect(finished).toBe(2);
});
