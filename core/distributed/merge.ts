import { ERROR_CODES } from '../api/error-codes.ts';
import type { Refusal } from '../api/item.ts';
import { countOf, Tally } from '../engine/report.ts';
import { layoutOf, type Phase } from './context.ts';
import { type AllDone, type Done, whyFailed } from './done.ts';
import type { Summary } from './gather.ts';
import type { Head } from './head.ts';
import { nameOf, type Shard, shardsIn } from './manifest.ts';

const MOST_REASONS = 100;
const REPLACED = 'bytes differ from the plan: items were replaced in their source meanwhile';

export interface Merged {
  readonly tally: Tally;
  /** Shards that nobody has told anything of. */
  readonly untold: number;
  readonly kept: { readonly receipts: { readonly lines: number }; readonly deadLetters: { readonly lines: number } };
}

/**
 * Adds up what became of every shard, held against what was planned: each item has an outcome, or is a failure.
 *
 * @param made what became of the large items that were not made before.
 */
export async function merged(
  phase: Phase,
  head: Head,
  { unchanged, left }: Summary,
  done: AllDone,
  made: Tally | undefined,
): Promise<Merged> {
  const { files, runtime } = phase;
  const tally = new Tally();
  tally.items.unchanged += unchanged;
  tally.items.skipped += left;
  if (made !== undefined) {
    // Those that were made have told it by themselves.
    made.items.written = 0;
    made.bytes = 0;
    made.notes = {};
    tally.merge(made);
  }
  const kept = { receipts: { lines: 0 }, deadLetters: { lines: 0 } };
  let untold = 0;
  for await (const shard of shardsIn(files, layoutOf(phase, head.runId).manifest(1), runtime.signal)) {
    const isPiece = shard.piece !== undefined;
    // An item in pieces is one item; what became of its pieces is only why.
    const last = done.get(shard.shard);
    if (isPiece && last === undefined) listFailures(tally, done.get(nameOf(shard)));
    if (isPiece && shard.piece?.start !== 0) continue;
    for (let one = last; one !== undefined; one = one.before) {
      kept.receipts.lines += one.receipts;
      kept.deadLetters.lines += one.deadLetters;
    }
    if (last !== undefined) addShard(tally, shard, last);
    else if (!isPiece) {
      // Of thousands the first say enough.
      const why = untold++ < MOST_REASONS ? await whyFailed(phase, head, shard.shard) : undefined;
      missing(tally, shard, shard.items, 'nobody has told what became of its items', why);
    }
  }
  return { tally, kept, untold };
}

/** What an earlier try has written, a later one finds unchanged: it counts as written, once. */
function addShard(tally: Tally, shard: Shard, last: Done): void {
  const whole = Tally.of(last);
  for (let one = last.before; one !== undefined; one = one.before) {
    const again = Math.min(one.items.written, whole.items.unchanged);
    whole.items.written += again;
    whole.items.unchanged -= again;
    whole.bytes += one.bytes;
    whole.moved += one.moved;
    for (const [note, count] of Object.entries(one.notes ?? {})) whole.note(note, count);
  }
  if (shard.piece === undefined) {
    const counted = countOf(whole.items);
    if (counted !== shard.items)
      missing(whole, shard, shard.items - counted, `${counted} of ${shard.items} are told of`);
    if (whole.items.written === shard.items && whole.bytes !== shard.bytes) whole.note(REPLACED);
  }
  tally.merge(whole);
}

/** Items that no receipt tells of are failures, and never left out of the sum. */
function missing(tally: Tally, { shard }: Shard, items: number, what: string, why?: Refusal): void {
  const { code, hint } = why ?? { code: 'not_carried', hint: ERROR_CODES.not_carried.fix };
  tally.fail({ key: `shard ${shard}`, code, message: `${items} items: ${why?.message ?? what}`, hint });
  tally.items.failed += items - 1;
}

function listFailures(tally: Tally, one: Done | undefined): void {
  const reasons = new Tally();
  reasons.failures = [...(one?.failures ?? [])];
  tally.merge(reasons);
}
