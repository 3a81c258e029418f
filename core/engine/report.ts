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
}

/** (A type and no interface, so that it counts as JSON.) */
export type Detail = { readonly source: string; readonly facts: Facts };

/** A report names at most so many failures, so that it stays small whatever happens. */
const MOST_FAILURES = 1000;

/** The running sum of receipts. It survives a pause as plain data, so a resumed run's report tells of the whole run. */
export class Tally {
  readonly items: Record<Outcome, number> = { written: 0, unchanged: 0, deleted: 0, refused: 0, failed: 0 };
  bytes = 0;
  durationMs = 0;
  failures: Failure[] = [];
  failuresOmitted = 0;

  add(receipt: Receipt, sink: string | undefined): void {
    this.items[receipt.outcome]++;
    this.bytes += receipt.bytes;
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
    for (const failure of other.failures) this.#list(failure);
    this.failuresOmitted += other.failuresOmitted;
  }

  #list(failure: Failure): void {
    if (this.failures.length >= MOST_FAILURES) this.failuresOmitted++;
    else this.failures.push(failure);
  }

  get clean(): boolean {
    return this.items.failed === 0 && this.items.refused === 0;
  }

  toJson(): JsonValue {
    const { items, bytes, durationMs, failures, failuresOmitted } = this;
    return {
      items: { ...items },
      bytes,
      durationMs,
      failures: failures.map((failure) => ({ ...failure })),
      failuresOmitted,
    };
  }
}
