import { z } from 'zod';
import { ahead } from '../api/ahead.ts';
import { ERROR_CODES, type ErrorCode } from '../api/error-codes.ts';
import { asBrokerError } from '../api/errors.ts';
import type { Refusal } from '../api/item.ts';
import type { JsonValue } from '../api/json.ts';
import { tallySpec } from '../engine/checkpoint.ts';
import type { Failure, Report, RunOutcome, Tally } from '../engine/report.ts';
import { layoutOf, type Phase } from './context.ts';
import type { Head } from './head.ts';
import { nameOf, type Shard } from './manifest.ts';

/** A record names only the first of what failed; receipts and the log have a line for each. */
const MOST_FAILURES = 100;
const READ_AT_ONCE = 64;

const keptSpec = z.object({ lines: z.number().int().nonnegative() });
const doneSpec = z.object({
  outcome: z.enum(['complete', 'partial', 'failed']),
  tally: tallySpec,
  receipts: keptSpec.exactOptional(),
  deadLetters: keptSpec.exactOptional(),
});

/** What became of a shard, of a piece of an item, or of an item that was carried in pieces. As little as can be: there may be hundreds of thousands. */
export interface Done {
  readonly outcome: Exclude<RunOutcome, 'paused'>;
  readonly items: Report['items'];
  readonly bytes: number;
  readonly moved: number;
  /** Lines that were kept. */
  readonly receipts: number;
  readonly deadLetters: number;
  readonly notes?: Readonly<Record<string, number>>;
  /** The first of all shards only. */
  readonly failures?: readonly Failure[];
  readonly failuresOmitted?: number;
  /** Of the attempt before. */
  readonly before?: Done;
}

/** By the name of the shard: the last attempt that told of it. */
export type AllDone = Map<string, Done>;

/** A child that did the same a moment ago has told it already: then that counts. */
export async function tellDone(
  phase: Phase,
  { runId, attempt }: Head,
  name: string,
  told: Pick<Report, 'outcome' | 'receipts' | 'deadLetters'> & { readonly tally: Tally },
): Promise<Done> {
  const { outcome, receipts, deadLetters, tally } = told;
  const { failures, failuresOmitted } = tally;
  tally.failures = failures.slice(0, MOST_FAILURES);
  tally.failuresOmitted = failuresOmitted + failures.length - tally.failures.length;
  const value: JsonValue = {
    outcome,
    tally: tally.toJson(),
    ...(receipts && { receipts: { lines: receipts.lines } }),
    ...(deadLetters && { deadLetters: { lines: deadLetters.lines } }),
  };
  const { files, runtime } = phase;
  const isFirst = await files.create(layoutOf(phase, runId).done(attempt, name), value, runtime.signal);
  return (isFirst ? undefined : await whatBecame(phase, { runId, attempt }, name)) ?? doneOf(doneSpec.parse(value));
}

export async function whatBecame(
  phase: Phase,
  { runId, attempt }: Pick<Head, 'runId' | 'attempt'>,
  name: string,
): Promise<Done | undefined> {
  const found = await phase.files.json(layoutOf(phase, runId).done(attempt, name), doneSpec, phase.runtime.signal);
  return found && doneOf(found);
}

const failedSpec = z.object({ code: z.string(), message: z.string(), hint: z.string() });

/** Says why nothing can be told of a shard. That it cannot be said is no other failure. */
export async function tellFailed(phase: Phase, { runId, attempt }: Head, name: string, thrown: unknown): Promise<void> {
  const { code, message, hint, next } = asBrokerError(thrown);
  // It will be tried again, and by whom it is held is no reason.
  if (next === 'wait' || code === 'busy') return;
  const { files, runtime } = phase;
  const key = layoutOf(phase, runId).failed(attempt, name);
  await files.write(key, JSON.stringify({ code, message, hint }), runtime.signal).catch(() => undefined);
}

/** Why nothing is told of a shard; undefined where not even that was said. */
export async function whyFailed(phase: Phase, { runId, attempt }: Head, name: string): Promise<Refusal | undefined> {
  const { files, runtime } = phase;
  const found = await files.json(layoutOf(phase, runId).failed(attempt, name), failedSpec, runtime.signal);
  if (found === undefined) return undefined;
  const { code, message, hint } = found;
  return Object.hasOwn(ERROR_CODES, code) ? { code: code as ErrorCode, message, hint } : undefined;
}

/** What became of everything, up to this attempt. */
export async function doneIn(phase: Phase, { runId }: Head, upTo: number): Promise<AllDone> {
  const { files, runtime } = phase;
  const layout = layoutOf(phase, runId);
  const all: AllDone = new Map();
  let failures = 0;
  for (let attempt = 1; attempt <= upTo; attempt++) {
    const folder = layout.done(attempt);
    const read = ahead(files.list(folder, runtime.signal), READ_AT_ONCE, async (object) => ({
      name: copied(object.key.slice(folder.length, -'.json'.length)),
      done: doneOf(await files.jsonOf(object, doneSpec, runtime.signal)),
    }));
    for await (const { name, done } of read) {
      failures += done.failures?.length ?? 0;
      addDone(all, name, failures > MOST_REMEMBERED ? withoutFailures(done) : done);
    }
  }
  return all;
}

/** A part of a string keeps all of it in memory. */
const copied = (text: string): string => Buffer.from(text).toString();

/** Of all shards together. */
const MOST_REMEMBERED = 2000;

export const addDone = (all: AllDone, name: string, done: Done): void => {
  const before = all.get(name);
  all.set(name, before === undefined ? done : { ...done, before });
};

function withoutFailures({ failures = [], failuresOmitted = 0, ...done }: Done): Done {
  const omitted = failures.length + failuresOmitted;
  return omitted === 0 ? done : { ...done, failuresOmitted: omitted };
}

/** An item in pieces is carried when it was made of them. */
export const isCarried = (shard: Shard, done: AllDone): boolean => done.get(shard.shard)?.outcome === 'complete';

/** Whether all pieces of an item are there. */
export const isThere = (shard: Shard, done: AllDone): boolean => done.get(nameOf(shard))?.outcome === 'complete';

function doneOf({ outcome, tally, receipts, deadLetters }: z.output<typeof doneSpec>): Done {
  const { items, bytes, moved, notes, failures, failuresOmitted } = tally;
  return {
    outcome,
    items,
    bytes,
    moved,
    receipts: receipts?.lines ?? 0,
    deadLetters: deadLetters?.lines ?? 0,
    ...(Object.keys(notes).length === 0 ? {} : { notes }),
    ...(failures.length === 0 ? {} : { failures }),
    ...(failuresOmitted === 0 ? {} : { failuresOmitted }),
  };
}
