import {
  type AwsCredentials,
  AwsSigner,
  BrokerError,
  backoffMs,
  type CredentialProvider,
  canonicalQuery,
  type HttpResponse,
  type PluginContext,
  parseRetryAfter,
  pause,
  type RetryPolicy,
  type SentBody,
  type Transport,
} from '../../core/api/index.ts';
import { EXPIRED, regionOf, type S3Place } from './client.ts';
import { addressOf, keyPath, type S3Address } from './endpoint.ts';
import { textIn } from './xml.ts';

/** S3 puts large uploads together before it answers. */
const IDLE_MS = 120_000;
const LONGEST_TEXT = 16 * 2 ** 20;
const LONGEST_ERROR = 64 * 1024;
const RETRIES: RetryPolicy = { attempts: 4, baseDelayMs: 100, maxDelayMs: 20_000 };
/** S3 takes a quarter of an hour; less than that is not worth a second request. */
const WRONG_CLOCK_MS = 4 * 60_000;
const NO_BODY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

const THROTTLED = /^(SlowDown|RequestTimeout|.*Throttling(Exception)?|RequestLimitExceeded)$/;

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** In full, prefix included; empty for the bucket. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** One that is made while it is sent may be asked for again: each `send` begins anew. */
  readonly body?: Uint8Array | SentBody;
  readonly signal: AbortSignal;
  /** What the text of the answer holds when it is whole. */
  readonly ends?: string;
  /** As in `HttpRequest`. */
  readonly dripMs?: number;
  readonly scratch?: Buffer;
}

export interface S3Answer extends Pick<HttpResponse, 'status' | 'headers' | 'body'> {
  /** Requests that it took. */
  readonly attempts: number;
}

/** What S3 answers instead of what was asked for. Holds what the answer says, and nothing of the request. */
export class S3Error extends Error {
  override readonly name: string;
  readonly status: number;
  readonly region: string | undefined;
  readonly retryAfter: string | undefined;
  /** By the clock of S3; milliseconds. */
  readonly date: number;

  constructor(name: string, message: string, status: number, headers: HttpResponse['headers'], region?: string) {
    super(message);
    this.name = name;
    this.status = status;
    this.region = region ?? headers['x-amz-bucket-region'];
    this.retryAfter = headers['retry-after'];
    this.date = Date.parse(headers.date ?? '');
  }
}

/**
 * The requests that carry data, without the SDK: signing one takes some ten microseconds instead of a millisecond, and
 * bodies pass through without being looked at. What is rare goes by way of the SDK (`client.ts`).
 *
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/API/Welcome.html
 */
export class S3Rest implements Disposable {
  readonly #address: S3Address;
  readonly #signer: AwsSigner;
  readonly #credentials: CredentialProvider<AwsCredentials>;
  readonly #transport: Transport;
  readonly #owner: string | undefined;
  /** By how much the clock of S3 is ahead, where that was so much that it refused a request. */
  #skewMs = 0;

  constructor(
    address: S3Address,
    signer: AwsSigner,
    credentials: CredentialProvider<AwsCredentials>,
    transport: Transport,
    owner: string | undefined,
  ) {
    this.#address = address;
    this.#signer = signer;
    this.#credentials = credentials;
    this.#transport = transport;
    this.#owner = owner;
  }

  /**
   * Sends a request, again after what passes by itself; but a body that is made while it is sent only where its
   * credentials had ended, or the clock was wrong: whoever makes it knows whether to try again.
   *
   * @returns an answer of 2xx, whose body is to be read or discarded. @throws S3Error, or BrokerError of the transport.
   */
  async send(request: S3Request): Promise<S3Answer> {
    const { result, attempts } = await this.#tried(request, async (response) => response);
    const { status, headers, body } = result;
    return { status, headers, body, attempts };
  }

