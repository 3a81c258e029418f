import { ahead } from '../api/ahead.ts';
import { compareKeys } from '../api/keys.ts';
import { pause } from '../api/retry.ts';
import type { Action, Step } from '../engine/plan.ts';
import { Recheck } from '../engine/recheck.ts';
import type { Report } from '../engine/report.ts';
import { run } from '../engine/run.ts';
import type { MadeContext } from '../engine/run-options.ts';
import type { Phase } from './context.ts';
import type { Head } from './head.ts';
import { nameOf, type Shard, shardRun } from './manifest.ts';
import { actionsIn } from './shard-file.ts';

const CHECKED_AT_ONCE = 32;

export interface CarryOptions {
  /** Somebody may have carried some of it before: each item is looked at anew. */
  readonly again: boolean;
  /** Writes in a second, at most. */
  readonly rate: number;
}

/** Carries a shard out as a run would, and is paused as one is. */
export async function carryShard(phase: Phase, head: Head, shard: Shard, options: CarryOptions): Promise<Report> {
  const { runtime, observer, leaseMs } = phase;
  const { runId, attempt, since } = head;
  const name = nameOf(shard);
  const actions = await actionsIn(phase, head, shard);
  // What is extra in the sinks is deleted when all is carried, and not by a part.
  const job = { ...phase.job, deletes: undefined };
  const made = {
    name: shardRun(head, shard),
    kind: 'shard' as const,
    folder: `${job.pipeline}/${runId}/${name}.${attempt}/`,
    async *steps(context: MadeContext): AsyncGenerator<Step> {
      const all = stepsOf(actions, context.after);
      const steps =
        options.again || context.resumed ? anew(all, new Recheck({ job, ...context, since }, 'dead-letters')) : all;
      yield* paced(steps, options.rate, context.signal);
    },
    async *deletes(): AsyncGenerator<Step> {},
  };
  return await run(job, { runtime, observer, made, leaseMs });
}

export async function* stepsOf(
  groups: AsyncIterable<readonly Action[]>,
  after: string | undefined,
): AsyncGenerator<Step> {
  for await (const actions of groups) {
    const [first] = actions;
    const key = first?.from ?? first?.item.key ?? '';
    if (after === undefined || compareKeys(key, after) > 0) yield { key, actions };
  }
}

async function* anew(steps: AsyncIterable<Step>, now: Recheck): AsyncGenerator<Step> {
  yield* ahead(steps, CHECKED_AT_ONCE, async ({ key, actions }) => ({
    key,
    actions: await Promise.all(actions.map((action) => now.action(action))),
  }));
}

/** Lets through as many writes in a second as are this child's share; what was saved up for a second may go at once. */
async function* paced(steps: AsyncIterable<Step>, rate: number, signal: AbortSignal): AsyncGenerator<Step> {
  let [free, at] = [rate, performance.now()];
  for await (const step of steps) {
    const writes = step.actions.filter(({ action }) => action === 'create' || action === 'update').length;
    const now = performance.now();
    free = Math.min(rate, free + ((now - at) / 1000) * rate) - writes;
    at = now;
    if (free < 0) await pause((-free / rate) * 1000, signal);
    yield step;
  }
}
