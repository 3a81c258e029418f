import type { Socket } from 'node:net';
import { BrokerError } from '../api/errors.ts';
import type { HttpRequest, HttpResponse, SentBody } from '../api/transport.ts';
import { earlyAnswer, isSent, largeAsSent } from './bodies.ts';
import { bodyOf, type Connection, LaneBody } from './body.ts';
import { Answered, connectionError, tooShort } from './failure.ts';
import type { Head } from './head.ts';
import { HeadReader } from './head-reader.ts';
import { ReadBuffer } from './read-buffer.ts';
import { ONE_WRITE, Sending } from './sending.ts';
import type { Watched } from './watch.ts';

/** Enough for one record of TLS. */
const BASE = 16 * 1024;
const DEFAULT_IDLE_MS = 30_000;
const DEFAULT_DRIP_MS = 60_000;
const EMPTY = new Uint8Array();

/** How a lane is connected: with the reads as `onread` of Node.js. */
export type Connect = (onread: {
  readonly buffer: () => Buffer;
  readonly callback: (count: number) => boolean;
}) => Socket;

export interface LaneEvents {
  /** The lane may carry another request, or is closed. */
  idle(lane: Lane): void;
  throttled(): void;
}

/**
 * One connection that carries one request after the other (HTTP/1.1, no pipelining). Reads go straight into memory that
 * is used again, and from there into whatever takes them.
 *
 * Source: https://nodejs.org/api/net.html#socketconnectoptions-connectlistener (`onread`), RFC 9112.
 */
export class Lane implements Connection, Watched {
  readonly host: string;
  readonly buffer = new ReadBuffer(Buffer.allocUnsafeSlow(BASE));
  closed: BrokerError | undefined;
  isEnded = false;
  passed = 0;
  /** Requests that were answered. */
  answered = 0;
  /** Whether anything of the answer to the present request has come. */
  hasBegun = false;
  readonly #socket: Socket;
  readonly #events: LaneEvents;
  readonly #sending: Sending;
  readonly #heads: HeadReader;
  #request: HttpRequest | undefined;
  /** Of the last request, also while the rest of it is written. */
  #limits: Pick<HttpRequest, 'idleMs' | 'dripMs'> | undefined;
  #isAnswered = false;
  /** The body is made, or cut into pieces, while it is sent. */
  #isSending = false;
  #answer: PromiseWithResolvers<HttpResponse> | undefined;
  #body: LaneBody | undefined;
  #keepsAlive = true;
  #early: Promise<HttpResponse> | undefined;
  #isPaused = false;

  constructor(host: string, connect: Connect, events: LaneEvents) {
    this.host = host;
    this.#events = events;
    this.#heads = new HeadReader(this.buffer, host);
    this.#socket = connect({ buffer: () => this.buffer.next(), callback: (count) => this.#read(count) });
    this.#sending = new Sending(this.#socket, host, () => this.#written());
    this.#socket.on('error', (error) => this.destroy(connectionError(host, error)));
    this.#socket.on('end', () => this.#ended());
    this.#socket.on('close', () => this.destroy(new BrokerError('network', `${host}: the connection was closed`)));
  }

  get idleMs(): number {
    return this.#limits?.idleMs ?? DEFAULT_IDLE_MS;
  }

  get dripMs(): number {
    return this.#limits?.dripMs ?? DEFAULT_DRIP_MS;
  }

