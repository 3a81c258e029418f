import { LineBuffer } from './line-buffer.ts';
import type { Cell, RowWriter } from './row-text.ts';

/** What a page says besides its rows, and the rows as lines. */
export interface Scanned {
  /** JSON without the rows. */
  readonly rest: string;
  readonly lines: Uint8Array;
  readonly rows: number;
}

const ROWS = '"rows":[';
const ROW = '{"f":[';
const CELL = '{"v":';
const QUOTE = 34;
const BACKSLASH = 92;
const COMMA = 44;
const BRACE = 123;

/** Something is not as it was expected; the page is to be parsed in the usual way. */
class Unusual extends Error {}

/**
 * Turns the rows of a page into lines without making objects of them: a million rows of ten columns are ten million
 * texts less. Takes exactly the compact form that the API answers with (`prettyPrint=false`).
 *
 * @returns undefined for a page in any other form.
 */
export function scanPage(page: string, write: RowWriter): Scanned | undefined {
  const found = page.indexOf(ROWS);
  if (found < 0) return undefined;
  const before = page.charCodeAt(found - 1);
  if (before !== COMMA && before !== BRACE) return undefined;
  try {
    const scanner = new Scanner(page, found + ROWS.length, write);
    const lines = scanner.rows();
    return { rest: page.slice(0, found + ROWS.length) + page.slice(scanner.at), lines, rows: scanner.count };
  } catch (error) {
    if (error instanceof Unusual) return undefined;
    throw error;
  }
}

class Scanner {
  readonly #page: string;
  readonly #write: RowWriter;
  at: number;
  count = 0;

  constructor(page: string, at: number, write: RowWriter) {
    this.#page = page;
    this.at = at;
    this.#write = write;
  }

  /** Up to the bracket that ends them, which stays. */
  rows(): Uint8Array {
    // The lines are shorter than what they are made of, but for what is quoted twice.
    const lines = new LineBuffer(this.#page.length);
    if (this.#page[this.at] === ']') return lines.bytes;
    for (;;) {
      this.#expect(ROW);
      lines.add(this.#row());
      this.#expect(']}');
      this.count++;
      if (this.#page.charCodeAt(this.at) !== COMMA) break;
      this.at++;
    }
    if (this.#page[this.at] !== ']') throw new Unusual();
    return lines.bytes;
  }

  #row(): string {
    const { open, close, columns, separator, skipsNulls } = this.#write;
    let line = open;
    let empty = true;
    for (let index = 0; index < columns.length; index++) {
      if (index > 0) this.#expect(',');
      this.#expect(CELL);
      const column = columns[index];
      if (column === undefined) throw new Unusual();
      const text = this.#cell(column);
      this.#expect('}');
      if (text === undefined && skipsNulls) continue;
      line += empty ? (text ?? '') : separator + (text ?? '');
      empty = false;
    }
    return line + close;
  }

  /** Undefined for null. */
  #cell({ raw, cell }: RowWriter['columns'][number]): string | undefined {
    const code = this.#page.charCodeAt(this.at);
    if (code === QUOTE) {
      const text = this.#string();
      return raw === undefined ? cell(JSON.parse(`"${text}"`) as string) : raw(text);
    }
    if (this.#page.startsWith('null', this.at)) {
      this.at += 4;
      return undefined;
    }
    // Lists and records are few: they are parsed.
    const start = this.at;
    this.#skipNested();
    return cell(JSON.parse(this.#page.slice(start, this.at)) as Cell);
  }

  /** What stands between the quotes, its escapes as they are. */
  #string(): string {
    const page = this.#page;
    const start = this.at + 1;
    let end = page.indexOf('"', start);
    // A quote behind an odd number of backslashes is none.
    while (end > 0 && page.charCodeAt(end - 1) === BACKSLASH) {
      let backslashes = 1;
      while (page.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes++;
      if (backslashes % 2 === 0) break;
      end = page.indexOf('"', end + 1);
    }
    if (end < 0) throw new Unusual();
    this.at = end + 1;
    return page.slice(start, end);
  }

  #skipNested(): void {
    const page = this.#page;
    let depth = 0;
    do {
      const sign = page[this.at];
      if (sign === undefined) throw new Unusual();
      if (sign === '"') {
        this.#string();
        continue;
      }
      if (sign === '{' || sign === '[') depth++;
      else if (sign === '}' || sign === ']') depth--;
      this.at++;
    } while (depth > 0);
  }

  #expect(text: string): void {
    if (!this.#page.startsWith(text, this.at)) throw new Unusual();
    this.at += text.length;
  }
}