  /** As `send`, with the body as text: one that breaks off, or says that it could not be done, is asked for again. */
  async text(request: S3Request): Promise<{ readonly text: string } & Omit<S3Answer, 'body'>> {
    const { result, attempts } = await this.#tried(request, async ({ status, headers, body }) => {
      const text = await textOf(body, LONGEST_TEXT);
      // S3 says 200 before it is done, and then perhaps that it could not.
      if (/<Error>/.test(text)) throw errorWithin(text);
      if (request.ends !== undefined && !text.includes(request.ends))
        throw new S3Error('IncompleteAnswer', `the answer does not end with ${request.ends}`, 503, {});
      return { status, headers, text };
    });
    return { ...result, attempts };
  }

  /** As `send`, where the body says nothing. */
  async done(request: S3Request): Promise<Omit<S3Answer, 'body'>> {
    const { body, ...answer } = await this.send(request);
    body.discard();
    return answer;
  }

  async #tried<T>(
    request: S3Request,
    read: (response: HttpResponse) => Promise<T>,
  ): Promise<{ readonly result: T; readonly attempts: number }> {
    const { signal } = request;
    let [isRenewed, isCorrected] = [false, false];
    for (let attempts = 1; ; attempts++) {
      try {
        return { result: await read(await this.#once(request)), attempts };
      } catch (error) {
        if (error instanceof S3Error && EXPIRED.has(error.name) && !isRenewed) {
          isRenewed = true;
          await this.#credentials.get({ fresh: true, signal });
        } else if (error instanceof S3Error && this.#isSkewed(error) && !isCorrected) {
          isCorrected = true;
          this.#skewMs = error.date - Date.now();
        } else if (!isWorthTrying(request, error) || attempts >= RETRIES.attempts || signal.aborted) throw error;
        else await pause(backoffMs(RETRIES, attempts, retryAfterOf(error)), signal);
      }
    }
  }

  /** Refused for the clock: an answer to a HEAD has no body to say so. */
  #isSkewed({ name, status, date }: S3Error): boolean {
    if (name !== 'RequestTimeTooSkewed' && !(status === 403 && name === 'Forbidden')) return false;
    return Math.abs(date - Date.now() - this.#skewMs) > WRONG_CLOCK_MS;
  }

  async #once({ method, key = '', query, headers, body, signal, dripMs, scratch }: S3Request): Promise<HttpResponse> {
    const { origin, host, path: base } = this.#address;
    const path = base + keyPath(key);
    const credentials = await this.#credentials.get({ signal });
    // Bodies are proved by their CRC32C, which is signed with the headers.
    const payloadHash = body === undefined ? NO_BODY : 'UNSIGNED-PAYLOAD';
    const signed: Record<string, string> = { host, 'x-amz-content-sha256': payloadHash, ...headers };
    if (this.#owner !== undefined) signed['x-amz-expected-bucket-owner'] = this.#owner;
    const asked = query === undefined ? '' : canonicalQuery(Object.entries(query));
    const parts = { method, path, query: asked, headers: signed, payloadHash };
    this.#signer.sign(parts, credentials, Date.now() + this.#skewMs);
    const response = await this.#transport.request({
      method,
      origin,
      path: asked === '' ? path : `${path}?${asked}`,
      headers: signed,
      body,
      signal,
      idleMs: IDLE_MS,
      dripMs,
      scratch,
    });
    if (response.status >= 200 && response.status < 300) return response;
    throw await refusal(response);
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }
}

export async function connectRest(place: S3Place, context: PluginContext): Promise<S3Rest> {
  const region = await regionOf(place, context);
  const { s3, s3Host } = context.endpoints;
  const address = addressOf(place, region, place.endpoint ?? s3, s3Host);
  const credentials = context.credentials.aws(place.identity);
  return new S3Rest(address, new AwsSigner(region, 's3'), credentials, context.transport(), place.expectedBucketOwner);
}

/** What went wrong where the head of the answer says 200. */
const errorWithin = (xml: string): S3Error =>
  new S3Error(textIn(xml, 'Code') ?? 'InternalError', textIn(xml, 'Message') ?? '', 503, {});

async function refusal({ status, headers, body }: HttpResponse): Promise<S3Error> {
  const xml = await textOf(body, LONGEST_ERROR).catch(() => '');
  const name = textIn(xml, 'Code') ?? NAMES[status] ?? 'UnknownError';
  return new S3Error(name, textIn(xml, 'Message') ?? '', status, headers, textIn(xml, 'Region'));
}

/** What an answer without a body is called: one to a HEAD. */
const NAMES: Readonly<Record<number, string>> = {
  301: 'PermanentRedirect',
  403: 'Forbidden',
  404: 'NotFound',
  412: 'PreconditionFailed',
};

async function textOf(body: HttpResponse['body'], longest: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  await body.pump((chunk) => {
    bytes += chunk.byteLength;
    if (bytes > longest) throw new BrokerError('bad_response', 'the answer of S3 is too long');
    chunks.push(Buffer.from(chunk));
    return undefined;
  });
  return Buffer.concat(chunks).toString('utf8');
}

function isWorthTrying({ body }: S3Request, error: unknown): boolean {
  if (body !== undefined && 'send' in body) return false;
  if (error instanceof S3Error)
    return error.status >= 500 || [408, 429].includes(error.status) || THROTTLED.test(error.name);
  return error instanceof BrokerError && (error.code === 'network' || error.code === 'timeout');
}

const retryAfterOf = (error: unknown): number | undefined =>
  error instanceof S3Error ? parseRetryAfter(error.retryAfter, Date.now()) : undefined;