  get waits(): 'answer' | 'bytes' | undefined {
    // A slow line is no drip: that a write ends now and then is all that is asked of whoever takes a body.
    if (this.#sending.isWriting) return 'answer';
    if (this.#request === undefined) return undefined;
    if (this.#body === undefined) return this.#sending.isWhole ? 'answer' : undefined;
    return (this.#isPaused && this.buffer.isFull) || this.#body.hasCome ? undefined : 'bytes';
  }

  stalled(what: string): void {
    this.destroy(new BrokerError('timeout', `${this.host}: ${what}`));
  }

  hold(inUse: boolean): void {
    if (inUse) this.#socket.ref();
    else this.#socket.unref();
  }

  /** Sends a request; the lane is idle before, and again when the body of the answer has ended. */
  async exchange(request: HttpRequest, head: string): Promise<HttpResponse> {
    if (this.closed !== undefined) throw this.closed;
    const body = largeAsSent(request.body, ONE_WRITE / 2);
    this.#request = request;
    this.#limits = request;
    this.#isAnswered = false;
    this.#answer = Promise.withResolvers();
    const { promise } = this.#answer;
    this.#early = undefined;
    this.hasBegun = false;
    this.#sending.begin(head, isSent(body) ? body.size : (body?.byteLength ?? 0));
    this.#isSending = isSent(body);
    if (!isSent(body)) {
      this.#sending.take(body ?? EMPTY)?.catch(() => undefined);
      return promise;
    }
    promise.catch(() => undefined);
    const failure = await this.#send(body);
    if (this.#early !== undefined) return this.#early;
    // An answer to the whole of it holds, whatever became of the connection afterwards.
    if (failure !== undefined && !this.#isAnswered) throw failure.error;
    return promise;
  }

  /** @returns what ended the sending before its end. */
  async #send(body: SentBody): Promise<{ readonly error: unknown } | undefined> {
    try {
      await body.send((chunk) => (chunk.byteLength === 0 ? undefined : this.#take(chunk)));
      // Of a body without bytes nothing was taken.
      if (body.size === 0) this.#take(EMPTY);
      if (!this.#sending.isWhole) throw tooShort(this.host, this.#sending.sent, body.size);
      return undefined;
    } catch (error) {
      if (this.#early === undefined) this.destroy(connectionError(this.host, error));
      return { error };
    }
  }

  #take(chunk: Uint8Array): Promise<void> | undefined {
    if (this.#early !== undefined) throw new Answered();
    if (this.closed !== undefined) throw this.closed;
    return this.#sending.take(chunk);
  }

  #written(): void {
    this.passed++;
    if (this.#request === undefined) this.#release();
  }

  #read(count: number): boolean {
    this.passed += count;
    this.buffer.filled(count);
    try {
      this.#arrived();
    } catch (error) {
      this.destroy(connectionError(this.host, error));
    }
    if (this.closed !== undefined) return false;
    // Until it is resumed: what TLS still delivers after a pause may find room again, and resumes nothing.
    this.#isPaused ||= this.buffer.isFull;
    return !this.#isPaused;
  }

  #arrived(): void {
    const request = this.#request;
    if (request === undefined) throw this.#bad('the server sent what nobody asked for');
    this.hasBegun = true;
    if (this.#body === undefined) {
      const head = this.#heads.read(request.method);
      if (head === undefined) return;
      this.#begin(request, head);
    }
    this.#body?.arrived();
    // What comes after the body must not go into memory that is somebody else's by then.
    if (this.#body?.hasCome !== false) this.buffer.takeBack();
    this.#body?.endIfEmpty();
  }

  #begin(request: HttpRequest, { status, headers, framing, keepsAlive }: Head): void {
    if (status === 429 || status === 503) this.#events.throttled();
    const { isWhole, isWriting } = this.#sending;
    const isEarly = !isWhole || (isWriting && status >= 300);
    this.#keepsAlive = keepsAlive && !isEarly;
    this.answered++;
    const body = new LaneBody(this, framing);
    this.#body = body;
    if (isEarly && this.#isSending) {
      if (status < 300) throw this.#bad('the request was answered before its body was sent');
      this.#early = this.#collected(status, headers, body);
      return;
    }
    if (request.scratch !== undefined && typeof framing === 'object') this.buffer.lend(request.scratch);
    this.#isAnswered = true;
    this.#answer?.resolve({ status, headers, body });
  }

  /** Reads an early answer, and ends the sending: the memory that is being sent is free only when the socket is gone. */
  async #collected(status: number, headers: HttpResponse['headers'], body: LaneBody): Promise<HttpResponse> {
    const bytes = await earlyAnswer(body);
    this.destroy(new BrokerError('network', `${this.host}: the request was answered before its body was sent`));
    return { status, headers, body: bodyOf(bytes) };
  }

  freed(): void {
    if (this.closed !== undefined || !this.#isPaused || this.buffer.isFull) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  finished(): void {
    this.#request = undefined;
    this.#answer = undefined;
    this.#body = undefined;
    this.buffer.takeBack();
    // Of nobody's request: the next answer must not begin with it.
    if (this.buffer.waiting > 0) this.destroy(this.#bad('the server sent what nobody asked for'));
    if (!this.#keepsAlive || this.isEnded) this.destroy(this.#gone('the connection has ended'));
    this.freed();
    if (!this.#sending.isWriting) this.#release();
  }

  #release(): void {
    if (this.closed === undefined) this.#events.idle(this);
  }

  #ended(): void {
    this.isEnded = true;
    if (this.#body !== undefined && this.#sending.isWhole) this.#body.wake();
    else this.destroy(this.#gone('the connection ended without an answer'));
  }

  destroy(reason: BrokerError): void {
    if (this.closed !== undefined) return;
    this.closed = reason;
    // What the socket may still deliver must not go into memory that is somebody else's by then.
    this.buffer.takeBack();
    this.#socket.destroy();
    this.#events.idle(this);
    this.#answer?.reject(reason);
    this.#sending.fail(this.#early === undefined ? reason : new Answered());
    this.#body?.wake();
  }

  #bad(what: string): BrokerError {
    return new BrokerError('bad_response', `${this.host}: ${what}`);
  }

  #gone(what: string): BrokerError {
    return new BrokerError('network', `${this.host}: ${what}`);
  }
}
