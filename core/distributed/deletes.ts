import { ahead } from '../api/ahead.ts';
import { inSources } from '../engine/extras.ts';
import type { Action, Step } from '../engine/plan.ts';
import type { MadeContext } from '../engine/run-options.ts';
import { stepsOf } from './carry-shard.ts';
import { layoutOf, type Phase } from './context.ts';
import type { Head } from './head.ts';
import { shardsIn } from './manifest.ts';
import { actionsIn } from './shard-file.ts';

const ASKED_AT_ONCE = 32;

/**
 * What was found to be extra. What has come to be in a source since then stays; what was changed in the sink does, since
 * each delete is of the very revision that was seen. Begun anew after a pause: what is gone already counts as deleted.
 */
export async function* deletesIn(
  phase: Phase,
  head: Head,
  context: Omit<MadeContext, 'after' | 'resumed'>,
): AsyncGenerator<Step> {
  const { files, job } = phase;
  const kept = async (action: Action): Promise<Action> => {
    const id = await inSources({ ...job, ...context }, action.item.key);
    if (id === undefined) return action;
    return { ...action, action: 'skip', left: true, reason: `${id} has come to be in a source` };
  };
  for await (const shard of shardsIn(files, layoutOf(phase, head.runId).deletes, context.signal))
    yield* ahead(stepsOf(await actionsIn(phase, head, shard), undefined), ASKED_AT_ONCE, async ({ key, actions }) => ({
      key,
      actions: await Promise.all(actions.map(kept)),
    }));
}
