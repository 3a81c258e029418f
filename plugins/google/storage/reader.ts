import {
  BrokerError,
  type ByteStream,
  type HttpResponse,
  type Item,
  type OpenOptions,
  type RetryPolicy,
  resumedRead,
  streamOf,
} from '../../../core/api/index.ts';
import type { GoogleClient } from '../http.ts';
import { readFailure } from './errors.ts';
import type { GcsListing } from './listing.ts';
import { refSchema } from './object.ts';
import type { StoragePlace } from './place.ts';

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
  readonly #resume: RetryPolicy | undefined;

  constructor(client: GoogleClient, config: StoragePlace, listing: GcsListing, resume?: RetryPolicy) {
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
    return resumedRead({
      item,
      range: { start, end },
      first: await connect(start),
      connect,
      policy: this.#resume,
      signal: options.signal,
    });
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
