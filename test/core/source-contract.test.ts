import { describe, expect, it } from 'vitest';
import {
  BrokerError,
  type Item,
  type RunContext,
  type Source,
  type StateStore,
  streamOf,
} from '../../core/api/index.ts';
import { contextsOf } from '../../core/engine/job.ts';
import { run } from '../../core/engine/run.ts';
import { untilReady } from '../../core/runtime/patience.ts';
import { MemoryState } from '../../core/state/memory.ts';
import { MemorySink } from '../../plugins/memory/index.ts';
import { testRuntime } from '../support.ts';
import { job, sinkThat } from './job.ts';

const itemOf = (key: string): Item => ({ id: key, key, size: key.length, ref: null });
const never = new AbortController().signal;

/** A source with items and what it writes last; it tells what is asked of it. */
function sourceWith(
  keys: readonly string[],
  lasts: readonly string[],
  more: Partial<Source> = {},
): Source & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    location: 'test:',
    async *list({ after }) {
      asked.push('list');
      for (const key of keys) if (after === undefined || key > after) yield itemOf(key);
    },
    async *last() {
      asked.push('last');
      for (const key of lasts) yield itemOf(key);
    },
    open: async ({ key }) => streamOf(Buffer.from(key)),
    finish: async ({ outcome }) => void asked.push(`finish ${outcome}`),
    ...more,
  };
}

describe('what a source writes last', () => {
  it('is begun when all else is in the sink, also where its keys come first', async () => {
    const written: string[] = [];
    const sink = sinkThat(async ({ key }) => void written.push(key));
    const source = sourceWith(['b', 'c'], ['_manifest', 'a']);
    const report = await run(job({ sources: [source], sinks: [sink], concurrency: 1 }), { runtime: testRuntime() });
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 4 } });
    expect(written).toEqual(['b', 'c', '_manifest', 'a']);
    expect(source.asked).toEqual(['list', 'last', 'finish complete']);
  });

  it('is not written when an item failed', async () => {
    const failing = sinkThat(async ({ key }) => {
      if (key === 'b') throw new Error('no');
    });
    const source = sourceWith(['b', 'c'], ['_manifest']);
    const retry = { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 };
    const report = await run(job({ sources: [source], sinks: [failing], retry }), { runtime: testRuntime() });
    expect(report.outcome).toBe('partial');
    expect(source.asked).toEqual(['list', 'finish partial']);
  });

  it('is listed anew by a run that was stopped meanwhile, and nothing is counted twice', async () => {
    const stop = new AbortController();
    const stopping = sinkThat(async ({ key }) => {
      if (key === 'y') stop.abort();
    });
    const state = new MemoryState();
    const source = sourceWith(['a', 'b'], ['y', 'z']);
    const all = job({ sources: [source], sinks: [stopping], state, concurrency: 1 });
    const first = await run(all, { runtime: testRuntime({ stop: stop.signal }) });
    expect(first).toMatchObject({ outcome: 'paused', items: { written: 3 } });
    const second = await run({ ...all, sinks: [stopping.inner] }, { runtime: testRuntime() });
    expect(second).toMatchObject({ outcome: 'complete', runId: first.runId, items: { written: 4 } });
  });
});

describe('the notes of a source', () => {
  it('last from run to run, each source with its own', async () => {
    const state = new MemoryState();
    const seen: unknown[] = [];
    const noting = (name: string): Source =>
      sourceWith([], [], {
        finish: async ({ run: { notes } }) => {
          seen.push(await notes.read({ signal: never }));
          await notes.write({ name }, { signal: never });
        },
      });
    const both = job({ sources: [noting('one'), noting('two')], state });
    await run(both, { runtime: testRuntime() });
    await run(both, { runtime: testRuntime() });
    expect(seen).toEqual([undefined, undefined, { name: 'one' }, { name: 'two' }]);
  });

  it('that another run has written meanwhile are not overwritten', async () => {
    const [one, two] = [0, 1].map(
      () => contextsOf(job({ state: shared }), { runId: 'r', purpose: 'run', begins: async () => {} })[0],
    );
    await one?.notes.read({ signal: never });
    await two?.notes.read({ signal: never });
    await one?.notes.write(1, { signal: never });
    await expect(two?.notes.write(2, { signal: never })).rejects.toMatchObject({ code: 'state_conflict' });
  });
  const shared = new MemoryState();

  it('that cannot be read end the run, unless it begins anew', async () => {
    const state = new MemoryState();
    const load = async (key: string) => {
      if (key.includes('notes')) throw new BrokerError('state_unreadable', 'damaged');
      return state.load(key);
    };
    const unreadable: StateStore = {
      load,
      save: (key, value, expected) => state.save(key, value, expected),
      reset: (key) => state.reset(key),
      delete: (key, expected) => state.delete(key, expected),
    };
    const noting = sourceWith([], [], {
      finish: async ({ run: { notes } }) => void (await notes.read({ signal: never })),
    });
    const damaged = job({ sources: [noting], state: unreadable });
    expect((await run(damaged, { runtime: testRuntime() })).error?.code).toBe('state_unreadable');
    expect((await run(damaged, { runtime: testRuntime(), resetState: true })).outcome).toBe('complete');
  });
});

