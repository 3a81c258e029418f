import { Agent as HttpAgent, globalAgent as httpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, globalAgent as httpsAgent, request as httpsRequest } from 'node:https';
import type { Take } from '../api/bytes.ts';
import { BrokerError, throwIfAborted } from '../api/errors.ts';
import type { HttpBody, HttpRequest, HttpResponse, SentBody, Transport } from '../api/transport.ts';
import { earlyAnswer, isSent, largeAsSent } from './bodies.ts';
import { bodyOf } from './body.ts';
import { Answered, connectionError, stopped, tooLong, tooShort } from './failure.ts';
import { Watch, type Watched } from './watch.ts';

const MOST_SOCKETS = 256;
const DEFAULT_IDLE_MS = 30_000;
const DEFAULT_DRIP_MS = 60_000;
/** A body up to here is copied as it is written. */
const SMALL = 8 * 1024;
/** So much is read to its end, so that the connection can be used again. */
const WORTH_READING = 64 * 1024;

type Sent = ReturnType<typeof httpRequest>;

/** The transport by way of node:https: it knows proxies (NODE_USE_ENV_PROXY), and is what to fall back to. */
export class HttpsTransport implements Transport {
  readonly traffic = { throttled: 0 };
  readonly #watch = new Watch();
  readonly #agents: Readonly<Record<'https:' | 'http:', HttpAgent>>;

