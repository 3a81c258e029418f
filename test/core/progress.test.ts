import { describe, expect, it, vi } from 'vitest';
import { BrokerError, type Sink, type Source, streamOf } from '../../core/api/index.ts';
import { Progress } from '../../core/engine/progress.ts';
import { run } from '../../core/engine/run.ts';
import { MemoryState } from '../../core/state/memory.ts';
import { MemorySink } from '../../plugins/memory/index.ts';
import { SILENT, testRuntime } from '../support.ts';
import { job, numbered, RECEIPT, sinkThat, sourceOf } from './job.ts';

const never = new AbortController().signal;

describe('progress', () => {
  const options = (state: MemoryState, more: object = {}) => ({
    pipeline: 'p',
    fingerprint: 'f',
    state,
    sinks: [new MemorySink()],
    now: Date.now,
    part: undefined,
    hasPlaces: true,
    lasts: true,
    leaseMs: undefined,
    reset: false,
    signal: never,
    ...more,
  });

  it('saves one at a time, whoever asks and whenever: none overtakes another', async () => {
    const state = new MemoryState();
    await using progress = await Progress.load(options(state));
    const first = progress.save(never);
    const second = progress.save(never);
    const third = first.then(() => progress.save(never));
    await Promise.all([first, second, third, ...Array.from({ length: 20 }, () => progress.save(never))]);
    expect(await state.load('p')).toBeDefined();
  });

  it('keeps whatever a failure says of itself through a pause', async () => {
    const state = new MemoryState();
    const failure = { code: 'network', message: 'm', hint: 'h', id: 'AWS_STS_UNREACHABLE' } as const;
    const receipt = { ...RECEIPT, outcome: 'failed', failure, notes: ['n'] } as const;
    await using progress = await Progress.load(options(state));
    progress.watermark.begin('k', 1).done(receipt, 's3://lake/');
    await progress.release(true, never);
    await using again = await Progress.load(options(state));
    expect(again.watermark.tally.failures).toEqual([{ key: 'k', sink: 's3://lake/', ...failure }]);
  });

  it('is under way for others from its first save until it is released', async () => {
    const state = new MemoryState();
    await using progress = await Progress.load(options(state));
    await progress.save(never);
    await expect(Progress.load(options(state))).rejects.toMatchObject({
      code: 'busy',
      hint: expect.stringMatching(/run again in \d+ s/),
    });
    const later = { now: () => Date.now() + 31_000 };
    await using after = await Progress.load(options(state, later));
    expect(after.runId).toBe(progress.runId);
    await progress.release(true, never);
    await using released = await Progress.load(options(state));
    expect(released.runId).toBe(progress.runId);
  });

  it('that is paused goes on once: of two that want to go on with it one gets it', async () => {
    const state = new MemoryState();
    await using paused = await Progress.load(options(state));
    await paused.release(true, never);
    await using one = await Progress.load(options(state));
    await using two = await Progress.load(options(state));
    await one.take(never);
    await expect(two.take(never)).rejects.toMatchObject({
      code: 'busy',
      message: expect.stringContaining(paused.runId),
    });
  });

  it('does not take a dead run with a wrong clock for alive', async () => {
    const state = new MemoryState();
    const tomorrow = { now: () => Date.now() + 86_400_000 };
    await using ahead = await Progress.load(options(state, tomorrow));
    await ahead.save(never);
    await using now = await Progress.load(options(state));
    expect(now.runId).toBe(ahead.runId);
  });

  it('is not reset while it is under way, and what it left of its writes is not forgotten by a reset', async () => {
    const state = new MemoryState();
    await using live = await Progress.load(options(state));
    await live.begin(0, 'k', never);
    await expect(Progress.load(options(state, { reset: true }))).rejects.toMatchObject({ code: 'busy' });
    const later = { now: () => Date.now() + 31_000, reset: true };
    await using reset = await Progress.load(options(state, later));
    expect(reset.runId).not.toBe(live.runId);
    const tidied: string[] = [];
    const sink = Object.assign(new MemorySink(), { tidy: async (key: string) => void tidied.push(key) });
    await reset.underWay.tidy([sink], 'unknown', never, SILENT);
    expect(tidied).toEqual(['k']);
  });

  it('does not beat while something is saved: that says that it lives, and others wait for it with more patience', async () => {
    const state = new MemoryState();
    const gate = Promise.withResolvers<void>();
    const save = state.save.bind(state);
    let saves = 0;
    state.save = async (...args) => {
      saves++;
      await gate.promise;
      return save(...args);
    };
    vi.useFakeTimers();
    try {
      await using progress = await Progress.load(options(state, { leaseMs: 3000 }));
      const saving = progress.save(never);
      vi.advanceTimersByTime(30_000);
      gate.resolve();
      await saving;
      expect(saves).toBe(1);
      await vi.advanceTimersByTimeAsync(1000);
      expect(saves).toBe(2);
    } finally {
      vi.useRealTimers();
    }
  });

  it('keeps receipts although items hold all memory while they wait for the record', async () => {
    const KIB = 1024;
    const items = ['a', 'b', 'c'];
    const source: Source = {
      location: 'test:',
      ranges: false,
      async *list() {
        for (const key of items) yield { id: `test:${key}#1`, key, ref: key };
      },
      open: async () => streamOf(Buffer.from('x')),
    };
    const inner = new MemorySink();
    const both = Promise.withResolvers<void>();
    const flushing = Promise.withResolvers<void>();
    let holding = 0;
    const sink: Sink = {
      location: 'mem:',
      stat: (key) => inner.stat(key),
      write: async (item, content, write) => {
        if (item.key === 'a') {
          await both.promise;
          return inner.write(item, content, write);
        }
        using _lease = await write.memory.lease(512 * KIB, write.signal);
        if (++holding === 2) both.resolve();
        // The record is being saved, and waits for the receipt of `a`.
        await flushing.promise;
        await write.begins?.();
        return inner.write(item, content, write);
      },
    };
    const receipts: Sink = {
      location: 'receipts:',
      write: async (item, content, write) => {
        flushing.resolve();
        using _lease = await write.memory.lease(item.size ?? 0, write.signal);
        return inner.write({ ...item, key: `r/${item.key}` }, content, write);
      },
    };
    let now = 0;
    const lasting = { state: new MemoryState(), lasts: 'anywhere', concurrency: 3, memory: 1024 * KIB } as const;
    const report = await run(job({ sources: [source], sinks: [sink], receipts, ...lasting }), {
      // The record is saved at every chance.
      runtime: testRuntime({ now: () => (now += 6000) }),
      leaseMs: 60_000_000,
    });
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 3 }, receipts: { lines: 3 } });
  });

  it('ends a run that another one has taken over from, in the middle of an object', async () => {
    const state = new MemoryState();
    const sink = sinkThat(async () => {});
    const begun = Promise.withResolvers<void>();
    const writing: Sink = {
      ...sink,
      write: async (item, content, write) => {
        await write.begins?.();
        begun.resolve();
        await new Promise((_, reject) => write.signal.addEventListener('abort', () => reject(new Error('aborted'))));
        return sink.write(item, content, write);
      },
    };
    const running = run(job({ sinks: [writing], state, sources: [sourceOf({ k: '1' })] }), {
      runtime: testRuntime(),
      // No multiple of three: a beat comes every whole millisecond all the same.
      leaseMs: 40,
    });
    await begun.promise;
    const theirs = await state.load('p');
    await state.save('p', { ...(theirs?.value as object), theirs: true } as never, theirs?.revision);
    expect(await running).toMatchObject({
      outcome: 'failed',
      error: { code: 'state_conflict', message: /taken over/ as never },
    });
    expect((await state.load('p'))?.value).toMatchObject({ theirs: true });
  });

  it('counts every item once, though a killed run had finished some that come after what it had not', async () => {
    const items = { a: '1', b: '2', c: '3', d: '4' };
    const others = Promise.withResolvers<void>();
    const state = new MemoryState();
    const killed = new MemoryState();
    let finished = 0;
    const sink = sinkThat(async () => {});
    const slow: Sink = {
      ...sink,
      write: async (item, content, write) => {
        if (item.key !== 'b') return sink.write(item, content, write);
        await others.promise;
        await write.begins?.();
        await killed.save('p', (await state.load('p'))?.value as never, undefined);
        throw new BrokerError('permission_denied', 'HTTP 403');
      },
    };
    const observer = { receipt: () => void (++finished === 3 && others.resolve()) };
    const sources = [sourceOf(items)];
    const first = await run(job({ sinks: [slow], state, sources }), { runtime: testRuntime(), observer, leaseMs: 0 });
    expect(first.items).toMatchObject({ written: 3, failed: 1 });
    const again = await run(job({ sinks: [sink], state: killed, sources, compare: 'size' }), {
      runtime: testRuntime(),
    });
    expect(again.runId).toBe(first.runId);
    expect(again).toMatchObject({ outcome: 'complete', items: { written: 2, unchanged: 2, failed: 0 }, bytes: 2 });
  });

  it('goes on although what a killed run has left cannot be removed, and says so', async () => {
    const state = new MemoryState();
    await using killed = await Progress.load(options(state, { leaseMs: 0 }));
    await killed.begin(0, 'k', never);
    const warned: string[] = [];
    const sink = Object.assign(new MemorySink(), {
      tidy: async () => {
        throw new BrokerError('permission_denied', 'HTTP 403');
      },
    });
    const log = { ...SILENT, warn: (message: string) => void warned.push(message) };
    const report = await run(job({ sinks: [sink], state, sources: [sourceOf({ k: '1' })] }), {
      runtime: testRuntime({ log }),
    });
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(warned).toEqual(['a killed run has left something that cannot be removed']);
  });
});

