import type { ErrorCode } from '../api/error-codes.ts';
import { BrokerError } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import type { Facts, SourceFailure } from '../api/source.ts';
import { failureOf, type Outcome, type Receipt } from './receipt.ts';

export type RunOutcome = 'complete' | 'partial' | 'failed' | 'paused';

export interface Failure {
  readonly key: string;
  /** Where it should have gone, when the pipeline has several sinks. */
  readonly sink?: string;
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
  /** Of exactly this failure, for `isthmus doctor --explain`. */
  readonly id?: string;
}

/** What a person, a Lambda caller and Step Functions read. */
export interface Report {
  readonly pipeline: string;
  readonly runId: string;
  /** Of a plan that several processes carry: which of them this was. */
  readonly part?: { readonly index: number; readonly of: number };
  readonly outcome: RunOutcome;
  readonly items: Readonly<Record<Outcome, number>>;
  /** Bytes written. */
  readonly bytes: number;
  readonly durationMs: number;
  readonly failures: readonly Failure[];
  /** How many more failures there were than are listed; each has its line in the log. */
  readonly failuresOmitted?: number;
  /** What ended or paused the run, when it was not the end of the listing; and when to come back. */
  readonly error?: Omit<Failure, 'key'> & { readonly retryAfterMs?: number };
  /** What the sources tell of it besides items. */
  readonly details?: readonly Detail[];
  /** Items deleted in their source, once they were proved in every sink. */
  readonly moved?: number;
  /** What could not be carried exactly, and of how many items. */
  readonly notes?: Readonly<Record<string, number>>;
  /** Of objects that are no item of any source; when none of them was deleted, `error` says why. */
  readonly extras?: { readonly found: number; readonly of: number };
  /** Bytes of items that are not whole yet, and need not be sent again. */
  readonly unfinishedBytes?: number;
  /** What the run took at most: bytes that were buffered, of those that it might, and transfers at once. */
  readonly used?: { readonly memory: number; readonly memoryLimit: number; readonly slots: number };
  /** Where there is a line for each item, and the hash of the last one. */
  readonly receipts?: Kept;
  readonly deadLetters?: Kept;
}

/** Lines that were written besides items. (A type and no interface, so that it counts as JSON.) */
export type Kept = { readonly location: string; readonly lines: number; readonly head?: string };

/** (A type and no interface, so that it counts as JSON.) */
export type Detail = { readonly source: string; readonly facts: Facts };

/** A report names at most so many failures, and kinds of notes, so that it stays small whatever happens. */
const MOST_FAILURES = 1000;
const MOST_NOTES = 50;

/** What of a report adds up. */
type Sums = Pick<Report, 'items' | 'bytes' | 'moved' | 'notes' | 'failuresOmitted'> & Partial<Pick<Report, 'failures'>>;

/** How many items there are of all outcomes together. */
export const countOf = (items: Report['items']): number => Object.values(items).reduce((sum, count) => sum + count, 0);

/** The running sum of receipts. It survives a pause as plain data, so a resumed run's report tells of the whole run. */
export class Tally {
  readonly items: Record<Outcome, number> = {
    written: 0,
    unchanged: 0,
    skipped: 0,
    deleted: 0,
    refused: 0,
    failed: 0,
  };
  bytes = 0;
  moved = 0;
  notes: Record<string, number> = {};
  durationMs = 0;
  failures: Failure[] = [];
  failuresOmitted = 0;

  /** Of what was told of a run, or of a part of one. */
  static of({ items, bytes, moved = 0, notes = {}, failures = [], failuresOmitted = 0 }: Sums): Tally {
    const told = { items: { ...items }, bytes, moved, notes: { ...notes }, failures: [...failures], failuresOmitted };
    return Object.assign(new Tally(), told);
  }

  add(receipt: Receipt, sink: string | undefined): void {
    this.items[receipt.outcome]++;
    this.bytes += receipt.bytes;
    if (receipt.moved === true) this.moved++;
    for (const note of receipt.notes ?? []) this.note(note, 1);
    if (receipt.failure === undefined) return;
    this.#list({ key: receipt.key, ...(sink === undefined ? {} : { sink }), ...receipt.failure });
  }

  /** Something failed that is no item by itself. */
  fail({ key, code, message, hint }: SourceFailure): void {
    this.items.failed++;
    this.#list({ key, ...failureOf(new BrokerError(code, message, { hint })) });
  }

  merge(other: Tally): void {
    for (const [outcome, count] of Object.entries(other.items)) this.items[outcome as Outcome] += count;
    this.bytes += other.bytes;
    this.moved += other.moved;
    for (const [note, count] of Object.entries(other.notes)) this.note(note, count);
    for (const failure of other.failures) this.#list(failure);
    this.failuresOmitted += other.failuresOmitted;
  }

  /** Something of items, or of the run, that people should know. */
  note(note: string, count = 1): void {
    const known = Object.hasOwn(this.notes, note) || Object.keys(this.notes).length < MOST_NOTES;
    const name = known ? note : 'and other notes, which are in the receipts';
    this.notes[name] = (this.notes[name] ?? 0) + count;
  }

  #list(failure: Failure): void {
    if (this.failures.length >= MOST_FAILURES) this.failuresOmitted++;
    else this.failures.push(failure);
  }

  get clean(): boolean {
    return this.items.failed === 0 && this.items.refused === 0;
  }

  toJson(): JsonValue {
    const { items, bytes, moved, notes, durationMs, failures, failuresOmitted } = this;
    return {
      items: { ...items },
      bytes,
      moved,
      notes: { ...notes },
      durationMs,
      failures: failures.map((failure) => ({ ...failure })),
      failuresOmitted,
    };
  }
}

/** What a report tells besides the sum of the receipts. */
type Told = Pick<
  Report,
  | 'pipeline'
  | 'runId'
  | 'outcome'
  | 'durationMs'
  | 'details'
  | 'moved'
  | 'extras'
  | 'unfinishedBytes'
  | 'receipts'
  | 'deadLetters'
  | 'used'
  | 'part'
> & { readonly ended: BrokerError | undefined };

export function reportOf(tally: Tally, { pipeline, runId, outcome, durationMs, ended, ...told }: Told): Report {
  const { items, bytes, failures, failuresOmitted, notes } = tally;
  return {
    pipeline,
    runId,
    outcome,
    items,
    bytes,
    durationMs,
    failures,
    ...(failuresOmitted > 0 ? { failuresOmitted } : {}),
    ...(ended === undefined ? {} : { error: { ...failureOf(ended), ...comeBack(ended) } }),
    ...told,
    ...(Object.keys(notes).length === 0 ? {} : { notes }),
  };
}

const comeBack = ({ next, retryAfterMs }: BrokerError): { readonly retryAfterMs?: number } =>
  next === 'wait' && retryAfterMs !== undefined ? { retryAfterMs } : {};

export function outcomeOf(ended: BrokerError | undefined, tally: Tally): RunOutcome {
  if (ended !== undefined) return ended.next === 'wait' ? 'paused' : 'failed';
  if (tally.clean) return 'complete';
  const { failed, refused, ...done } = tally.items;
  return Object.values(done).some((count) => count > 0) ? 'partial' : 'failed';
}
