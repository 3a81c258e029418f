import { ERROR_CODES } from '../api/error-codes.ts';
import { BrokerError } from '../api/errors.ts';
import { countOf, type Report, Tally } from '../engine/report.ts';
import { carryPiece } from './carry-piece.ts';
import { carryShard } from './carry-shard.ts';
import type { Phase } from './context.ts';
import { type Done, tellDone, tellFailed, whatBecame } from './done.ts';
import type { Head } from './head.ts';
import { nameOf, type Shard } from './manifest.ts';

/** More than the MiB of any object: one item more is progress, whatever is left of another. */
const AN_ITEM = 1e8;

export interface TransferOptions {
  readonly shards: readonly Shard[];
  /** Children at once: each keeps to its share of the requests. */
  readonly concurrency: number;
  /** How often this child was begun before. */
  readonly retry: number;
  /** What it had done when it was paused, in items and bytes; below zero when it was not. */
  readonly before: number;
}

export interface Transferred {
  readonly outcome: 'complete' | 'partial' | 'paused';
  readonly items: Report['items'];
  readonly bytes: number;
  /** A figure of what was done so far: one that goes on without getting any further is ended. */
  readonly done: number;
}

/**
 * What a child does: carries its shards and keeps what became of each. What was told already is not done again.
 *
 * @throws BrokerError for what ends a run, and when nothing of its shards could be carried: then the child has failed.
 */
export async function transfer(phase: Phase, head: Head, options: TransferOptions): Promise<Transferred> {
  const { shares, runtime } = phase;
  const rate = shares.requestsPerSecond / Math.max(1, options.concurrency);
  const carry = { again: options.retry > 0 || head.attempt > 1, rate };
  const items = { written: 0, unchanged: 0, skipped: 0, deleted: 0, refused: 0, failed: 0 };
  let [bytes, sofar] = [0, 0];
  let wrong: Done | undefined;
  let isPartial = false;
  for (const shard of options.shards) {
    const before = await whatBecame(phase, head, nameOf(shard));
    const done = before ?? (await told(phase, head, shard, carry));
    if ('paused' in done) {
      const all = sofar + done.paused;
      if (all === options.before)
        throw new BrokerError('no_progress', `shard ${shard.shard} got no further in a whole invocation`);
      return { outcome: 'paused', items, bytes, done: all };
    }
    for (const name of Object.keys(items) as (keyof typeof items)[]) items[name] += done.items[name];
    bytes += done.bytes;
    sofar += shard.items + shard.bytes;
    if (done.outcome === 'failed') wrong ??= done;
    isPartial ||= done.outcome !== 'complete';
    if (runtime.stop.aborted && shard !== options.shards.at(-1))
      return { outcome: 'paused', items, bytes, done: sofar };
  }
  const [failure] = wrong?.failures ?? [];
  const isNothingCarried = items.written + items.unchanged + items.skipped === 0;
  // What is refused was so by the plan already: that says nothing of the others.
  const isRefused = items.refused > 0 && items.failed === 0;
  if (failure !== undefined && isNothingCarried && !isRefused)
    throw new BrokerError(failure.code, failure.message, { hint: failure.hint });
  return { outcome: isPartial ? 'partial' : 'complete', items, bytes, done: sofar };
}

async function told(...[phase, head, shard, options]: Parameters<typeof carried>): ReturnType<typeof carried> {
  try {
    return await carried(phase, head, shard, options);
  } catch (thrown) {
    await tellFailed(phase, head, nameOf(shard), thrown);
    throw thrown;
  }
}

async function carried(
  phase: Phase,
  head: Head,
  shard: Shard,
  options: { readonly again: boolean; readonly rate: number },
): Promise<Done | { readonly paused: number }> {
  if (shard.piece !== undefined) {
    const { outcome, tally, bytes } = await carryPiece(phase, head, shard, shard.piece);
    if (outcome === 'paused') return { paused: bytes };
    refusePassing(outcome, tally.failures);
    return await tellDone(phase, head, nameOf(shard), { outcome, tally });
  }
  const report = await carryShard(phase, head, shard, options);
  const { outcome, items, error, unfinishedBytes = 0 } = report;
  if (outcome === 'paused') {
    return { paused: countOf(items) * AN_ITEM + Math.floor(unfinishedBytes / 2 ** 20) };
  }
  // Nothing is kept of it: it is begun again, by the next try or by hand.
  if (error !== undefined)
    throw new BrokerError(error.code, error.message, { hint: error.hint, ...(error.id && { id: error.id }) });
  refusePassing(outcome, report.failures);
  return await tellDone(phase, head, nameOf(shard), { ...report, tally: Tally.of(report) });
}

/** What failed as a whole for what may pass is not kept: the state machine tries its child again. */
function refusePassing(outcome: Report['outcome'], failures: Report['failures']): void {
  const [first] = failures;
  if (outcome !== 'failed' || first === undefined) return;
  if (failures.every(({ code }) => ERROR_CODES[code].next === 'retry'))
    throw new BrokerError(first.code, first.message, { hint: first.hint });
}