describe('a run of one key', () => {
  it('is complete when the stop comes while its one item is under way', async () => {
    const stop = new AbortController();
    const state = new MemoryState();
    const sink = sinkThat(async () => stop.abort());
    const report = await run(job({ sinks: [sink], state, concurrency: 1 }), {
      runtime: testRuntime({ stop: stop.signal }),
      only: { key: 'b' },
    });
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect([...sink.inner.objects.keys()]).toEqual(['b']);
  });

  it('begins nothing after a stop', async () => {
    const sink = new MemorySink();
    const runtime = testRuntime({ stop: AbortSignal.abort() });
    expect(await run(job({ sinks: [sink] }), { runtime, only: { key: 'b' } })).toMatchObject({ outcome: 'paused' });
    expect(sink.objects.size).toBe(0);
  });

  it.each([
    [{ prefix: 'k000' }, 10],
    [{ prefix: 'k0003' }, 1],
    [{ key: 'k0003' }, 1],
    [{ key: 'k00' }, 0],
    [{ prefix: 'x' }, 0],
    [{ prefix: '' }, 20],
  ])(
    'or of a prefix, %j, carries exactly that part, also from a source that knows of no parts',
    async (only, count) => {
      const sink = new MemorySink();
      const report = await run(job({ sources: [sourceOf(numbered(20))], sinks: [sink] }), {
        runtime: testRuntime(),
        only,
      });
      expect(report).toMatchObject({ outcome: 'complete', items: { written: count } });
      const part = 'key' in only ? only.key : only.prefix;
      expect([...sink.objects.keys()].every((key) => key.startsWith(part))).toBe(true);
    },
  );
});
