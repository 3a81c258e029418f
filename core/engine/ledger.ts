import type { MemoryBudget } from '../api/bytes.ts';
import type { JsonValue } from '../api/json.ts';
import type { Crc32cPool } from './crc32c.ts';
import type { Job } from './job.ts';
import { Journal, type JournalOptions } from './journal.ts';
import type { Action } from './plan.ts';
import { actionLine, planHeader } from './plan-file.ts';
import type { Durable } from './progress.ts';
import type { Receipt } from './receipt.ts';
import type { Report } from './report.ts';

/** How the names of the files end that a run keeps. */
export const RECEIPTS = '.receipts.jsonl';
const DEAD_LETTERS = '.dead-letters.jsonl';

export interface LedgerOptions {
  readonly job: Job;
  readonly runId: string;
  /** By default that of the run. */
  readonly folder?: string | undefined;
  /** The hash of the last receipt of the process before. */
  readonly previous: string | undefined;
  readonly memory: MemoryBudget;
  readonly hashers: Crc32cPool;
  readonly now: () => number;
}

/** What a run keeps of each item besides its report: receipts, and the dead letters of what was not carried. */
export class Ledger implements Durable {
  readonly #options: LedgerOptions;
  readonly #receipts: Journal | undefined;
  readonly #deadLetters: Journal | undefined;

  /** @returns undefined when the pipeline keeps neither. */
  static of(options: LedgerOptions): Ledger | undefined {
    const { receipts, deadLetters } = options.job;
    return receipts === undefined && deadLetters === undefined ? undefined : new Ledger(options);
  }

  private constructor(options: LedgerOptions) {
    const { job, runId, previous, folder = `${job.pipeline}/${runId}/` } = options;
    this.#options = options;
    const shared = { ...options, retry: job.retry, folder };
    const open = (more: Pick<JournalOptions, 'sink' | 'ending' | 'header' | 'chained' | 'previous'>): Journal =>
      new Journal({ ...shared, ...more });
    const told = { version: 1, pipeline: job.pipeline, runId };
    if (job.receipts !== undefined)
      this.#receipts = open({
        sink: job.receipts,
        ending: RECEIPTS,
        header: { isthmus: 'receipts', ...told },
        chained: true,
        previous,
      });
    if (job.deadLetters !== undefined) {
      const header = planHeader(job, 'dead-letters', options.now());
      this.#deadLetters = open({
        sink: job.deadLetters,
        ending: DEAD_LETTERS,
        header: { ...header, runId },
        chained: false,
        previous: undefined,
      });
    }
  }

  /** Whoever adds more flushes first. */
  get full(): boolean {
    return this.#receipts?.full === true || this.#deadLetters?.full === true;
  }

  get head(): string | undefined {
    return this.#receipts?.head;
  }

  add(receipt: Receipt, action: Action): void {
    const { job, now } = this.#options;
    this.#receipts?.add(receiptLine(receipt, job, now()));
    const { failure, attempts } = receipt;
    // What could not be deleted is found again by the next run; it is no item that could be carried.
    if (failure !== undefined && action.source >= 0)
      this.#deadLetters?.add({ ...actionLine(action), failure: { ...failure }, attempts });
  }

  /**
   * Puts on record what is about to be deleted, and resolves when that is durable: a process that dies in between leaves
   * no gap. The receipt of what was done comes after it.
   */
  async intend(intent: 'move' | 'delete', receipt: Receipt, signal: AbortSignal): Promise<void> {
    if (this.#receipts === undefined) return;
    const { job, now } = this.#options;
    const {
      outcome: _,
      bytes: _bytes,
      attempts: _attempts,
      durationMs: _duration,
      ...line
    } = receiptLine(receipt, job, now());
    this.#receipts.add({ intent, ...line }, false);
    await this.#receipts.flush(signal);
  }

  async flush(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#receipts?.flush(signal), this.#deadLetters?.flush(signal)]);
  }

  /** For the report. */
  get kept(): Pick<Report, 'receipts' | 'deadLetters'> {
    const [receipts, deadLetters] = [this.#receipts?.kept, this.#deadLetters?.kept];
    return { ...(receipts && { receipts }), ...(deadLetters && { deadLetters }) };
  }
}

/** What two ledgers of one run have kept, for its report. */
export function keptOf(here: KeptLines = {}, elsewhere: KeptLines = {}): KeptLines {
  const both = (name: keyof KeptLines): KeptLines => {
    const one = elsewhere[name] ?? here[name];
    return one === undefined
      ? {}
      : { [name]: { ...one, lines: (here[name]?.lines ?? 0) + (elsewhere[name]?.lines ?? 0) } };
  };
  return { ...both('receipts'), ...both('deadLetters') };
}

type KeptLines = Pick<Report, 'receipts' | 'deadLetters'>;

/** A receipt as a line of its own: places by their names, and when it was over. */
function receiptLine(receipt: Receipt, { sources, sinks }: Job, now: number): { readonly [name: string]: JsonValue } {
  const { source, sink, checksums, notes, failure, ...rest } = receipt;
  return {
    time: new Date(now).toISOString(),
    ...rest,
    source: sources[source]?.location ?? null,
    sink: sinks[sink]?.location ?? null,
    ...(checksums === undefined ? {} : { checksums: { ...checksums } }),
    ...(notes === undefined ? {} : { notes }),
    ...(failure === undefined ? {} : { failure: { ...failure } }),
  };
}
