import { z } from 'zod';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import type { Pieces } from '../api/pieces.ts';
import type { Revision } from '../api/state.ts';
import type { Action } from '../engine/plan.ts';
import { layoutOf, type Phase } from './context.ts';
import type { Head } from './head.ts';
import { type Shard, shardsIn } from './manifest.ts';
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
): Promise<JsonValue> {
  const { job, runtime } = phase;
  const { signal } = runtime;
  const found = await uploadOf(phase, head, shard);
  if (found !== undefined && found.revision !== gone?.revision) return found.begun;
  const pieces = piecesOf(phase, action);
  const begun = await pieces.begin(action.item, { signal });
  const place = layoutOf(phase, head.runId).upload(shard.shard);
  try {
    await job.state.save(place, { begun }, found?.revision, { signal });
    return begun;
  } catch (thrown) {
    await pieces.abandon(action.item, begun, { signal });
    if (asBrokerError(thrown).code !== 'state_conflict') throw thrown;
    const other = await uploadOf(phase, head, shard);
    if (other === undefined) throw new BrokerError('busy', `the upload of ${action.item.id} is being ended`);
    return other.begun;
  }
}

/** The record of it goes when there is nothing left that it would lead to. */
export async function forgetUpload(phase: Phase, head: Head, { shard }: Shard): Promise<void> {
  await phase.job.state.reset(layoutOf(phase, head.runId).upload(shard), { signal: phase.runtime.signal });
}

/** Ends what an earlier run has left unfinished: a new one compares anew, and does not go on with it. */
export async function abandonUploads(phase: Phase, head: Head): Promise<void> {
  const { files, runtime } = phase;
  const key = layoutOf(phase, head.runId).manifest(1);
  try {
    for await (const shard of shardsIn(files, key, runtime.signal)) {
      if (shard.piece?.start !== 0) continue;
      const upload = await uploadOf(phase, head, shard);
      if (upload === undefined) continue;
      const action = await largeItem(phase, head, shard);
      await piecesOf(phase, action).abandon(action.item, upload.begun, { signal: runtime.signal });
      await forgetUpload(phase, head, shard);
    }
  } catch (thrown) {
    const { code, message } = asBrokerError(thrown);
    // It was not planned to its end, or its files were deleted: no reason not to begin.
    if (code === 'stopped') throw thrown;
    runtime.log.warn('what an earlier run has left could not be looked for', {
      runId: head.runId,
      code,
      message,
      hint: 'Give the bucket a lifecycle rule that aborts incomplete multipart uploads.',
    });
  }
}
