import { KEPT_BYTES, Kept } from './kept.ts';
import type { Ledger } from './ledger.ts';
import { inOrder } from './limits.ts';
import { isJson, type Part, type Row, type RowInput } from './row-input.ts';
import type { Asking } from './row-mode.ts';
import type { FailedRow } from './row-notes.ts';

/** What became of a row: a line of the output, or why there is none. */
export type Answer = { readonly row: Row; readonly line: string } | { readonly row: Row; readonly reason: string };

const LONGEST_REASON = 300;

/** The answers of a piece so far, by the number of the row. */
interface Known {
  readonly answers: Map<number, Answer>;
  bytes: number;
}

/**
 * The answers for the pieces of an input. A row is asked once: a second sink, and a write that is tried again, get what
 * is there; a piece that failed half-way goes on where it was.
 */
export class PartAnswers {
  readonly #asking: Asking;
  readonly #input: RowInput;
  readonly #ledger: Ledger;
  readonly #kept = new Kept<number>();
  /** Of pieces that are under way, or failed half-way; by their number. */
  readonly #known = new Map<number, Known>();

  constructor(asking: Asking, input: RowInput, ledger: Ledger) {
    this.#asking = asking;
    this.#input = input;
    this.#ledger = ledger;
  }

  /** @throws BrokerError for what is no single row's; what failed is in the notes when it resolves. */
  of(part: Part, signal: AbortSignal): Promise<Uint8Array> {
    return this.#kept.of(part.part, () => this.#ask(part, signal));
  }

  async #ask(part: Part, signal: AbortSignal): Promise<Uint8Array> {
    const { answers: known } = this.#knownOf(part.part);
    const take = (answer: Answer): void => this.#take(part.part, answer);
    try {
      const missing = await this.#missing(part, take, signal);
      const ask = (batch: readonly Row[]): Promise<void> => this.#asking.ask(batch, take, this.#ledger, signal);
      for await (const _ of inOrder(this.#asking.batches(missing), this.#asking.options.concurrency, ask));
    } catch (error) {
      this.#forget(part.part);
      await this.#ledger.record().catch(() => undefined);
      throw error;
    }
    const answers = [...known.values()].sort((a, b) => a.row.number - b.row.number);
    const failed = answers.flatMap((answer) => ('reason' in answer ? [failure(answer.row, answer.reason)] : []));
    this.#ledger.setFailed(part.part, failed);
    // What was paid for, and what failed, is on record before the file can be taken for done.
    await this.#ledger.record();
    this.#known.delete(part.part);
    return Buffer.from(answers.map((answer) => ('line' in answer ? `${answer.line}\n` : '')).join(''));
  }

  #knownOf(part: number): Known {
    const known = this.#known.get(part) ?? { answers: new Map<number, Answer>(), bytes: 0 };
    this.#known.set(part, known);
    return known;
  }

  /** @throws BrokerError `too_many_failures` before more is paid for. */
  #take(part: number, answer: Answer): void {
    const known = this.#knownOf(part);
    known.answers.set(answer.row.number, answer);
    known.bytes += answer.row.text.length + ('line' in answer ? answer.line.length : answer.reason.length);
    if ('reason' in answer) this.#ledger.countFailure(answer.reason);
  }

  /** Rows that are no JSON are no one else's fault. */
  async #missing(part: Part, take: (answer: Answer) => void, signal: AbortSignal): Promise<AsyncIterable<Row>> {
    const { answers: known } = this.#knownOf(part.part);
    const rows = await this.#input.read(part, signal);
    return (async function* () {
      for await (const row of rows) {
        if (known.has(row.number)) continue;
        if (isJson(row.text)) yield row;
        else take({ row, reason: 'the row is not JSON' });
      }
    })();
  }

  /** Pieces that failed half-way are kept for another try, while they are not too many. */
  #forget(newest: number): void {
    let bytes = 0;
    for (const { bytes: one } of this.#known.values()) bytes += one;
    for (const [part, { bytes: one }] of this.#known) {
      if (bytes <= KEPT_BYTES || part === newest) return;
      this.#known.delete(part);
      bytes -= one;
    }
  }
}

const failure = ({ number, start, end }: Row, reason: string): FailedRow => ({
  row: number,
  ...(start === undefined || end === undefined ? {} : { start, end }),
  reason: reason.slice(0, LONGEST_REASON),
});
