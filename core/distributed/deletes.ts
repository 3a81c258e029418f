import { ahead } from '../api/ahead.ts';
import type { Step } from '../engine/plan.ts';
import { Recheck } from '../engine/recheck.ts';
import type { MadeContext } from '../engine/run-options.ts';
import { stepsOf } from './carry-shard.ts';
import { layoutOf, type Phase } from './context.ts';
import type { Head } from './head.ts';
import { shardsIn } from './manifest.ts';
import { actionsIn } from './shard-file.ts';

const ASKED_AT_ONCE = 32;

/** What was found to be extra, looked at once more: what was changed, or has come to be in a source, stays. */
export async function* deletesIn(
  phase: Phase,
  head: Head,
  context: Omit<MadeContext, 'after' | 'resumed'>,
): AsyncGenerator<Step> {
  const { files, job } = phase;
  const now = new Recheck({ job, ...context }, 'plan');
  for await (const shard of shardsIn(files, layoutOf(phase, head.runId).deletes, context.signal))
    yield* ahead(stepsOf(await actionsIn(phase, head, shard), undefined), ASKED_AT_ONCE, async ({ key, actions }) => ({
      key,
      actions: await Promise.all(actions.map((action) => now.action(action))),
    }));
}