describe('a source that begins something', () => {
  it('has its run on record before: the same run goes on after a death, and no second one beside it', async () => {
    const state = new MemoryState();
    const contexts: RunContext[] = [];
    const beginning = sourceWith(['a'], [], {
      async *list({ run: context }) {
        contexts.push(context);
        await context.begins();
        if (contexts.length === 1) await new Promise(() => {});
        yield itemOf('a');
      },
    });
    let now = Date.now();
    const clock = testRuntime({ now: () => now });
    const jobs = job({ sources: [beginning], state });
    // The first one hangs for ever: it is as good as dead.
    void run(jobs, { runtime: clock });
    await expect.poll(() => state.load('p')).toBeDefined();
    await expect(run(jobs, { runtime: clock })).rejects.toMatchObject({ code: 'busy' });
    now += 60_000;
    const report = await run(jobs, { runtime: clock });
    expect(report).toMatchObject({ outcome: 'complete', runId: contexts[0]?.runId });
  });

  it('is told who finds its notes again', async () => {
    for (const lasts of ['process', 'machine', 'anywhere'] as const) {
      const [context] = contextsOf(job({ lasts }), { runId: 'r', purpose: 'run', begins: async () => {} });
      expect(context?.lasts).toBe(lasts);
    }
  });
});

describe('a run', () => {
  it('is on record until its sources are finished: who dies meanwhile finishes when it comes again', async () => {
    const state = new MemoryState();
    let dies = true;
    const finishing = sourceWith(['a'], [], {
      async *list({ run: context }) {
        await context.begins();
        yield itemOf('a');
      },
      finish: async () => {
        if (dies) throw new BrokerError('unavailable', 'not now');
      },
    });
    const all = job({ sources: [finishing], sinks: [new MemorySink()], state });
    const first = await run(all, { runtime: testRuntime() });
    expect(first).toMatchObject({ outcome: 'failed', items: { written: 1 }, error: { code: 'unavailable' } });
    dies = false;
    const second = await run(all, { runtime: testRuntime() });
    expect(second).toMatchObject({ outcome: 'complete', runId: first.runId });
    expect(await state.load('p')).toBeUndefined();
  });

  it('has in its report what its sources tell', async () => {
    const telling = sourceWith([], [], { facts: () => ({ jobs: ['j'], costUsd: 0.1 }) });
    const { details } = await run(job({ sources: [telling, sourceWith([], [])] }), { runtime: testRuntime() });
    expect(details).toEqual([{ source: 'test:', facts: { jobs: ['j'], costUsd: 0.1 } }]);
  });

  it('that has to wait says for how long', async () => {
    const pending = sourceWith([], [], {
      // biome-ignore lint/correctness/useYield: it has nothing yet
      async *list() {
        throw new BrokerError('pending', 'a job runs', { retryAfterMs: 7000 });
      },
    });
    const report = await run(job({ sources: [pending] }), { runtime: testRuntime() });
    expect(report).toMatchObject({ outcome: 'paused', error: { code: 'pending', retryAfterMs: 7000 } });
  });
});

describe('a process that may wait', () => {
  const answers = (...codes: (string | undefined)[]) => {
    let calls = 0;
    return async () => {
      const code = codes[calls++];
      return code === undefined ? { calls } : { calls, error: { code, message: 'm', retryAfterMs: 1 } };
    };
  };

  it('goes on with a run as long as it has to wait for a source', async () => {
    expect(await untilReady(answers('pending', 'pending'), testRuntime())).toEqual({ calls: 3 });
  });

  it('does not call again for anything else, or when it is asked to stop', async () => {
    expect(await untilReady(answers('job_failed'), testRuntime())).toMatchObject({ calls: 1 });
    const stopped = testRuntime({ stop: AbortSignal.abort() });
    expect(await untilReady(answers('pending', 'pending'), stopped)).toMatchObject({ calls: 1 });
  });
});
