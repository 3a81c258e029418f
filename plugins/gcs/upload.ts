import { randomUUID } from 'node:crypto';
import {
  asBrokerError,
  BrokerError,
  backoffMs,
  type HttpResponse,
  pause,
  type RetryPolicy,
} from '../../core/api/index.ts';
import { commonFailure, type FailedAnswer, type GoogleClient } from '../google/http.ts';

const RETRIES: RetryPolicy = { attempts: 5, baseDelayMs: 200, maxDelayMs: 20_000 };
/** Ending a session that is given up must not wait for the signal of a run that was stopped. */
const CLOSING_MS = 10_000;

/** An object that is to be. */
export interface Target {
  readonly bucket: string;
  readonly name: string;
  /** For messages: `gs://bucket/name`. */
  readonly url: string;
  readonly contentType: string;
  /** A resource of the JSON API: headers and metadata. */
  readonly resource: Readonly<Record<string, unknown>>;
  /** `ifGenerationMatch` and the like. */
  readonly query: Readonly<Record<string, string>>;
  /** Of the identity, for what to grant. */
  readonly identity: string;
}

/** The resource has it as it is; a header takes no more than ASCII. */
const asHeader = (contentType: string): string =>
  /^[\x20-\x7e]+$/.test(contentType) ? contentType : 'application/octet-stream';

const queryOf = (parameters: Readonly<Record<string, string>>): string =>
  Object.entries(parameters)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&');

const pathOf = ({ bucket, name, query }: Target, uploadType: string): string =>
  `/upload/storage/v1/b/${bucket}/o?${queryOf({ uploadType, name, ...query })}`;

/**
 * Stores an object in one request, with the checksum that Cloud Storage compares before a reader can see it.
 *
 * Source: https://cloud.google.com/storage/docs/uploading-objects#uploading-an-object, https://cloud.google.com/storage/docs/data-validation
 * @param again called where the answer to a first try was lost and a second is refused: what is there now, if it is ours.
 */
