import {
  type ByteStream,
  type Check,
  checked,
  compareKeys,
  type Facts,
  type Item,
  type ListOptions,
  type PluginContext,
  type Source,
  type SourceFailure,
  streamOf,
  z,
} from '../../core/api/index.ts';
import { hashOf } from './batch-notes.ts';
import type { InputConfig } from './config.ts';
import { folderAt } from './folder.ts';
import { Ledger, type Pace, type Tools } from './ledger.ts';
import type { Mode } from './mode.ts';
import { type Answer, PartAnswers } from './part-answers.ts';
import { type Part, partSchema, type Row, RowInput } from './row-input.ts';
import type { Storage } from './storage.ts';

/** What a kind of request needs of its rows. */
export interface Asking {
  readonly location: string;
  readonly options: Pace & {
    readonly rowsPerFile?: number | undefined;
    readonly maxFailedRatio?: number | undefined;
    readonly folder?: string | undefined;
  };
  readonly input: InputConfig;
  /** The rows of one request. */
  batches(rows: AsyncIterable<Row>): AsyncIterable<readonly Row[]>;
  /** @param take gets each answer as soon as it is there, also of a batch that fails in the end. */
  ask(batch: readonly Row[], take: (answer: Answer) => void, tools: Tools, signal: AbortSignal): Promise<void>;
  /** Of what it asks; a change begins anew. */
  readonly what: unknown;
  check(signal: AbortSignal): Promise<string>;
  /** What a plan tells, from the first row and their number. */
  estimate?(first: Row, rows: number, signal: AbortSignal): Promise<Facts>;
}

const ROWS_PER_FILE = 1000;
const refSchema = z.union([partSchema, z.strictObject({ deadLetters: z.literal(true) })]);

/** Rows go to a model, and their answers, in the same order, into files of so many rows. */
export class RowMode implements Mode {
  readonly location: string;
  readonly #asking: Asking;
  readonly #input: RowInput;
  readonly #ledger: Ledger;
  #answers: PartAnswers;
  readonly #what: string;
  /** Functions carry one run after the other. */
  #runId = '';
  #rows = 0;
  #facts: Facts | undefined;

  constructor(asking: Asking, storage: Storage, context: PluginContext) {
    this.location = asking.location;
    this.#asking = asking;
    this.#input = new RowInput(asking.input, storage, context);
    this.#what = hashOf(asking.what);
    this.#ledger = new Ledger(this.#what, asking.options, context);
    this.#answers = new PartAnswers(asking, this.#input, this.#ledger);
  }

  async *list({ after, only, run, signal }: ListOptions): AsyncGenerator<Item> {
    if (run.purpose === 'survey' || only !== undefined) return;
    // What is read may be another file by now.
    this.#input.clear();
    // Also what an earlier run has left under way is not this one's.
    if (this.#runId !== run.runId) this.#answers = new PartAnswers(this.#asking, this.#input, this.#ledger);
    this.#runId = run.runId;
    if (run.purpose === 'run')
      await this.#ledger.begin(run, await this.#input.version(signal), after !== undefined, signal);
    this.#rows = 0;
    let first: Row | undefined;
    for await (const { part, row } of this.#input.parts(this.#asking.options.rowsPerFile ?? ROWS_PER_FILE, signal)) {
      this.#rows += part.count;
      first ??= row;
      const item = this.#item(part);
      if (after === undefined || compareKeys(item.key, after) > 0) yield item;
    }
    if (run.purpose !== 'plan') return;
    const estimate = first === undefined ? {} : await this.#asking.estimate?.(first, this.#rows, signal);
    this.#facts = { rows: this.#rows, ...estimate };
  }

  /** The rows that failed, each with its reason: a list that can be mended and asked again. */
  async *last({ only }: ListOptions): AsyncGenerator<Item> {
    const { failed } = this.#ledger;
    if (failed.length === 0 || only !== undefined) return;
    yield {
      id: `dead-letters:${hashOf(failed)}`,
      key: `${this.#folder}_dead-letters.jsonl`,
      headers: { contentType: 'application/x-ndjson' },
      ref: { deadLetters: true },
    };
  }

  async open(item: Item, { signal }: Parameters<Source['open']>[1]): Promise<ByteStream> {
    const ref = refSchema.parse(item.ref);
    return 'deadLetters' in ref ? this.#deadLetters(signal) : streamOf(await this.#answers.of(ref, signal));
  }

  /** Rows that failed, where there are more of them than may. */
  failures(): readonly SourceFailure[] {
    const { failed } = this.#ledger.notes;
    const all = Object.values(failed).flat().length;
    if (all === 0 || all / Math.max(1, this.#rows) <= (this.#asking.options.maxFailedRatio ?? 0)) return [];
    const hint = `Mend the row or the prompt, or raise maxFailedRatio. When all files are stored, each is in ${this.#folder}_dead-letters.jsonl.`;
    return Object.entries(failed).flatMap(([part, rows]) =>
      rows.map(({ row, reason }) => ({
        key: `${this.#key(Number(part))} row ${row}`,
        code: 'answer_refused' as const,
        message: reason,
        hint,
      })),
    );
  }

  facts(): Facts | undefined {
    if (this.#facts !== undefined || !this.#ledger.hasBegun) return this.#facts;
    return { rows: this.#rows, failedRows: this.#ledger.failed.length, ...this.#ledger.notes.spent };
  }

  async check(signal: AbortSignal): Promise<readonly Check[]> {
    return [await checked('model', () => this.#asking.check(signal))];
  }

  async close(): Promise<void> {
    await this.#ledger.settled();
  }

  get #folder(): string {
    return folderAt(this.#asking.options.folder ?? '{time}/', this.#ledger.notes.startedAt);
  }

  #key(part: number): string {
    return `${this.#folder}part-${String(part).padStart(12, '0')}.jsonl`;
  }

  #item(part: Part): Item {
    const id = `vertexai:${this.#ledger.notes.run}/${this.#what}/${part.part}`;
    return { id, key: this.#key(part.part), headers: { contentType: 'application/x-ndjson' }, ref: part };
  }

  async *#deadLetters(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const failed = [...this.#ledger.failed].sort((a, b) => a.row - b.row);
    for (const { row, reason, ...place } of failed) {
      const text = await this.#input.one(row, place, signal);
      yield Buffer.from(`{"number":${row},"reason":${JSON.stringify(reason)},"row":${text}}\n`);
    }
  }
}
