import type { Take } from '../api/bytes.ts';
import { BrokerError } from '../api/errors.ts';
import type { HttpBody } from '../api/transport.ts';
import { ChunkedReader } from './chunked.ts';
import type { Framing } from './head.ts';
import type { ReadBuffer } from './read-buffer.ts';

/** What a body needs of the connection that it comes from. */
export interface Connection {
  readonly host: string;
  readonly buffer: ReadBuffer;
  /** Why nothing more comes; undefined while the connection is open. */
  readonly closed: BrokerError | undefined;
  /** The server has ended the connection, in order. */
  readonly isEnded: boolean;
  /** Memory was freed: reading may go on. */
  freed(): void;
  /** The body was read to its end. */
  finished(): void;
  destroy(reason: BrokerError): void;
}

const GIVEN_UP = new BrokerError('stopped', 'the answer was given up');

/** The body of an answer, read from the buffer of its connection as it comes. */
export class LaneBody implements HttpBody {
  readonly #connection: Connection;
  readonly #chunked: ChunkedReader | undefined;
  /** Bytes that were not taken yet; undefined where nobody says how many there are. */
  #left: number | undefined;
  #isFinished = false;
  #wake: (() => void) | undefined;

  constructor(connection: Connection, framing: Framing) {
    this.#connection = connection;
    this.#left = typeof framing === 'object' ? framing.length : undefined;
    this.#chunked = framing === 'chunked' ? new ChunkedReader(connection.buffer, connection.host) : undefined;
  }

  /** Whether all of it has come. A body without a length may say so late. */
  get hasCome(): boolean {
    return this.#left === undefined ? this.#isFinished : this.#connection.buffer.waiting >= this.#left;
  }

  /** Something has come. @throws BrokerError when more came than there should be. */
  arrived(): void {
    const { buffer, host } = this.#connection;
    if (this.#left !== undefined && buffer.waiting > this.#left)
      throw new BrokerError('bad_response', `${host}: the answer is longer than it says`);
    this.wake();
  }

  /** Whoever waits looks again: something has come, or nothing more will. */
  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** Reads an empty body to its end. */
  endIfEmpty(): void {
    if (this.#left === 0) this.#finish();
  }

  async pump(take: Take): Promise<void> {
    try {
      for (;;) {
        const view = this.#next();
        if (view === undefined) return;
        if (view === 'wait') {
          await this.#arrival();
          continue;
        }
        const taken = take(view);
        if (taken !== undefined) await taken;
        this.#free();
      }
    } finally {
      this.discard();
    }
  }

  /** Copies: whoever iterates may keep what it gets. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const view = this.#next();
        if (view === undefined) return;
        if (view === 'wait') {
          await this.#arrival();
          continue;
        }
        const copy = Buffer.from(view);
        this.#free();
        yield copy;
      }
    } finally {
      this.discard();
    }
  }

  discard(): void {
    if (this.#isFinished) return;
    const { buffer } = this.#connection;
    buffer.free();
    if (this.#left !== undefined && buffer.waiting >= this.#left) {
      // It is here already: the connection is still good.
      while (buffer.waiting > 0) buffer.skip(buffer.waiting);
      this.#finish();
    } else this.#connection.destroy(GIVEN_UP);
  }

  /** What is here already; `wait` for more to come, and undefined at the end. */
  #next(): Buffer | 'wait' | undefined {
    if (this.#isFinished) return undefined;
    const { closed, isEnded, host } = this.#connection;
    // What has come before a connection broke is good; what comes with a broken answer is not.
    if (closed?.code === 'bad_response') throw closed;
    const view = this.#taken();
    if (view !== undefined) return view;
    if (this.#isAtEnd) return this.#finish();
    if (closed !== undefined) throw closed;
    if (isEnded) throw new BrokerError('network', `${host}: the connection ended in the middle of the answer`);
    // What frames the chunks was freed, too, by nobody who would have said so.
    this.#connection.freed();
    return 'wait';
  }

  #taken(): Buffer | undefined {
    if (this.#chunked !== undefined) return this.#chunked.take();
    const { buffer } = this.#connection;
    if (buffer.waiting === 0) return undefined;
    const view = buffer.take(this.#left ?? Number.POSITIVE_INFINITY);
    if (this.#left !== undefined) this.#left -= view.length;
    return view;
  }

  get #isAtEnd(): boolean {
    if (this.#chunked !== undefined) return this.#chunked.ended;
    return this.#left === undefined ? this.#connection.isEnded : this.#left === 0;
  }

  #free(): void {
    this.#connection.buffer.free();
    if (this.#left === 0) this.#finish();
    else this.#connection.freed();
  }

  #finish(): undefined {
    this.#isFinished = true;
    this.#connection.finished();
  }

  #arrival(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** A body that is in memory already. */
export const bodyOf = (bytes: Uint8Array): HttpBody => ({
  async pump(take) {
    if (bytes.byteLength > 0) await take(bytes);
  },
  async *[Symbol.asyncIterator]() {
    if (bytes.byteLength > 0) yield bytes;
  },
  discard() {},
});
