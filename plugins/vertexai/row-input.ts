import { BrokerError, type Line, linesOf, type PluginContext, z } from '../../core/api/index.ts';
import type { InputConfig } from './config.ts';
import { openRows, type RowFile } from './row-file.ts';
import type { Storage } from './storage.ts';

/** One row as it stands in the input. */
export interface Row {
  readonly number: number;
  /** JSON. */
  readonly text: string;
  readonly start?: number;
  readonly end?: number;
}

/** A piece of the input: so many rows, and where they are in the file, if there is one. Plain data. */
export const partSchema = z.strictObject({
  part: z.number(),
  first: z.number(),
  count: z.number(),
  start: z.number().exactOptional(),
  end: z.number().exactOptional(),
  version: z.string().exactOptional(),
});
export type Part = z.output<typeof partSchema>;

/** A piece has at most so many bytes of rows, whatever their number. */
const PART_BYTES = 8 * 1024 * 1024;
const ROWS = { name: 'rows' };

/** Rows that are listed in the pipeline, or lines of a file. */
export class RowInput {
  readonly #input: InputConfig;
  readonly #storage: Storage;
  readonly #context: PluginContext;
  #file: Promise<RowFile> | undefined;

  constructor(input: InputConfig, storage: Storage, context: PluginContext) {
    this.#input = input;
    this.#storage = storage;
    this.#context = context;
    // An identity that is not there is told at once, and not when the file is read.
    if (!Array.isArray(input)) context.credentials.aws((input as { readonly identity?: string }).identity);
  }

  /** The file is opened anew when it is asked for. */
  clear(): void {
    this.#file = undefined;
  }

  /** Of the file; rows that are listed in the pipeline have none. */
  async version(signal: AbortSignal): Promise<string | undefined> {
    return (await this.#open(signal))?.version;
  }

  /** The input in pieces, read once while it is listed; what is to be asked is read again, piece by piece. */
  async *parts(rowsPerFile: number, signal: AbortSignal): AsyncGenerator<{ readonly part: Part; readonly row: Row }> {
    const file = await this.#open(signal);
    const rows =
      file === undefined ? this.#inline(0) : numbered(linesOf(await file.read({ start: 0 }, signal), ROWS), 0);
    let number = 0;
    // Of each piece only its ends are kept.
    let first: Row | undefined;
    let last: Row | undefined;
    let count = 0;
    let bytes = 0;
    const piece = (): { part: Part; row: Row } => {
      const row = first as Row;
      const place =
        file === undefined || first?.start === undefined || last?.end === undefined
          ? {}
          : { start: first.start, end: last.end, version: file.version };
      return { part: { part: number++, first: row.number, count, ...place }, row };
    };
    for await (const row of rows) {
      if (count === 0) first = row;
      last = row;
      bytes += row.text.length;
      if (++count < rowsPerFile && bytes < PART_BYTES) continue;
      yield piece();
      count = 0;
      bytes = 0;
    }
    if (count > 0) yield piece();
  }

  /** @throws BrokerError `source_changed` when the file is another one now. */
  async read({ first, count, start = 0, end, version }: Part, signal: AbortSignal): Promise<AsyncIterable<Row>> {
    const file = await this.#open(signal);
    if (file === undefined) return this.#inline(first, count);
    if (file.version !== version) throw new BrokerError('source_changed', `${version} is ${file.version} now`);
    return numbered(
      linesOf(await file.read({ start, ...(end === undefined ? {} : { end }) }, signal), { ...ROWS, offset: start }),
      first,
    );
  }

  /** The text of one row. */
  async one(
    number: number,
    place: { readonly start?: number; readonly end?: number },
    signal: AbortSignal,
  ): Promise<string> {
    const file = await this.#open(signal);
    const { start, end } = place;
    if (file === undefined) for await (const { text } of this.#inline(number, 1)) return text;
    else if (start !== undefined && end !== undefined)
      for await (const { text } of linesOf(await file.read({ start, end }, signal), ROWS))
        return isJson(text) ? text.trim() : JSON.stringify(text.trim());
    return 'null';
  }

  async #open(signal: AbortSignal): Promise<RowFile | undefined> {
    if (Array.isArray(this.#input)) return undefined;
    this.#file ??= openRows(
      this.#input as Exclude<InputConfig, readonly unknown[]>,
      this.#storage,
      this.#context,
      signal,
    ).catch((error: unknown) => {
      // What failed in passing is tried anew.
      this.#file = undefined;
      throw error;
    });
    return this.#file;
  }

  async *#inline(first: number, count = Number.POSITIVE_INFINITY): AsyncGenerator<Row> {
    const all = Array.isArray(this.#input) ? (this.#input as readonly unknown[]) : [];
    for (const [index, value] of all.slice(first, first + count).entries())
      yield { number: first + index, text: JSON.stringify(value) };
  }
}

async function* numbered(lines: AsyncIterable<Line>, first: number): AsyncGenerator<Row> {
  let number = first;
  for await (const { text, start, end } of lines) yield { number: number++, text: text.trim(), start, end };
}

export function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
