import { Agent as HttpAgent, globalAgent as httpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, globalAgent as httpsAgent, request as httpsRequest } from 'node:https';
import {
  BrokerError,
  type CredentialProvider,
  type GcpAccessToken,
  parseRetryAfter,
  systemErrorCode,
} from '../../core/api/index.ts';

/** No byte for so long, while one is waited for, is a stall. */
const IDLE_MS = 30_000;
/** Over so long, of waiting alone, more must come than a drip: bytes a millisecond. */
const DRIP_MS = 60_000;
const SLOWEST = 1;
const MOST_SOCKETS = 256;
const LONGEST_JSON = 32 * 1024 * 1024;

export interface GoogleRequest {
  readonly method?: 'GET' | 'POST' | 'DELETE';
  /** JSON. */
  readonly body?: string;
  /** Percent-encoded path and query; sent as it is, because a URL would resolve `..` in names. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** An answer whose body was not read yet. Destroy the body or read it to its end. */
export interface GoogleResponse {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: IncomingMessage;
}

export interface GoogleClientOptions {
  readonly endpoint: string;
  readonly token: CredentialProvider<GcpAccessToken> | undefined;
  readonly idleMs?: number | undefined;
  readonly dripMs?: number | undefined;
  readonly now: () => number;
}

/**
 * A small client for Google's REST APIs over node:https: bodies as they are on the wire (fetch would gunzip them),
 * no redirects, an idle limit on every wait, and errors that hold no request.
 */
export class GoogleClient {
  readonly #base: URL;
  readonly #token: CredentialProvider<GcpAccessToken> | undefined;
  readonly #agent: HttpAgent;
  readonly #now: () => number;
  readonly idleMs: number;
  readonly dripMs: number;

  constructor({ endpoint, token, idleMs = IDLE_MS, dripMs = DRIP_MS, now }: GoogleClientOptions) {
    this.#base = new URL(endpoint);
    this.#token = token;
    const secure = this.#base.protocol === 'https:';
    this.#agent = new (secure ? HttpsAgent : HttpAgent)({
      keepAlive: true,
      maxSockets: MOST_SOCKETS,
      ...proxyOf(secure ? httpsAgent : httpAgent),
    });
    this.#now = now;
    this.idleMs = idleMs;
    this.dripMs = dripMs;
  }

  get host(): string {
    return this.#base.host;
  }

  /** Sends a request, by default a GET; a 401 is tried once more with a fresh token, since a token may be revoked before its end. */
  async get(request: GoogleRequest): Promise<GoogleResponse> {
    const response = await this.#send(request, false);
    if (response.status !== 401 || this.#token === undefined) return response;
    response.body.destroy();
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
    const text = await this.getText(request, failure);
    try {
      return JSON.parse(text);
    } catch {
      throw new BrokerError('bad_response', `${this.host}: the answer is not JSON`);
    }
  }

  /** Reads what an error answer says; never more than a little of it. */
  async failedAnswer(response: GoogleResponse): Promise<FailedAnswer> {
    const text = await this.#text(response.body, 64 * 1024).catch(() => '');
    const retryAfterMs = parseRetryAfter(response.headers['retry-after'], this.#now());
    return { host: this.host, status: response.status, ...readError(text), retryAfterMs };
  }

  async *chunks(body: IncomingMessage): AsyncGenerator<Uint8Array> {
    const iterator = body[Symbol.asyncIterator]();
    let [waited, came] = [0, 0];
    try {
      for (;;) {
        // The clock runs only while a chunk is waited for, so a slow reader is not mistaken for a stalled server.
        const timer = setTimeout(
          () => body.destroy(new BrokerError('timeout', `${this.host}: no byte for ${this.idleMs} ms`)),
          this.idleMs,
        );
        const asked = performance.now();
        const next = await iterator.next().finally(() => clearTimeout(timer));
        if (next.done === true) return;
        const chunk = next.value as Uint8Array;
        waited += performance.now() - asked;
        came += chunk.byteLength;
        if (waited >= this.dripMs) {
          if (came < SLOWEST * this.dripMs)
            throw new BrokerError('timeout', `${this.host}: ${came} bytes in ${Math.round(waited)} ms are a drip`);
          [waited, came] = [0, 0];
        }
        yield chunk;
      }
    } catch (error) {
      throw connectionError(this.host, error);
    } finally {
      body.destroy();
    }
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #send({ method = 'GET', body, path, headers, signal }: GoogleRequest, fresh: boolean): Promise<GoogleResponse> {
    const token = await this.#token?.get({ signal, fresh });
    const sent = body === undefined ? undefined : Buffer.from(body);
    const all = {
      ...headers,
      ...(sent === undefined ? {} : { 'content-type': 'application/json', 'content-length': sent.byteLength }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token.token}` }),
      ...(token?.quotaProject === undefined ? {} : { 'x-goog-user-project': token.quotaProject }),
    };
    const { promise, resolve, reject } = Promise.withResolvers<GoogleResponse>();
    const send = this.#base.protocol === 'https:' ? httpsRequest : httpRequest;
    const { port } = this.#base;
    const hostname = this.#base.hostname.replace(/^\[|\]$/g, '');
    const request = send({ method, hostname, port, path, headers: all, agent: this.#agent, signal });
    const timer = setTimeout(
      () => request.destroy(new BrokerError('timeout', `${this.host}: no answer within ${this.idleMs} ms`)),
      this.idleMs,
    );
    // `on`, since a reset after the answer began is told here once more.
    request.on('error', (error) =>
      reject(signal.aborted ? new BrokerError('stopped', 'the run was stopped') : connectionError(this.host, error)),
    );
    request.once('response', (body) => resolve({ status: body.statusCode ?? 0, headers: body.headers, body }));
    request.end(sent);
    return promise.finally(() => clearTimeout(timer));
  }

  async #text(body: IncomingMessage, longest: number): Promise<string> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of this.chunks(body)) {
      bytes += chunk.byteLength;
      if (bytes > longest) throw new BrokerError('bad_response', `${this.host}: the answer is too long`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  }
}

function connectionError(host: string, error: unknown): BrokerError {
  if (error instanceof BrokerError) return error;
  if (error instanceof Error && error.name === 'AbortError') return new BrokerError('stopped', 'the run was stopped');
  const code = systemErrorCode(error);
  if (code === 'EMFILE' || code === 'ENFILE') return new BrokerError('machine_limit', `${host}: ${code}`);
  return new BrokerError('network', `${host}: ${code ?? 'the connection failed'}`);
}

/** The proxy of the process, where it was told to use one (NODE_USE_ENV_PROXY): an own agent knows of none by itself. */
function proxyOf(agent: HttpAgent): object {
  // The types of Node.js do not know it yet.
  const { proxyEnv } = (agent as unknown as { readonly options: { readonly proxyEnv?: unknown } }).options;
  return proxyEnv === undefined ? {} : { proxyEnv };
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
