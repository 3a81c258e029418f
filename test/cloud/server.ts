import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Fault, Faults, type Seen } from './faults.ts';

/** What a service answers. A body of known length is sent with Content-Length, any other chunked. */
export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** Of an async body. */
  readonly length?: number;
}

/** Thrown by a service to answer at once. */
export class ReplyError extends Error {
  readonly reply: Reply;
  constructor(reply: Reply) {
    super(`HTTP ${reply.status}`);
    this.reply = reply;
  }
}

/** An HTTP server on loopback with faults and a log of requests. Subclasses answer. */
export abstract class LocalServer {
  readonly faults = new Faults();
  /** Every request, in order of arrival. */
  readonly requests: (Seen & { status: number })[] = [];
  /** Requests under way and the most there ever were at once. */
  readonly load = { current: 0, peak: 0 };
  /** While there is one, requests wait for it before they are carried out. */
  hold: Promise<void> | undefined;
  readonly #server: Server;
  readonly #now: () => number;
  #url = '';

  /** @param now what the service takes for the time; it says so in its `Date` header. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
    this.#server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        // A client that went away is none of ours; what a service throws is a defect of it.
        if (!request.destroyed) console.error(error);
        response.destroy();
      });
    });
  }

  /** `http://127.0.0.1:port` */
  get url(): string {
    return this.#url;
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  /** @param url path and query on this server; `target` of the request is what was sent. */
  protected abstract answer(request: IncomingMessage, url: URL): Promise<Reply>;

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen = { method: request.method ?? '', target: request.url ?? '', status: 0 };
    if (this.requests.length < 100_000) this.requests.push(seen);
    this.load.peak = Math.max(this.load.peak, ++this.load.current);
    try {
      const fault = this.faults.take(seen);
      if (fault?.kind === 'reset-before') return void request.socket.resetAndDestroy();
      if (fault?.kind === 'delay') await sleep(fault.ms);
      await this.hold;
      const isInstead = fault?.kind === 'answer' && fault.after !== true;
      const right = isInstead ? undefined : await this.#answer(request);
      const reply = fault?.kind === 'answer' ? await this.#instead(request, fault) : (right as Reply);
      seen.status = reply.status;
      response.setHeader('date', new Date(this.#now()).toUTCString());
      if (fault?.kind === 'reset-after') return void request.socket.resetAndDestroy();
      await send(response, reply, fault, seen.method === 'HEAD');
    } finally {
      this.load.current--;
    }
  }

  async #instead(request: IncomingMessage, fault: Extract<Fault, { kind: 'answer' }>): Promise<Reply> {
    for await (const _ of request); // a client must not notice the fault by a broken upload
    return { status: fault.status, headers: fault.headers ?? {}, body: fault.body ?? '' };
  }

  async #answer(request: IncomingMessage): Promise<Reply> {
    try {
      return await this.answer(request, new URL(request.url ?? '/', this.#url));
    } catch (error) {
      if (error instanceof ReplyError) return error.reply;
      throw error;
    }
  }
}

async function send(
  response: ServerResponse,
  reply: Reply,
  fault: Fault | undefined,
  headOnly: boolean,
): Promise<void> {
  const { status, headers = {}, body = '' } = reply;
  const whole = typeof body === 'string' || body instanceof Uint8Array ? Buffer.from(body) : undefined;
  const length = whole?.byteLength ?? reply.length;
  const chunked = length === undefined || fault?.kind === 'short-body';
  const framing: Record<string, string> =
    chunked || status === 204 || status === 304 ? {} : { 'content-length': String(length) };
  response.writeHead(status, { ...headers, ...framing });
  if (headOnly) return void response.end();
  const limit =
    fault !== undefined && 'at' in fault && fault.kind !== 'corrupt-body' ? fault.at : Number.POSITIVE_INFINITY;
  let sent = 0;
  for await (const piece of whole === undefined ? (body as AsyncIterable<Uint8Array>) : [whole]) {
    if (response.destroyed) return;
    const chunk = damaged(piece, sent, fault).subarray(0, limit - sent);
    if (fault?.kind === 'drip-body') await drip(response, chunk, fault.ms);
    sent += chunk.byteLength;
    if (chunk.byteLength > 0 && !response.write(chunk)) await drained(response);
    if (sent >= limit) break;
  }
  if (sent < limit || fault?.kind === 'short-body') return void response.end();
  await broken(response, fault);
}

async function drip(response: ServerResponse, chunk: Uint8Array, ms: number): Promise<void> {
  for (let at = 0; at < chunk.byteLength - 1 && !response.destroyed; at++) {
    response.write(chunk.subarray(at, at + 1));
    await sleep(ms);
  }
}

async function drained(response: ServerResponse): Promise<void> {
  const closed = new AbortController();
  const close = (): void => closed.abort();
  response.once('close', close);
  // Rejects when the client went away; the loop then sees that the response is destroyed.
  await once(response, 'drain', { signal: closed.signal }).catch(() => undefined);
  response.off('close', close);
}

function damaged(piece: Uint8Array, before: number, fault: Fault | undefined): Uint8Array {
  if (fault?.kind !== 'corrupt-body' || fault.at < before || fault.at >= before + piece.byteLength) return piece;
  const copy = Buffer.from(piece);
  copy[fault.at - before] = (copy[fault.at - before] ?? 0) ^ 0xff;
  return copy;
}

async function broken(response: ServerResponse, fault: Fault | undefined): Promise<void> {
  if (fault?.kind === 'stall-body') return;
  // Let what was written leave first: the fault is in the middle of the body.
  await sleep(5);
  if (fault?.kind === 'reset-body') response.socket?.resetAndDestroy();
  else response.socket?.destroySoon();
}

/** Reads a small request body whole. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

export const json = (status: number, value: unknown, headers: Record<string, string> = {}): Reply => ({
  status,
  headers: { 'content-type': 'application/json; charset=UTF-8', ...headers },
  body: JSON.stringify(value),
});
