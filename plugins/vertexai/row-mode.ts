import {
  BrokerError,
  type ByteStream,
  type Check,
  checked,
  compareKeys,
  type Facts,
  type Item,
  type ListOptions,
  type PluginContext,
  type Source,
  z,
} from '../../core/api/index.ts';
import { hashOf } from './batch-notes.ts';
import type { InputConfig } from './config.ts';
import { Ledger, type Tools } from './ledger.ts';
import type { Mode } from './mode.ts';
import { type Part, partSchema, type Row, RowInput } from './row-input.ts';
import type { FailedRow } from './row-notes.ts';
import type { Storage } from './storage.ts';

const CHUNK = 64 * 1024;
/** Rows that failed are on record, each; more than these are no exceptions any more. */
const MOST_FAILED = 5000;
const LONGEST_REASON = 300;

/** What became of a row: a line of the output, or why there is none. */
export type Answer = { readonly row: Row; readonly line: string } | { readonly row: Row; readonly reason: string };

/** What a kind of request needs of its rows. */
export interface Asking {
  readonly location: string;
  readonly options: {
    readonly rowsPerFile: number;
    readonly concurrency: number;
    readonly requestsPerMinute?: number | undefined;
    readonly maxFailedRatio: number;
    readonly folder: string;
  };
  readonly input: InputConfig;
  /** In the order of the rows. */
  answers(rows: AsyncIterable<Row>, tools: Tools, signal: AbortSignal): AsyncIterable<Answer>;
  /** Of what it asks; a change begins anew. */
  readonly what: unknown;
  check(signal: AbortSignal): Promise<string>;
  /** What a plan tells, from the first row and their number. */
  estimate?(first: Row, rows: number, signal: AbortSignal): Promise<Facts>;
}

const refSchema = z.union([partSchema, z.strictObject({ deadLetters: z.literal(true) })]);

/** Rows go to a model, and their answers, in the same order, into files of so many rows. */
export class RowMode implements Mode {
  readonly location: string;
  readonly #asking: Asking;
  readonly #input: RowInput;
  readonly #ledger: Ledger;
  readonly #what: string;
  #facts: Facts | undefined;

  constructor(asking: Asking, storage: Storage, context: PluginContext) {
    this.location = asking.location;
    this.#asking = asking;
    this.#input = new RowInput(asking.input, storage, context);
    this.#what = hashOf(asking.what);
    this.#ledger = new Ledger(this.#what, asking.options, context);
  }

  async *list({ after, run, signal }: ListOptions): AsyncGenerator<Item> {
    if (run.purpose === 'survey') return;
    if (run.purpose === 'run') {
      const known = await this.#ledger.begin(run, signal);
      if (after !== undefined && !known)
        throw new BrokerError('state_unreadable', 'what the run was asking is not on record any more');
    }
    let rows = 0;
    let first: Row | undefined;
    for await (const { part, row } of this.#input.parts(this.#asking.options.rowsPerFile, signal)) {
      rows += part.count;
      first ??= row;
      const item = this.#item(part);
      if (after === undefined || compareKeys(item.key, after) > 0) yield item;
    }
    if (run.purpose !== 'plan') return;
    const estimate = first === undefined ? {} : await this.#asking.estimate?.(first, rows, signal);
    this.#facts = { rows, ...estimate };
  }

  /** The rows that failed, each with its reason: a list that can be mended and asked again. */
  async *last(_: ListOptions): AsyncGenerator<Item> {
    const failed = Object.values(this.#ledger.notes.failed).flat();
    if (failed.length === 0) return;
    const id = `dead-letters:${hashOf(failed)}`;
    yield {
      id,
      key: `${this.#folder}_dead-letters.jsonl`,
      headers: { contentType: 'application/x-ndjson' },
      ref: { deadLetters: true },
    };
  }

  async open(item: Item, { signal }: Parameters<Source['open']>[1]): Promise<ByteStream> {
    const ref = refSchema.parse(item.ref);
    return 'deadLetters' in ref ? this.#deadLetters(signal) : this.#answers(ref, signal);
  }

  facts(): Facts | undefined {
    const { rows, failed, spent } = this.#ledger.notes;
    if (this.#facts !== undefined || !this.#ledger.hasBegun) return this.#facts;
    const sum = Object.values(rows).reduce((total, one) => total + one, 0);
    return { rows: sum, failedRows: Object.values(failed).flat().length, ...spent };
  }

  async check(signal: AbortSignal): Promise<readonly Check[]> {
    return [await checked('model', () => this.#asking.check(signal))];
  }

  async close(): Promise<void> {
    await this.#ledger.settled();
  }

  get #folder(): string {
    const { startedAt } = this.#ledger.notes;
    const time = startedAt.replace(/[-:.]/g, '');
    return this.#asking.options.folder.replace(/\{(\w+)\}/g, (_, name: string) =>
      name === 'time' ? time : startedAt.slice(0, 10),
    );
  }

  async *#answers(ref: Part, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const failed: FailedRow[] = [];
    let text = '';
    try {
      for await (const answer of this.#asking.answers(await this.#input.read(ref, signal), this.#ledger, signal)) {
        if ('reason' in answer) failed.push(failure(answer.row, answer.reason));
        else text += `${answer.line}\n`;
        if (text.length < CHUNK) continue;
        yield Buffer.from(text);
        text = '';
      }
      const { maxFailedRatio } = this.#asking.options;
      const [one] = failed;
      if (one !== undefined && failed.length / ref.count > maxFailedRatio) {
        throw new BrokerError(
          'answer_refused',
          `${failed.length} of ${ref.count} rows failed; row ${one.row}: ${one.reason}`,
        );
      }
      this.#ledger.notes.failed[ref.part] = failed;
      this.#ledger.notes.rows[ref.part] = ref.count;
      if (Object.values(this.#ledger.notes.failed).flat().length > MOST_FAILED)
        throw new BrokerError(
          'answer_refused',
          `more than ${MOST_FAILED} rows failed; row ${one?.row}: ${one?.reason}`,
        );
    } finally {
      await this.#ledger.record(signal);
    }
    if (text !== '') yield Buffer.from(text);
  }

  #item(part: Part): Item {
    const key = `${this.#folder}part-${String(part.part).padStart(12, '0')}.jsonl`;
    const id = `vertexai:${this.#ledger.notes.run}/${this.#what}/${part.part}`;
    return { id, key, headers: { contentType: 'application/x-ndjson' }, ref: part };
  }

  async *#deadLetters(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const failed = Object.values(this.#ledger.notes.failed)
      .flat()
      .sort((a, b) => a.row - b.row);
    for (const { row, reason, ...place } of failed) {
      const text = await this.#input.one(row, place, signal);
      yield Buffer.from(`{"number":${row},"reason":${JSON.stringify(reason)},"row":${text}}\n`);
    }
  }
}

const failure = ({ number, start, end }: Row, reason: string): FailedRow => ({
  row: number,
  ...(start === undefined || end === undefined ? {} : { start, end }),
  reason: reason.slice(0, LONGEST_REASON),
});
