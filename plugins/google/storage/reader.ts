import {
  asBrokerError,
  BrokerError,
  type ByteRange,
  type ByteStream,
  backoffMs,
  type HttpResponse,
  type Item,
  type OpenOptions,
  pause,
  type RetryPolicy,
  streamOf,
  type Take,
} from '../../../core/api/index.ts';
import type { GoogleClient } from '../http.ts';
import { readFailure } from './errors.ts';
import type { GcsListing } from './listing.ts';
import { refSchema } from './object.ts';
import type { StoragePlace } from './place.ts';

/** Resumes within one read. The engine's own retries come on top. */
const RESUME: RetryPolicy = { attempts: 5, baseDelayMs: 100, maxDelayMs: 5000 };

/** So much progress begins the count of failures anew; less would let a server drip for ever. */
const PROGRESS = 1024 * 1024;

/**
 * Reads the stored bytes of one generation. A connection that breaks or stalls is resumed at the next byte; pinning
 * the generation means that a resumed read never joins two versions.
 *
 * Own code, because the download path of @google-cloud/storage ends the process on a 503 and hangs on a stalled body.
 * Source: https://cloud.google.com/storage/docs/json_api/v1/objects/get
 */
export class GcsReader {
  readonly #client: GoogleClient;
  readonly #config: StoragePlace;
  readonly #listing: GcsListing;
  readonly #resume: RetryPolicy;

  constructor(client: GoogleClient, config: StoragePlace, listing: GcsListing, resume = RESUME) {
    this.#client = client;
    this.#config = config;
    this.#listing = listing;
    this.#resume = resume;
  }

  /** Connects before it answers, so that what is wrong with the object is known at once. */
  async open(item: Item, options: OpenOptions): Promise<ByteStream> {
    const { range } = options;
    const start = range?.start ?? 0;
    const end = range?.end ?? item.size;
    if (end === undefined) throw new BrokerError('internal', `${item.id}: its size is not known`);
    if (start >= end) return streamOf();
    const ref = refSchema.parse(item.ref);
    const connect = (at: number): Promise<HttpResponse> => this.#connect(item, ref, at, end, options);
    return new Reading(item, { start, end }, await connect(start), connect, this.#resume, options.signal);
  }

  async #connect(
    item: Item,
    { name, generation }: Version,
    start: number,
    end: number,
    { signal, scratch }: OpenOptions,
  ): Promise<HttpResponse> {
    const project =
      this.#config.userProject === undefined ? '' : `&userProject=${encodeURIComponent(this.#config.userProject)}`;
    const path = `/storage/v1/b/${this.#config.bucket}/o/${encodeURIComponent(name)}?alt=media&generation=${generation}${project}`;
    const whole = start === 0 && end === item.size;
    // Accept-Encoding asks for the stored bytes: without it gzip objects come decompressed, without length or proof.
    const headers = whole ? STORED : { ...STORED, range: `bytes=${start}-${end - 1}` };
    const response = await this.#client.get({ path, headers, signal, scratch });
    const problem = await this.#problem(item, { name, generation }, response, { whole, start, end }, signal);
    if (problem === undefined) return response;
    response.body.discard();
    throw problem;
  }

  async #problem(
    item: Item,
    { name, generation }: Version,
    response: HttpResponse,
    { whole, start, end }: { readonly whole: boolean; readonly start: number; readonly end: number },
    signal: AbortSignal,
  ) {
    const { status, headers } = response;
    const bad = (what: string): BrokerError => new BrokerError('bad_response', `read ${item.id}: ${what}`);
    if (
      status === 200 &&
      headers['x-goog-stored-content-encoding'] === 'gzip' &&
      headers['content-encoding'] !== 'gzip'
    )
      return bad('the server decompressed the object although it was asked not to');
    if (status === (whole ? 200 : 206)) {
      if (whole) return undefined;
      const range = /^bytes (\d+)-(\d+)\//.exec(headers['content-range'] ?? '');
      const wrong = Number(range?.[1] ?? -1) !== start || Number(range?.[2] ?? -1) >= end;
      return wrong ? bad(`another range than ${start}- was answered`) : undefined;
    }
    // The whole of it: what comes before the range is passed over.
    if (status === 200 && (headers['x-goog-generation'] ?? generation) === generation) return undefined;
    if (status === 200) return bad('another generation was answered');
    const answer = await this.#client.failedAnswer(response);
    if (status !== 404) return readFailure(`read ${item.id}`, this.#config, answer);
    const now = await this.#listing.one(name, signal);
    if (now === undefined) return new BrokerError('source_gone', `${item.id} was deleted after it was listed`);
    return new BrokerError('source_changed', `${item.id} was replaced by ${now.id}`);
  }
}

interface Version {
  readonly name: string;
  readonly generation: string;
}

const STORED = { 'accept-encoding': 'gzip' } as const;

/** One read of a range, over as many connections as it takes. */
class Reading implements ByteStream {
  readonly #item: Item;
  readonly #end: number;
  readonly #connect: (at: number) => Promise<HttpResponse>;
  readonly #policy: RetryPolicy;
  readonly #signal: AbortSignal;
  #response: HttpResponse | undefined;
  /** The next byte that is wanted. */
  #at: number;
  #failedAt: number;
  #failures = 0;

  constructor(
    item: Item,
    { start, end }: ByteRange,
    first: HttpResponse,
    connect: (at: number) => Promise<HttpResponse>,
    policy: RetryPolicy,
    signal: AbortSignal,
  ) {
    this.#item = item;
    this.#at = start;
    this.#failedAt = start;
    this.#end = end;
    this.#response = first;
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
        this.#response ??= await this.#connect(this.#at);
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
          this.#response ??= await this.#connect(this.#at);
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
    }
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
