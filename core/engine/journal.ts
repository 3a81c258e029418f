import { hash } from 'node:crypto';
import type { MemoryBudget } from '../api/bytes.ts';
import type { JsonValue } from '../api/json.ts';
import type { RetryPolicy } from '../api/retry.ts';
import type { Sink } from '../api/sink.ts';
import type { Crc32cPool } from './crc32c.ts';
import { keepFile } from './keep-file.ts';
import type { Kept } from './report.ts';

/** So many characters wait at most before they are written. */
const MOST_WAITING = 2 ** 20;

export interface JournalOptions {
  readonly sink: Sink;
  /** Keys of its files begin with it. */
  readonly folder: string;
  /** And end with it: two journals may share a folder. */
  readonly ending: string;
  /** The first line of each file. */
  readonly header: { readonly [name: string]: JsonValue };
  /** Each line, and the first of a file after the last of the one before, is bound to the one before it by a hash. */
  readonly chained: boolean;
  /** The hash of the last line of the process before. */
  readonly previous?: string | undefined;
  readonly memory: MemoryBudget;
  readonly hashers: Crc32cPool;
  readonly retry: RetryPolicy;
  readonly now: () => number;
}

/** Lines of JSON that are written to a sink while a run is under way: file by file, each of them whole, or not at all. */
export class Journal {
  readonly #options: JournalOptions;
  #waiting: { readonly text: string; readonly counts: boolean }[] = [];
  #size = 0;
  #files = 0;
  #counted = 0;
  #head: string | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#head = options.previous;
  }

  /** Enough lines wait: whoever adds more writes first. */
  get full(): boolean {
    return this.#size >= MOST_WAITING;
  }

  /** The hash of the last line that is durable. */
  get head(): string | undefined {
    return this.#head;
  }

  get kept(): Kept | undefined {
    if (this.#counted === 0) return undefined;
    const { sink, folder, chained } = this.#options;
    const head = chained && this.#head !== undefined ? { head: this.#head } : {};
    return { location: sink.location + folder, lines: this.#counted, ...head };
  }

  /** @param counts whether it is one of those that the report tells of. */
  add(line: { readonly [name: string]: JsonValue }, counts = true): void {
    const text = JSON.stringify(line);
    this.#waiting.push({ text, counts });
    this.#size += text.length;
  }

  /** Resolves when all that was added so far is durable. */
  async flush(signal: AbortSignal): Promise<void> {
    const writing = this.#writing
      .catch(() => undefined)
      .then(async () => {
        if (this.#waiting.length > 0) await this.#write(signal);
      });
    this.#writing = writing;
    await writing;
  }

  async #write(signal: AbortSignal): Promise<void> {
    const { sink, folder, ending, header, chained, memory, hashers, retry: policy, now } = this.#options;
    // More are added while these are written.
    const lines = [...this.#waiting];
    let last = this.#head;
    const link = (line: string): string => {
      if (!chained) return `${line}\n`;
      last = chainHash(last, line);
      return `${line.slice(0, -1)},"hash":"${last}"}\n`;
    };
    const first = JSON.stringify(chained ? { ...header, previous: this.#head ?? null } : header);
    const bytes = Buffer.from(
      [first, ...lines.map(({ text }) => text), JSON.stringify({ end: lines.length })].map(link).join(''),
    );
    const time = new Date(now()).toISOString().replace(/[:.]/g, '-');
    const key = `${folder}${time}-${String(++this.#files).padStart(4, '0')}${ending}`;
    await keepFile(sink, key, bytes, { memory, hashers, retry: policy, signal });
    this.#waiting = this.#waiting.slice(lines.length);
    this.#size = this.#waiting.reduce((sum, { text }) => sum + text.length, 0);
    this.#counted += lines.filter(({ counts }) => counts).length;
    this.#head = last;
  }
}

/** Binds a line to all before it: SHA-256, in hex, of the hash before and the line as it was without its own. */
export const chainHash = (before: string | undefined, line: string): string =>
  hash('sha256', `${before ?? ''}\n${line}`);
