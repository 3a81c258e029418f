import {
  BrokerError,
  type CredentialProvider,
  type GcpAccessToken,
  type HttpBody,
  type HttpResponse,
  parseRetryAfter,
  type Transport,
} from '../../core/api/index.ts';

/** No byte for so long, while one is waited for, is a stall. */
const IDLE_MS = 30_000;
const LONGEST_JSON = 32 * 1024 * 1024;

export interface GoogleRequest {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** A text is JSON; of bytes the headers say what they are. */
  readonly body?: string | Uint8Array;
  /** Percent-encoded path and query; sent as it is, because a URL would resolve `..` in names. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Memory that the body may be read into (`HttpRequest`). */
  readonly scratch?: Buffer | undefined;
}

export interface GoogleClientOptions {
  readonly endpoint: string;
  readonly token: CredentialProvider<GcpAccessToken> | undefined;
  /** The client's own from now on: it closes it. */
  readonly transport: Transport;
  readonly idleMs?: number | undefined;
  readonly dripMs?: number | undefined;
  readonly now: () => number;
}

/**
 * A small client for Google's REST APIs: bodies as they are on the wire (fetch would gunzip them), no redirects, a limit
 * on every wait, and errors that hold no request.
 */
export class GoogleClient {
  readonly host: string;
  readonly #origin: string;
  readonly #token: CredentialProvider<GcpAccessToken> | undefined;
  readonly #transport: Transport;
  readonly #now: () => number;
  readonly #limits: { readonly idleMs: number; readonly dripMs: number | undefined };

  constructor({ endpoint, token, transport, idleMs = IDLE_MS, dripMs, now }: GoogleClientOptions) {
    const { origin, host } = new URL(endpoint);
    this.#origin = origin;
    this.host = host;
    this.#token = token;
    this.#transport = transport;
    this.#now = now;
    this.#limits = { idleMs, dripMs };
  }

  /** Sends a request, by default a GET; a 401 is tried once more with a fresh token, since a token may be revoked before its end. */
  async get(request: GoogleRequest): Promise<HttpResponse> {
    const response = await this.#send(request, false);
    if (response.status !== 401 || this.#token === undefined) return response;
    response.body.discard();
    return this.#send(request, true);
  }

  /** Sends a request and reads the text of a 200. @throws BrokerError for any other status, by `failure`. */
  async getText(request: GoogleRequest, failure: (answer: FailedAnswer) => BrokerError): Promise<string> {
    const response = await this.get(request);
    if (response.status !== 200) throw failure(await this.failedAnswer(response));
    return this.#text(response.body, LONGEST_JSON);
  }

  /** Sends a request and reads the JSON of a 200. @throws BrokerError for any other status, by `failure`. */
  async getJson(request: GoogleRequest, failure: (answer: FailedAnswer) => BrokerError): Promise<unknown> {
    return this.#parsed(await this.getText(request, failure));
  }

  #parsed(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      throw new BrokerError('bad_response', `${this.host}: the answer is not JSON`);
    }
  }

  /** Reads the JSON of an answer. @throws BrokerError `bad_response` */
  async json(response: HttpResponse): Promise<unknown> {
    return this.#parsed(await this.#text(response.body, LONGEST_JSON));
  }

  /** Reads what an error answer says; never more than a little of it. */
  async failedAnswer(response: HttpResponse): Promise<FailedAnswer> {
    const text = await this.#text(response.body, 64 * 1024).catch(() => '');
    const retryAfterMs = parseRetryAfter(response.headers['retry-after'], this.#now());
    return { host: this.host, status: response.status, ...readError(text), retryAfterMs };
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  async #send(request: GoogleRequest, fresh: boolean): Promise<HttpResponse> {
    const { method = 'GET', body, path, headers, signal, scratch } = request;
    const token = await this.#token?.get({ signal, fresh });
    const all: Record<string, string> = { ...headers };
    if (typeof body === 'string') all['content-type'] = 'application/json';
    if (token !== undefined) all.authorization = `Bearer ${token.token}`;
    if (token?.quotaProject !== undefined) all['x-goog-user-project'] = token.quotaProject;
    const sent = typeof body === 'string' ? Buffer.from(body) : body;
    return this.#transport.request({
      ...this.#limits,
      method,
      origin: this.#origin,
      path,
      headers: all,
      body: sent,
      signal,
      scratch,
    });
  }

  async #text(body: HttpBody, longest: number): Promise<string> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of body) {
      bytes += chunk.byteLength;
      if (bytes > longest) throw new BrokerError('bad_response', `${this.host}: the answer is too long`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  }
}

/** What an answer with an error status says. */
export interface FailedAnswer {
  readonly host: string;
  readonly status: number;
  readonly message: string;
  readonly reason: string;
  readonly retryAfterMs: number | undefined;
}

function readError(text: string): { message: string; reason: string } {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown; errors?: { reason?: unknown }[] } };
    return { message: String(error?.message ?? ''), reason: String(error?.errors?.[0]?.reason ?? '') };
  } catch {
    return { message: '', reason: '' };
  }
}

/**
 * The error for a status that says what to do by itself, whatever was asked for; undefined for 404 and the like.
 *
 * @param doing for the message: `read gs://bucket/name`.
 */
export function commonFailure(doing: string, answer: FailedAnswer): BrokerError | undefined {
  const { status, message, retryAfterMs } = answer;
  const what = `${doing}: HTTP ${status}${message === '' ? '' : `: ${message}`}`;
  const options = retryAfterMs === undefined ? {} : { retryAfterMs };
  if (status === 429) return new BrokerError('throttled', what, options);
  if (status === 408 || status >= 500) return new BrokerError('unavailable', what, options);
  if (status === 401) {
    return new BrokerError('unauthenticated', what, {
      hint: 'The token was refused twice. If the API does not accept federated tokens, set serviceAccount on the identity; for a private bucket use an identity of kind gcp.',
    });
  }
  if (status >= 300 && status < 400) {
    return new BrokerError('bad_response', `${what}: a redirect, which is never followed`, {
      hint: 'Check endpoint and the proxy settings.',
    });
  }
  return undefined;
}
