import {
  asBrokerError,
  BrokerError,
  type ByteRange,
  type ByteStream,
  backoffMs,
  type Item,
  pause,
  type RetryPolicy,
  streamOf,
} from '../../../core/api/index.ts';
import type { GoogleClient, GoogleResponse } from '../http.ts';
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
  async open(item: Item, range: ByteRange | undefined, signal: AbortSignal): Promise<ByteStream> {
    const start = range?.start ?? 0;
    const end = range?.end ?? item.size;
    if (end === undefined) throw new BrokerError('internal', `${item.id}: its size is not known`);
    if (start >= end) return streamOf();
    const first = await this.#connect(item, start, end, signal);
    return this.#bytes(item, first, start, end, signal);
  }

  async *#bytes(
    item: Item,
    first: GoogleResponse,
    start: number,
    end: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    let response: GoogleResponse | undefined = first;
    let at = start;
    let failedAt = start;
    for (let failures = 0; ; ) {
      try {
        response ??= await this.#connect(item, at, end, signal);
        for await (const chunk of wanted(this.#client.chunks(response.body), skipOf(response, at), end - at)) {
          at += chunk.byteLength;
          yield chunk;
        }
        if (at >= end) return;
        throw new BrokerError('truncated', `${item.id}: ended at byte ${at}, ${end} expected`);
      } catch (thrown) {
        const error = asBrokerError(thrown);
        response?.body.destroy();
        response = undefined;
        if (at - failedAt >= PROGRESS) failures = 0;
        failedAt = at;
        if (error.next !== 'retry' || ++failures >= this.#resume.attempts || signal.aborted || at >= end) throw error;
        await pause(backoffMs(this.#resume, failures, error.retryAfterMs), signal);
      }
    }
  }

  async #connect(item: Item, start: number, end: number, signal: AbortSignal): Promise<GoogleResponse> {
    const { name, generation } = refSchema.parse(item.ref);
    const project =
      this.#config.userProject === undefined ? '' : `&userProject=${encodeURIComponent(this.#config.userProject)}`;
    const path = `/storage/v1/b/${this.#config.bucket}/o/${encodeURIComponent(name)}?alt=media&generation=${generation}${project}`;
    const whole = start === 0 && end === item.size;
    // Accept-Encoding asks for the stored bytes: without it gzip objects come decompressed, without length or proof.
    const headers = { 'accept-encoding': 'gzip', ...(whole ? {} : { range: `bytes=${start}-${end - 1}` }) };
    const response = await this.#client.get({ path, headers, signal });
    const problem = await this.#problem(item, { name, generation }, response, { whole, start, end }, signal);
    if (problem === undefined) return response;
    response.body.destroy();
    throw problem;
  }

  async #problem(
    item: Item,
    { name, generation }: { readonly name: string; readonly generation: string },
    response: GoogleResponse,
    { whole, start, end }: { readonly whole: boolean; readonly start: number; readonly end: number },
    signal: AbortSignal,
  ) {
    const what = `read ${item.id}`;
    const { status, headers } = response;
    if (
      status === 200 &&
      headers['x-goog-stored-content-encoding'] === 'gzip' &&
      headers['content-encoding'] !== 'gzip'
    ) {
      return new BrokerError(
        'bad_response',
        `${what}: the server decompressed the object although it was asked not to`,
      );
    }
    if (status === (whole ? 200 : 206)) {
      const range = /^bytes (\d+)-(\d+)\//.exec(headers['content-range'] ?? '');
      const wrong = !whole && (Number(range?.[1] ?? -1) !== start || Number(range?.[2] ?? -1) >= end);
      return wrong ? new BrokerError('bad_response', `${what}: another range than ${start}- was answered`) : undefined;
    }
    // The whole of it: what comes before the range is passed over.
    if (status === 200 && (headers['x-goog-generation'] ?? generation) === generation) return undefined;
    if (status === 200) return new BrokerError('bad_response', `${what}: another generation was answered`);
    const answer = await this.#client.failedAnswer(response);
    if (status !== 404) return readFailure(what, this.#config, answer);
    const now = await this.#listing.one(name, signal);
    if (now === undefined) return new BrokerError('source_gone', `${item.id} was deleted after it was listed`);
    return new BrokerError('source_changed', `${item.id} was replaced by ${now.id}`);
  }
}

/** What a server that ignores Range sends before the bytes that were asked for. */
const skipOf = ({ status }: GoogleResponse, at: number): number => (status === 200 ? at : 0);

/** What comes after the first `skip` bytes. One byte more than `length` is passed on: whoever counts finds it. */
async function* wanted(chunks: AsyncIterable<Uint8Array>, skip: number, length: number): AsyncGenerator<Uint8Array> {
  if (skip === 0) return yield* chunks;
  let [before, left] = [skip, length];
  for await (const chunk of chunks) {
    const piece = chunk.subarray(Math.min(before, chunk.byteLength)).subarray(0, left);
    before = Math.max(0, before - chunk.byteLength);
    left -= piece.byteLength;
    if (piece.byteLength > 0) yield piece;
    if (left === 0) return;
  }
}
