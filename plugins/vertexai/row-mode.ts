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
import { linesOf } from './lines.ts';
import type { Mode } from './mode.ts';
import { openRows, type RowFile } from './row-file.ts';
import type { FailedRow } from './row-notes.ts';
import type { Storage } from './storage.ts';

const CHUNK = 64 * 1024;
/** Rows that failed are on record, each; more than these are no exceptions any more. */
const MOST_FAILED = 5000;
const LONGEST_REASON = 300;

/** One row as it stands in the input. */
export interface Row {
  readonly number: number;
  /** JSON. */
  readonly text: string;
  readonly start?: number;
  readonly end?: number;
}

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

const refSchema = z.union([
  z.strictObject({
    part: z.number(),
    first: z.number(),
    count: z.number(),
    start: z.number().optional(),
    end: z.number().optional(),
    version: z.string().optional(),
  }),
  z.strictObject({ deadLetters: z.literal(true) }),
]);
type PartRef = Extract<z.output<typeof refSchema>, { part: number }>;

/** Rows go to a model, and their answers, in the same order, into files of so many rows. */
export class RowMode implements Mode {
  readonly location: string;
  readonly #asking: Asking;
  readonly #storage: Storage;
  readonly #context: PluginContext;
  readonly #ledger: Ledger;
  readonly #what: string;
  #file: Promise<RowFile> | undefined;
  #facts: Facts | undefined;

  constructor(asking: Asking, storage: Storage, context: PluginContext) {
    this.location = asking.location;
    this.#asking = asking;
    this.#storage = storage;
    this.#context = context;
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
    for await (const { item, count, row } of this.#parts(signal)) {
      rows += count;
      first ??= row;
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
    const time = startedAt.replace(/[-:]|\.\d+/g, '');
    return this.#asking.options.folder.replace(/\{(\w+)\}/g, (_, name: string) =>
      name === 'time' ? time : startedAt.slice(0, 10),
    );
  }

  async #rowFile(signal: AbortSignal): Promise<RowFile | undefined> {
    const { input } = this.#asking;
    if (Array.isArray(input)) return undefined;
    this.#file ??= openRows(input as Exclude<InputConfig, readonly unknown[]>, this.#storage, this.#context, signal);
    return this.#file;
  }

  /** The input in pieces, read once while it is listed; what is to be asked is read again, piece by piece. */
  async *#parts(signal: AbortSignal): AsyncGenerator<{ item: Item; count: number; row: Row }> {
    const { rowsPerFile } = this.#asking.options;
    const file = await this.#rowFile(signal);
    const rows =
      file === undefined
        ? this.#inline(0, Number.POSITIVE_INFINITY)
        : numbered(linesOf(await file.read({ start: 0 }, signal)), 0);
    let part = 0;
    let open: Row[] = [];
    let count = 0;
    for await (const row of rows) {
      // Of each piece only its ends are kept.
      if (count === 0) open = [row, row];
      open[1] = row;
      if (++count < rowsPerFile) continue;
      yield this.#item(part++, open, count, file);
      count = 0;
    }
    if (count > 0) yield this.#item(part, open, count, file);
  }

  #item(
    part: number,
    [first, last]: readonly Row[],
    count: number,
    file: RowFile | undefined,
  ): { item: Item; count: number; row: Row } {
    const place =
      file === undefined || first?.start === undefined || last?.end === undefined
        ? {}
        : { start: first.start, end: last.end, version: String(file.version) };
    const ref = { part, first: first?.number ?? 0, count, ...place };
    const key = `${this.#folder}part-${String(part).padStart(12, '0')}.jsonl`;
    const id = `vertexai:${this.#ledger.notes.run}/${this.#what}/${part}`;
    return { item: { id, key, headers: { contentType: 'application/x-ndjson' }, ref }, count, row: first as Row };
  }

  async *#inline(first: number, count: number): AsyncGenerator<Row> {
    const { input } = this.#asking;
    const all = Array.isArray(input) ? (input as readonly unknown[]) : [];
    for (const [index, value] of all.slice(first, first + count).entries())
      yield { number: first + index, text: JSON.stringify(value) };
  }

  async #rowsOf({ first, count, start = 0, end, version }: PartRef, signal: AbortSignal): Promise<AsyncIterable<Row>> {
    const file = await this.#rowFile(signal);
    if (file === undefined) return this.#inline(first, count);
    if (file.version !== version) throw new BrokerError('source_changed', `${version} is ${String(file.version)} now`);
    return numbered(linesOf(await file.read({ start, ...(end === undefined ? {} : { end }) }, signal), start), first);
  }

  async *#answers(ref: PartRef, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const failed: FailedRow[] = [];
    let text = '';
    try {
      for await (const answer of this.#asking.answers(await this.#rowsOf(ref, signal), this.#ledger, signal)) {
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

  async *#deadLetters(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const file = await this.#rowFile(signal);
    const failed = Object.values(this.#ledger.notes.failed)
      .flat()
      .sort((a, b) => a.row - b.row);
    for (const { row, start, end, reason } of failed) {
      let text = 'null';
      if (file === undefined) for await (const found of this.#inline(row, 1)) text = found.text;
      else if (start !== undefined && end !== undefined)
        for await (const line of linesOf(await file.read({ start, end }, signal))) text = line.text;
      yield Buffer.from(`{"number":${row},"reason":${JSON.stringify(reason)},"row":${text}}\n`);
    }
  }
}

async function* numbered(
  lines: AsyncIterable<{ text: string; start: number; end: number }>,
  first: number,
): AsyncGenerator<Row> {
  let number = first;
  for await (const line of lines) yield { number: number++, ...line };
}

const failure = ({ number, start, end }: Row, reason: string): FailedRow => ({
  row: number,
  ...(start === undefined || end === undefined ? {} : { start, end }),
  reason: reason.slice(0, LONGEST_REASON),
});
