import type { Ledger } from './ledger.ts';
import { inOrder } from './limits.ts';
import { isJson, type Part, type Row, type RowInput } from './row-input.ts';
import type { Asking } from './row-mode.ts';
import type { FailedRow } from './row-notes.ts';

/** What became of a row: a line of the output, or why there is none. */
export type Answer = { readonly row: Row; readonly line: string } | { readonly row: Row; readonly reason: string };

/** Answers that were paid for are kept until so many bytes of newer ones have come. */
const KEPT_BYTES = 32 * 1024 * 1024;
const LONGEST_REASON = 300;

interface Work {
  /** By the number of the row: what is known is not asked again. */
  readonly known: Map<number, Answer>;
  running: Promise<Uint8Array> | undefined;
  bytes: Uint8Array | undefined;
}

/**
 * The answers for the pieces of an input. Each row is asked once: a second sink, and a write that is tried again, get
 * what is there; a piece that failed half-way goes on where it was.
 */
export class PartAnswers {
  readonly #asking: Asking;
  readonly #input: RowInput;
  readonly #ledger: Ledger;
  readonly #works = new Map<number, Work>();

  constructor(asking: Asking, input: RowInput, ledger: Ledger) {
    this.#asking = asking;
    this.#input = input;
    this.#ledger = ledger;
  }

  /** @throws BrokerError for what is no single row's; what failed is in the notes when it resolves. */
  async of(part: Part, signal: AbortSignal): Promise<Uint8Array> {
    let work = this.#works.get(part.part);
    if (work === undefined) {
      work = { known: new Map(), running: undefined, bytes: undefined };
      this.#works.set(part.part, work);
    }
    if (work.bytes !== undefined) return work.bytes;
    const { known } = work;
    const mine = work;
    work.running ??= this.#ask(part, known, signal).finally(() => {
      mine.running = undefined;
    });
    const bytes = await work.running;
    work.bytes = bytes;
    this.#forget();
    return bytes;
  }

  async #ask(part: Part, known: Map<number, Answer>, signal: AbortSignal): Promise<Uint8Array> {
    this.#ledger.checkFailures();
    try {
      const missing = await this.#missing(part, known, signal);
      const batches = inOrder(this.#asking.batches(missing), this.#asking.options.concurrency, async (batch) => {
        for (const answer of await this.#asking.ask(batch, this.#ledger, signal)) known.set(answer.row.number, answer);
      });
      for await (const _ of batches);
    } catch (error) {
      await this.#ledger.record().catch(() => undefined);
      throw error;
    }
    const answers = [...known.values()].sort((a, b) => a.row.number - b.row.number);
    const failed = answers.flatMap((answer) => ('reason' in answer ? [failure(answer.row, answer.reason)] : []));
    if (failed.length > 0) this.#ledger.notes.failed[part.part] = failed;
    // What was paid for, and what failed, is on record before the file can be taken for done.
    await this.#ledger.record();
    return Buffer.from(answers.map((answer) => ('line' in answer ? `${answer.line}\n` : '')).join(''));
  }

  /** Rows that are no JSON are no one else's fault. */
  async #missing(part: Part, known: Map<number, Answer>, signal: AbortSignal): Promise<AsyncIterable<Row>> {
    const rows = await this.#input.read(part, signal);
    return (async function* () {
      for await (const row of rows) {
        if (known.has(row.number)) continue;
        if (isJson(row.text)) yield row;
        else known.set(row.number, { row, reason: 'the row is not JSON' });
      }
    })();
  }

  #forget(): void {
    let bytes = 0;
    for (const [number, work] of [...this.#works].reverse()) {
      if (work.bytes === undefined) continue;
      work.known.clear();
      bytes += work.bytes.byteLength;
      if (bytes > KEPT_BYTES) this.#works.delete(number);
    }
  }
}

const failure = ({ number, start, end }: Row, reason: string): FailedRow => ({
  row: number,
  ...(start === undefined || end === undefined ? {} : { start, end }),
  reason: reason.slice(0, LONGEST_REASON),
});
