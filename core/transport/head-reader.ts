import { BrokerError } from '../api/errors.ts';
import { type Head, readHead } from './head.ts';
import type { ReadBuffer } from './read-buffer.ts';

/** Longer heads are nobody's: Node.js has 16 KiB. */
const LONGEST_HEAD = 64 * 1024;
const MOST_INTERIM = 16;
const END = Buffer.from('\r\n\r\n');

/** Reads the heads of answers, however they are cut into reads. */
export class HeadReader {
  readonly #buffer: ReadBuffer;
  readonly #host: string;
  #partial = '';
  #interim = 0;

  constructor(buffer: ReadBuffer, host: string) {
    this.#buffer = buffer;
    this.#host = host;
  }

  /** The final head, once all of it has come; interim ones (100 Continue) are passed over. */
  read(method: string): Head | undefined {
    for (let view = this.#buffer.peek(); view !== undefined; view = this.#buffer.peek()) {
      const text = this.#partial === '' ? this.#whole(view) : this.#pieced(view);
      if (text === undefined) continue;
      const head = readHead(text, method, this.#host);
      if (head.status >= 200) {
        this.#interim = 0;
        return head;
      }
      if (head.status === 101 || ++this.#interim > MOST_INTERIM)
        throw this.#bad('the server answers and answers, and never to the request');
    }
    return undefined;
  }

  #whole(view: Buffer): string | undefined {
    const at = view.indexOf(END);
    if (at < 0) return this.#pieced(view);
    const text = view.toString('latin1', 0, at);
    this.#buffer.skip(at + END.length);
    return text;
  }

  #pieced(view: Buffer): string | undefined {
    const before = this.#partial.length;
    const joined = this.#partial + view.toString('latin1', 0, LONGEST_HEAD);
    // Its end may begin in what was there before.
    const at = joined.indexOf('\r\n\r\n', Math.max(0, before - 3));
    const end = at < 0 ? joined.length : at + END.length;
    if (end > LONGEST_HEAD) throw this.#bad('the head of the answer is too long');
    this.#buffer.skip(end - before);
    this.#partial = at < 0 ? joined : '';
    return at < 0 ? undefined : joined.slice(0, at);
  }

  #bad(what: string): BrokerError {
    return new BrokerError('bad_response', `${this.#host}: ${what}`);
  }
}
