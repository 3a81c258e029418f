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
import { regionOf, type S3Place } from './client.ts';
import { addressOf, keyPath, type S3Address } from './endpoint.ts';
import { textIn } from './xml.ts';

/** S3 puts large uploads together before it answers. */
const IDLE_MS = 120_000;
const LONGEST_TEXT = 16 * 2 ** 20;
const LONGEST_ERROR = 64 * 1024;
const RETRIES: RetryPolicy = { attempts: 4, baseDelayMs: 100, maxDelayMs: 20_000 };
const NO_BODY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** What S3 calls credentials that have ended, or were ended, before their time. */
const EXPIRED: ReadonlySet<string> = new Set(['ExpiredToken', 'ExpiredTokenException']);
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
    let [isRenewed, isCorrected] = [false, false];
    for (let attempt = 1; ; attempt++) {
      try {
        const { status, headers, body } = await this.#once(request);
        return { status, headers, body, attempts: attempt };
      } catch (error) {
        if (error instanceof S3Error && EXPIRED.has(error.name) && !isRenewed) {
          isRenewed = true;
          await this.#credentials.get({ fresh: true, signal: request.signal });
        } else if (
          error instanceof S3Error &&
          error.name === 'RequestTimeTooSkewed' &&
          error.date > 0 &&
          !isCorrected
        ) {
          isCorrected = true;
          this.#skewMs = error.date - Date.now();
        } else if (!isWorthTrying(request, error) || attempt >= RETRIES.attempts || request.signal.aborted) throw error;
        else await pause(backoffMs(RETRIES, attempt, retryAfterOf(error)), request.signal);
      }
    }
  }

  /** As `send`, with the body as text. */
  async text(request: S3Request): Promise<{ readonly text: string } & Omit<S3Answer, 'body'>> {
    const { body, ...answer } = await this.send(request);
    return { ...answer, text: await textOf(body, LONGEST_TEXT) };
  }

  /** As `send`, where the body says nothing. */
  async done(request: S3Request): Promise<Omit<S3Answer, 'body'>> {
    const { body, ...answer } = await this.send(request);
    body.discard();
    return answer;
  }

  async #once({ method, key = '', query, headers, body, signal }: S3Request): Promise<HttpResponse> {
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
  const address = addressOf(place, region, place.endpoint ?? context.endpoints.s3);
  const credentials = context.credentials.aws(place.identity);
  return new S3Rest(address, new AwsSigner(region, 's3'), credentials, context.transport(), place.expectedBucketOwner);
}

/** An answer that says 200 in its head and what went wrong in its body. */
export const errorWithin = (xml: string): S3Error | undefined =>
  /<Error>/.test(xml)
    ? new S3Error(textIn(xml, 'Code') ?? 'InternalError', textIn(xml, 'Message') ?? '', 503, {})
    : undefined;

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