export async function uploadAtOnce(
  client: GoogleClient,
  target: Target,
  bytes: Uint8Array,
  crc32c: string,
  signal: AbortSignal,
  again: () => Promise<unknown>,
): Promise<unknown> {
  const boundary = `isthmus-${randomUUID()}`;
  const resource = JSON.stringify({ ...target.resource, crc32c });
  const body = Buffer.concat([
    Buffer.from(`--${boundary}\r\ncontent-type: application/json; charset=utf-8\r\n\r\n${resource}\r\n`),
    Buffer.from(`--${boundary}\r\ncontent-type: ${asHeader(target.contentType)}\r\n\r\n`),
    bytes,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
  const headers = { 'content-type': `multipart/related; boundary=${boundary}` };
  const send = () => client.get({ method: 'POST', path: pathOf(target, 'multipart'), headers, body, signal });
  return tried(signal, async (attempt) => {
    const response = await send();
    if (response.status === 412 && attempt > 1) {
      const there = await again();
      if (there !== undefined) {
        response.body.discard();
        return there;
      }
    }
    if (response.status === 200) return client.json(response);
    throw writeFailure(target, await client.failedAnswer(response));
  });
}

/**
 * A resumable upload: chunk after chunk, each sent again from where Cloud Storage has it, and nothing to see before the
 * last.
 *
 * Source: https://cloud.google.com/storage/docs/performing-resumable-uploads
 */
export class Session {
  readonly #client: GoogleClient;
  readonly #target: Target;
  /** It lets whoever has it write: it is in no log, record or error. */
  readonly #path: string;

  private constructor(client: GoogleClient, target: Target, path: string) {
    this.#client = client;
    this.#target = target;
    this.#path = path;
  }

  static async begin(client: GoogleClient, target: Target, signal: AbortSignal): Promise<Session> {
    const body = JSON.stringify(target.resource);
    return tried(signal, async () => {
      const headers = { 'x-upload-content-type': asHeader(target.contentType) };
      const response = await client.get({ method: 'POST', path: pathOf(target, 'resumable'), headers, body, signal });
      if (response.status !== 200) throw writeFailure(target, await client.failedAnswer(response));
      response.body.discard();
      const url = URL.parse(response.headers.location ?? '');
      if (url === null) throw new BrokerError('bad_response', `write ${target.url}: the answer names no session`);
      // Whatever host it names: the token goes to the one that was asked.
      return new Session(client, target, url.pathname + url.search);
    });
  }

  /**
   * Sends bytes that begin at `start`.
   *
   * @param end of the whole object, with its checksum, when these are the last.
   * @returns the resource of the object after the last ones.
   */
  async send(
    bytes: Uint8Array,
    start: number,
    end: { readonly size: number; readonly crc32c: string } | undefined,
    signal: AbortSignal,
  ): Promise<unknown> {
    let at = start;
    return tried(signal, async (attempt) => {
      if (attempt > 1) {
        const state = await this.#state(end?.size, signal);
        if (state.done !== undefined) return state.done;
        if (state.held < start || state.held > start + bytes.byteLength)
          throw new BrokerError('write_conflict', `write ${this.#target.url}: the session is at another byte`);
        at = state.held;
      }
      const rest = bytes.subarray(at - start);
      if (rest.byteLength === 0 && end === undefined) return undefined;
      const to = start + bytes.byteLength - 1;
      const range = rest.byteLength === 0 ? `bytes */${end?.size}` : `bytes ${at}-${to}/${end?.size ?? '*'}`;
      const headers: Record<string, string> = {
        'content-range': range,
        'content-type': asHeader(this.#target.contentType),
      };
      if (end !== undefined) headers['x-goog-hash'] = `crc32c=${end.crc32c}`;
      const response = await this.#put(headers, rest, signal);
      if (response.status === 200 || response.status === 201) return this.#client.json(response);
      if (response.status !== 308) throw await this.#failure(response);
      response.body.discard();
      if (end === undefined && heldIn(response) === to + 1) return undefined;
      throw new BrokerError('unavailable', `write ${this.#target.url}: only a part of a chunk was taken`);
    });
  }

  /** Ends it: nothing of it is left. What fails here is over within a week by itself, and never to be seen. */
  async abandon(): Promise<void> {
    const signal = AbortSignal.timeout(CLOSING_MS);
    await this.#client
      .get({ method: 'DELETE', path: this.#path, headers: { 'content-length': '0' }, signal })
      .then(({ body }) => body.discard())
      .catch(() => undefined);
  }

  async #state(
    size: number | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly held: number; readonly done?: unknown }> {
    const response = await this.#put({ 'content-range': `bytes */${size ?? '*'}` }, new Uint8Array(), signal);
    if (response.status === 200 || response.status === 201) return { held: 0, done: await this.#client.json(response) };
    if (response.status !== 308) throw await this.#failure(response);
    response.body.discard();
    return { held: heldIn(response) };
  }

  /** A session that is gone says nothing of the bucket: it is begun anew. */
  async #failure(response: HttpResponse): Promise<BrokerError> {
    const answer = await this.#client.failedAnswer(response);
    if (answer.status !== 404 && answer.status !== 410) return writeFailure(this.#target, answer);
    return new BrokerError('write_conflict', `write ${this.#target.url}: HTTP ${answer.status}: ${answer.message}`);
  }

  #put(headers: Readonly<Record<string, string>>, body: Uint8Array, signal: AbortSignal): Promise<HttpResponse> {
    return this.#client.get({ method: 'PUT', path: this.#path, headers, body, signal });
  }
}

/** How many bytes a session has: `bytes=0-524287`. */
const heldIn = ({ headers }: HttpResponse): number =>
  Number(/^bytes=0-(\d+)$/.exec(headers.range ?? '')?.[1] ?? -1) + 1;

/** Again after what passes by itself. @param attempt gets the number of the try, from 1. */
async function tried<T>(signal: AbortSignal, attempt: (number: number) => Promise<T>): Promise<T> {
  for (let number = 1; ; number++) {
    try {
      return await attempt(number);
    } catch (thrown) {
      const error = asBrokerError(thrown);
      const passes = ['throttled', 'unavailable', 'network', 'timeout'].includes(error.code);
      if (!passes || number >= RETRIES.attempts || signal.aborted) throw error;
      await pause(backoffMs(RETRIES, number, error.retryAfterMs), signal);
    }
  }
}

/** What it means that an object cannot be written. */
export function writeFailure({ url, bucket, identity }: Target, answer: FailedAnswer): BrokerError {
  const what = `write ${url}: HTTP ${answer.status}: ${answer.message}`;
  const { status, message } = answer;
  const common = commonFailure(`write ${url}`, answer);
  if (common !== undefined) return common;
  if (status === 412) return new BrokerError('conflict', what);
  if (status === 404)
    return new BrokerError('bucket_missing', `gs://${bucket} does not exist`, {
      hint: `Correct bucket: ${bucket} in the sink.`,
    });
  if (status === 403)
    return new BrokerError('permission_denied', what, {
      hint: /retention|hold/i.test(message)
        ? 'A retention policy or a hold keeps the object that is there: write under another key.'
        : /\bKMS\b|CryptoKey/i.test(message)
          ? 'Let the service agent of Cloud Storage use the key (roles/cloudkms.cryptoKeyEncrypterDecrypter).'
          : `Grant roles/storage.objectUser on gs://${bucket} to the identity "${identity}"; changes take a minute or more.`,
    });
  if (status === 400 && /CRC32C|MD5|hash|checksum/i.test(message)) return new BrokerError('checksum_mismatch', what);
  if (status === 400 && /object name/i.test(message)) return new BrokerError('key_refused', what);
  return new BrokerError('invalid_request', what);
}
