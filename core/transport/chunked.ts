import { BrokerError } from '../api/errors.ts';
import type { ReadBuffer } from './read-buffer.ts';

/** Of a line that says how long a chunk is, with its extensions, and of all trailers. */
const LONGEST_LINE = 4096;
const LONGEST_TRAILERS = 16 * 1024;
const SIZE = /^([0-9a-fA-F]{1,12})[ \t]*(?:;[^\r\n]*)?$/;

type State = 'size' | 'data' | 'after-data' | 'trailers' | 'ended';

/** Reads `chunked` (RFC 9112, section 7.1). Trailers are passed over. */
export class ChunkedReader {
  readonly #buffer: ReadBuffer;
  readonly #host: string;
  #state: State = 'size';
  #left = 0;
  #line = '';
  #trailers = 0;

  constructor(buffer: ReadBuffer, host: string) {
    this.#buffer = buffer;
    this.#host = host;
  }

  get ended(): boolean {
    return this.#state === 'ended';
  }

  /** Bytes of the body, to be freed in the buffer; undefined when more must be read first, or the body has ended. */
  take(): Buffer | undefined {
    while (this.#state !== 'ended') {
      if (this.#state === 'data') {
        if (this.#buffer.waiting === 0) return undefined;
        const view = this.#buffer.take(this.#left);
        this.#left -= view.length;
        if (this.#left === 0) this.#state = 'after-data';
        return view;
      }
      const line = this.#nextLine();
      if (line === undefined) return undefined;
      this.#read(line);
    }
    return undefined;
  }

  #read(line: string): void {
    if (this.#state === 'after-data') {
      if (line !== '') throw this.#bad();
      this.#state = 'size';
    } else if (this.#state === 'size') {
      const digits = SIZE.exec(line)?.[1];
      if (digits === undefined) throw this.#bad();
      this.#left = Number.parseInt(digits, 16);
      this.#state = this.#left === 0 ? 'trailers' : 'data';
    } else {
      this.#trailers += line.length;
      if (this.#trailers > LONGEST_TRAILERS) throw this.#bad();
      if (line === '') this.#state = 'ended';
    }
  }

  /** A line without its end; it may come byte by byte. */
  #nextLine(): string | undefined {
    for (let view = this.#buffer.peek(); view !== undefined; view = this.#buffer.peek()) {
      const at = view.indexOf(10);
      const count = at < 0 ? view.length : at + 1;
      this.#line += view.toString('latin1', 0, count);
      this.#buffer.skip(count);
      if (this.#line.length > LONGEST_LINE) throw this.#bad();
      if (at < 0) continue;
      if (!this.#line.endsWith('\r\n')) throw this.#bad();
      const line = this.#line.slice(0, -2);
      this.#line = '';
      return line;
    }
    return undefined;
  }

  #bad(): BrokerError {
    return new BrokerError('bad_response', `${this.#host}: the answer is not cut into chunks as it says`);
  }
}
