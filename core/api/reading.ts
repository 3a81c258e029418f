import type { ByteRange, ByteStream, Take } from './bytes.ts';
import { asBrokerError, BrokerError } from './errors.ts';
import type { Item } from './item.ts';
import { backoffMs, pause, type RetryPolicy } from './retry.ts';
import type { HttpResponse } from './transport.ts';

/** Resumes within one read. The engine's own retries come on top. */
const RESUME: RetryPolicy = { attempts: 5, baseDelayMs: 100, maxDelayMs: 5000 };

/** So much progress begins the count of failures anew; less would let a server drip for ever. */
const PROGRESS = 1024 * 1024;

export interface ResumedRead {
  readonly item: Item;
  readonly range: ByteRange;
  /** The answer to the request for the whole range. */
  readonly first: HttpResponse;
  /**
   * Asks for what is left, from this byte on, of the very version that was listed. It answers 200 for the whole of the
   * item, or 206 for the range.
   *
   * @throws BrokerError when it is another version, or cannot be had.
   */
  readonly connect: (at: number) => Promise<HttpResponse>;
  readonly policy?: RetryPolicy | undefined;
  readonly signal: AbortSignal;
}

/** A stream of a range of an item over HTTP: a connection that breaks or stalls is resumed at the next byte. */
export const resumedRead = (options: ResumedRead): ByteStream => new Reading(options);

/** One read of a range, over as many connections as it takes. */
class Reading implements ByteStream {
  readonly #item: Item;
  readonly #end: number;
  readonly #connect: (at: number) => Promise<HttpResponse>;
  readonly #policy: RetryPolicy;
  readonly #signal: AbortSignal;
  #response: HttpResponse | undefined;
  #first: HttpResponse | undefined;
  /** The next byte that is wanted. */
  #at: number;
  #failedAt: number;
  #failures = 0;

  constructor({ item, range: { start, end }, first, connect, policy = RESUME, signal }: ResumedRead) {
    this.#item = item;
    this.#at = start;
    this.#failedAt = start;
    this.#end = end;
    this.#response = undefined;
    this.#first = first;
    this.#connect = connect;
    this.#policy = policy;
    this.#signal = signal;
  }

  async pump(take: Take): Promise<void> {
    let refused: { readonly error: unknown } | undefined;
    const refuse = (error: unknown): never => {
      refused = { error };
      throw error;
    };
    for (;;) {
      try {
        this.#response ??= await this.#connected();
        const cut = this.#cutter(this.#response);
        await this.#response.body.pump((chunk) => {
          const piece = cut(chunk);
          if (piece.byteLength === 0) return this.#isOver ? refuse(ENOUGH) : undefined;
          this.#at += piece.byteLength;
          try {
            return take(piece)?.catch(refuse);
          } catch (error) {
            return refuse(error);
          }
        });
        if (this.#ended()) return;
      } catch (thrown) {
        if (refused?.error === ENOUGH) return;
        if (refused !== undefined) throw refused.error;
        if (this.#isWithoutRest(thrown)) return;
        await this.#failed(thrown);
      }
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        try {
          this.#response ??= await this.#connected();
          const cut = this.#cutter(this.#response);
          for await (const chunk of this.#response.body) {
            const piece = cut(chunk);
            this.#at += piece.byteLength;
            if (piece.byteLength > 0) yield piece;
            else if (this.#isOver) return;
          }
          if (this.#ended()) return;
        } catch (thrown) {
          if (this.#isWithoutRest(thrown)) return;
          await this.#failed(thrown);
        }
      }
    } finally {
      this.#response?.body.discard();
      this.#first?.body.discard();
    }
  }

  /** @throws BrokerError `bad_response` for another range than was asked for. */
  async #connected(): Promise<HttpResponse> {
    const response = this.#first ?? (await this.#connect(this.#at));
    this.#first = undefined;
    const begins = /^bytes (\d+)-/.exec(response.headers['content-range'] ?? '')?.[1];
    if (response.status !== 206 || Number(begins ?? -1) === this.#at) return response;
    response.body.discard();
    throw new BrokerError('bad_response', `${this.#item.id}: another range than from byte ${this.#at} on was answered`);
  }

  get #isOver(): boolean {
    return this.#at >= this.#end;
  }

  /** @throws BrokerError when the server said that this was all, and it was not. */
  #ended(): boolean {
    if (this.#isOver) return true;
    throw new BrokerError('truncated', `${this.#item.id}: ended at byte ${this.#at}, ${this.#end} expected`);
  }

  /** All that is wanted has come, and the rest of a longer answer has not. */
  #isWithoutRest(thrown: unknown): boolean {
    return this.#isOver && ['network', 'timeout'].includes(asBrokerError(thrown).code);
  }

  /** Waits, if it is worth going on. */
  async #failed(thrown: unknown): Promise<void> {
    const error = asBrokerError(thrown);
    this.#response?.body.discard();
    this.#response = undefined;
    if (this.#at - this.#failedAt >= PROGRESS) this.#failures = 0;
    this.#failedAt = this.#at;
    const isLast = ++this.#failures >= this.#policy.attempts;
    if (error.next !== 'retry' || isLast || this.#signal.aborted || this.#isOver) throw error;
    await pause(backoffMs(this.#policy, this.#failures, error.retryAfterMs), this.#signal);
  }

  /**
   * What of the chunks of an answer is wanted: a server that ignores Range sends what comes before it, too, and after.
   * Of one that does not, everything: whoever counts finds a byte too many.
   */
  #cutter({ status }: HttpResponse): (chunk: Uint8Array) => Uint8Array {
    const isWhole = this.#at === 0 && this.#end === this.#item.size;
    if (status !== 200 || isWhole) return (chunk) => chunk;
    let before = this.#at;
    let left = this.#end - this.#at;
    return (chunk) => {
      const piece = chunk.subarray(Math.min(before, chunk.byteLength)).subarray(0, left);
      before = Math.max(0, before - chunk.byteLength);
      left -= piece.byteLength;
      return piece;
    };
  }
}

/** Thrown to end a pump whose rest is not wanted. */
const ENOUGH = Symbol('enough');