  /** @param ca for servers of tests: PEM. */
  constructor({ ca }: { readonly ca?: string } = {}) {
    const options = { keepAlive: true, maxSockets: MOST_SOCKETS, timeout: 0 };
    this.#agents = {
      'https:': new HttpsAgent({ ...options, ...proxyOf(httpsAgent), ...(ca === undefined ? {} : { ca }) }),
      'http:': new HttpAgent({ ...options, ...proxyOf(httpAgent) }),
    };
  }

  async request(request: HttpRequest): Promise<HttpResponse> {
    throwIfAborted(request.signal);
    const exchange = new Exchange(request, this.#agents, this.#watch, this.traffic);
    this.#watch.add(exchange);
    return exchange.answer();
  }

  [Symbol.dispose](): void {
    for (const agent of Object.values(this.#agents)) agent.destroy();
    this.#watch[Symbol.dispose]();
  }
}

class Exchange implements Watched {
  readonly #request: HttpRequest;
  readonly #host: string;
  readonly #sent: Sent;
  readonly #watch: Watch;
  readonly #answer = Promise.withResolvers<HttpResponse>();
  #failure: BrokerError | undefined;
  #early: Promise<HttpResponse> | undefined;
  #isWriting = false;
  #isWhole = false;
  /** The body is made, or cut into pieces, while it is sent. */
  #isSending = false;
  #body: IncomingMessage | undefined;
  #isRead = false;
  #taking: PromiseWithResolvers<void> | undefined;
  passed = 0;

  constructor(
    request: HttpRequest,
    agents: Readonly<Record<'https:' | 'http:', HttpAgent>>,
    watch: Watch,
    traffic: { throttled: number },
  ) {
    this.#request = request;
    this.#watch = watch;
    const { protocol, hostname, port, host } = new URL(request.origin);
    this.#host = host;
    const isSecure = protocol === 'https:';
    const { method, path, headers, body, signal } = request;
    const size = body === undefined ? undefined : 'send' in body ? body.size : body.byteLength;
    const empty = method === 'GET' || method === 'HEAD' || method === 'DELETE' ? undefined : 0;
    this.#sent = (isSecure ? httpsRequest : httpRequest)({
      method,
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port,
      path,
      headers: { host, ...headers, ...((size ?? empty) === undefined ? {} : { 'content-length': size ?? empty }) },
      agent: agents[isSecure ? 'https:' : 'http:'],
    });
    const abort = (): void => this.#fail(stopped());
    signal.addEventListener('abort', abort);
    // `on`, since a reset after the answer began is told here once more.
    this.#sent.on('error', (error) => this.#fail(connectionError(host, error)));
    this.#sent.once('close', () => {
      signal.removeEventListener('abort', abort);
      this.#watch.remove(this);
    });
    this.#sent.once('response', (message) => {
      if (message.statusCode === 429 || message.statusCode === 503) traffic.throttled++;
      this.#begin(message);
    });
    this.#answer.promise.catch(() => undefined);
  }

  get idleMs(): number {
    return this.#request.idleMs ?? DEFAULT_IDLE_MS;
  }

  get dripMs(): number {
    return this.#request.dripMs ?? DEFAULT_DRIP_MS;
  }

  get waits(): 'answer' | 'bytes' | undefined {
    // A slow line is no drip: that a write ends now and then is all that is asked of whoever takes a body.
    if (this.#isWriting) return 'answer';
    if (this.#body === undefined) return this.#isWhole ? 'answer' : undefined;
    return this.#isRead ? 'bytes' : undefined;
  }

  stalled(what: string): void {
    this.#fail(new BrokerError('timeout', `${this.#host}: ${what}`));
  }

  async answer(): Promise<HttpResponse> {
    const body = largeAsSent(this.#request.body, SMALL);
    this.#isSending = isSent(body);
    if (!isSent(body)) {
      this.#isWhole = true;
      this.#sent.end(body);
      return this.#answer.promise;
    }
    const failure = await this.#send(body);
    if (this.#early !== undefined) return this.#early;
    if (failure !== undefined) throw failure.error;
    return this.#answer.promise;
  }

  async #send(body: SentBody): Promise<{ readonly error: unknown } | undefined> {
    let sent = 0;
    try {
      await body.send((chunk) => {
        if (this.#early !== undefined) throw new Answered();
        if (this.#failure !== undefined) throw this.#failure;
        sent += chunk.byteLength;
        if (sent > body.size) throw tooLong(this.#host, body.size);
        // The server may answer as soon as it has the last byte, and before we are told that it was written.
        this.#isWhole = sent === body.size;
        return this.#write(chunk);
      });
      if (sent < body.size) throw tooShort(this.#host, sent, body.size);
      this.#isWhole = true;
      this.#sent.end();
      return undefined;
    } catch (error) {
      if (this.#early === undefined) this.#fail(connectionError(this.#host, error));
      return { error };
    }
  }

  #write(chunk: Uint8Array): Promise<void> {
    this.#isWriting = true;
    this.#taking = Promise.withResolvers();
    const { promise, resolve } = this.#taking;
    this.#sent.write(chunk, (error) => {
      if (error) return;
      this.#isWriting = false;
      this.passed += chunk.byteLength;
      resolve();
    });
    return promise;
  }

  #begin(message: IncomingMessage): void {
    this.#body = message;
    const { statusCode: status = 0 } = message;
    const headers = flat(message.headers);
    const isEarly = this.#isSending && (!this.#isWhole || (this.#isWriting && status >= 300));
    const given = this.#bodyOf(message);
    if (!isEarly) this.#answer.resolve({ status, headers, body: given });
    else if (status < 300)
      this.#fail(new BrokerError('bad_response', `${this.#host}: the request was answered before its body was sent`));
    else this.#early = this.#collected(status, headers, given);
  }

  async #collected(status: number, headers: HttpResponse['headers'], body: HttpBody): Promise<HttpResponse> {
    const bytes = await earlyAnswer(body);
    this.#fail(new BrokerError('network', `${this.#host}: the request was answered before its body was sent`));
    return { status, headers, body: bodyOf(bytes) };
  }

  #bodyOf(message: IncomingMessage): HttpBody {
    const chunks = (): AsyncGenerator<Uint8Array> => this.#chunks(message);
    return {
      async pump(take: Take) {
        for await (const chunk of chunks()) await take(chunk);
      },
      [Symbol.asyncIterator]: chunks,
      discard: () => {
        const { 'content-length': length = 0, 'transfer-encoding': encoding } = message.headers;
        if (encoding !== undefined || Number(length) > WORTH_READING) message.destroy();
        else {
          // Waited for, as any body is.
          this.#isRead = true;
          message.resume();
        }
      },
    };
  }

  async *#chunks(message: IncomingMessage): AsyncGenerator<Uint8Array> {
    const iterator = message[Symbol.asyncIterator]();
    try {
      for (;;) {
        // Only while a chunk is waited for: a slow reader is no stalled server.
        this.#isRead = true;
        const next = await iterator.next();
        this.#isRead = false;
        if (next.done === true) return;
        this.passed += (next.value as Uint8Array).byteLength;
        yield next.value as Uint8Array;
      }
    } catch (error) {
      throw this.#failure ?? connectionError(this.#host, error);
    } finally {
      message.destroy();
    }
  }

  #fail(reason: BrokerError): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#watch.remove(this);
    this.#sent.destroy();
    this.#answer.reject(reason);
    this.#taking?.reject(this.#early === undefined ? reason : new Answered());
  }
}

const flat = (headers: IncomingMessage['headers']): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));

/** The proxy of the process, where it was told to use one: an own agent knows of none by itself. */
function proxyOf(agent: HttpAgent): object {
  // The types of Node.js do not know it yet.
  const { proxyEnv } = (agent as unknown as { readonly options: { readonly proxyEnv?: unknown } }).options;
  return proxyEnv === undefined ? {} : { proxyEnv };
}
