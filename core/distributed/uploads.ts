import { z } from 'zod';
import { ahead } from '../api/ahead.ts';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import type { Pieces } from '../api/pieces.ts';
import type { Revision } from '../api/state.ts';
import { forgetPart } from '../engine/forget.ts';
import type { Action } from '../engine/plan.ts';
import { layoutOf, type Phase } from './context.ts';
import { doneIn, whatBecame } from './done.ts';
import { type Head, HeadFile } from './head.ts';
import { type Shard, shardRun, shardsIn } from './manifest.ts';
import { actionsIn } from './shard-file.ts';

const uploadSpec = z.object({ begun: z.json() });

/** What the pieces of an item are written to, on record. */
export interface Upload {
  readonly begun: JsonValue;
  readonly revision: Revision;
}

/** The one item of a shard that is carried in pieces. */
export async function largeItem(phase: Phase, head: Head, shard: Shard): Promise<Action> {
  for await (const [action] of await actionsIn(phase, head, shard)) if (action !== undefined) return action;
  throw new BrokerError('invalid_plan', `shard ${shard.shard} is empty`);
}

export const piecesOf = ({ job }: Phase, { sink }: Action): Pieces => {
  const pieces = job.sinks[sink]?.pieces;
  if (pieces === undefined) throw new BrokerError('internal', 'the sink writes no pieces');
  return pieces;
};

export async function uploadOf(phase: Phase, head: Head, { shard }: Shard): Promise<Upload | undefined> {
  const place = layoutOf(phase, head.runId).upload(shard);
  const saved = await phase.job.state.load(place, { signal: phase.runtime.signal });
  if (saved === undefined) return undefined;
  const parsed = uploadSpec.safeParse(saved.value);
  if (!parsed.success) throw new BrokerError('state_unreadable', `what is on record of ${shard} is no upload`);
  return { begun: parsed.data.begun, revision: saved.revision };
}

/**
 * Begins what the pieces are written to, or finds what another child has begun: of two that come first one wins.
 *
 * @param gone what is on record, and not there any more.
 */
export async function beginUpload(
  phase: Phase,
  head: Head,
  shard: Shard,
  action: Action,
  gone?: Upload,
): Promise<Upload> {
  const { job, runtime } = phase;
  const { signal } = runtime;
  const found = await uploadOf(phase, head, shard);
  if (found !== undefined && found.revision !== gone?.revision) return found;
  // A function outlives the execution that called it: what it began for a run that is over nobody would end.
  const isOn = async (): Promise<void> => {
    await new HeadFile(job).expect(head.runId, head.attempt, signal);
    if ((await whatBecame(phase, head, shard.shard)) !== undefined)
      throw new BrokerError('superseded', `${action.item.id} was made of its pieces already`);
  };
  await isOn();
  const pieces = piecesOf(phase, action);
  const begun = await pieces.begin(action.item, { signal });
  const place = layoutOf(phase, head.runId).upload(shard.shard);
  try {
    const revision = await job.state.save(place, { begun }, found?.revision, { signal });
    await isOn().catch(async (error: unknown) => {
      await forgetUpload(phase, head, shard);
      throw error;
    });
    return { begun, revision };
  } catch (thrown) {
    await pieces.abandon(action.item, begun, { signal });
    if (asBrokerError(thrown).code !== 'state_conflict') throw thrown;
    const other = await uploadOf(phase, head, shard);
    if (other === undefined) throw new BrokerError('busy', `the upload of ${action.item.id} is being ended`);
    return other;
  }
}

/** The record of it goes when there is nothing left that it would lead to. */
export async function forgetUpload(phase: Phase, head: Head, { shard }: Shard): Promise<void> {
  await phase.job.state.reset(layoutOf(phase, head.runId).upload(shard), { signal: phase.runtime.signal });
}

const AT_ONCE = 32;

/**
 * Ends what an earlier run has left unfinished, uploads of large items and of others: a new run compares anew, and does
 * not go on with it. What cannot be ended is told to the log.
 */
export async function abandonRun(phase: Phase, head: Head): Promise<void> {
  const { files, runtime, job } = phase;
  const { signal, log } = runtime;
  const hint = 'Give the bucket a lifecycle rule that aborts incomplete multipart uploads.';
  if (head.fingerprint !== job.fingerprint) {
    // Its sinks may be others.
    log.warn('the pipeline was changed: what an earlier run has left unfinished stays', { runId: head.runId, hint });
    return;
  }
  try {
    const done = await doneIn(phase, head, head.attempt);
    const shards = shardsIn(files, layoutOf(phase, head.runId).manifest(1), signal);
    const left = (async function* () {
      for await (const shard of shards) if (!done.has(shard.shard) && (shard.piece?.start ?? 0) === 0) yield shard;
    })();
    const ended = ahead(left, AT_ONCE, async (shard) => {
      try {
        if (shard.piece !== undefined) await abandonUpload(phase, head, shard);
        else await forgetPart(job, shardRun(head, shard), runtime);
      } catch (thrown) {
        const { code, message } = asBrokerError(thrown);
        if (signal.aborted || code === 'stopped') throw thrown;
        // A function that outlives its execution is still at it, or it cannot be reached: no reason to leave the others.
        log.warn('what an earlier run has left cannot be ended', { shard: shard.shard, code, message, hint });
      }
    });
    for await (const _ of ended) signal.throwIfAborted();
  } catch (thrown) {
    const { code, message } = asBrokerError(thrown);
    // It was not planned to its end, or its files were deleted: no reason not to begin.
    if (signal.aborted || code === 'stopped') throw thrown;
    log.warn('what an earlier run has left could not be looked for', { runId: head.runId, code, message, hint });
  }
}

async function abandonUpload(phase: Phase, head: Head, shard: Shard): Promise<void> {
  const upload = await uploadOf(phase, head, shard);
  if (upload === undefined) return;
  const action = await largeItem(phase, head, shard);
  await piecesOf(phase, action).abandon(action.item, upload.begun, { signal: phase.runtime.signal });
  await forgetUpload(phase, head, shard);
}
