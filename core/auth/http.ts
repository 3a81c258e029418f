import { BrokerError, systemErrorCode } from '../api/errors.ts';
import { parseRetryAfter } from '../api/retry.ts';
import { openTransport } from '../transport/index.ts';
import { Lanes } from '../transport/lanes.ts';
import type { ServerClock } from './clock.ts';

const DEADLINE_MS = 10_000;
/** A metadata service is on this machine or next to it. */
const LINK_LOCAL_DEADLINE_MS = 2000;
const LONGEST_ANSWER = 256 * 1024;

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly retryAfterMs: number | undefined;
  /** True when its `Date` header moved the clock: what was signed before should be signed again. */
  readonly clockMoved: boolean;
  /** Blots out of words of this answer what they repeat of the request. */
  readonly hide: (words: string) => string;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly clock: ServerClock;
  /** For the whole of one request, its answer included. Default: ten seconds. */
  readonly deadlineMs?: number;
}

export interface Message {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** What of it nobody may see: an answer that repeats any of it, as servers do in errors, is blotted out. */
  readonly secrets: readonly string[];
}

/**
 * Posts to a token service. No redirect is followed, an answer has a limit in time and size, and neither request nor
 * answer is ever part of an error. The clock learns from every answer.
 */
export async function post(
  url: string,
  message: Message,
  { signal, clock, deadlineMs = DEADLINE_MS }: CallOptions,
): Promise<Answer> {
  const { host } = new URL(url);
  const deadline = AbortSignal.timeout(deadlineMs);
  try {
    const sentAt = clock.local();
    using transport = openTransport();
    const { origin, pathname, search } = new URL(url);
    const { status, headers, body } = await transport.request({
      method: 'POST',
      origin,
      path: pathname + search,
      headers: message.headers,
      body: Buffer.from(message.body),
      signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
      idleMs: deadlineMs,
    });
    if (status >= 300 && status < 400) throw new BrokerError('network', `${host}: a redirect, which is never followed`);
    const clockMoved = clock.learn(headers.date ?? null, sentAt);
    const retryAfterMs = parseRetryAfter(headers['retry-after'], clock.now());
    const text = await limitedText(body, host);
    return { status, text, retryAfterMs, clockMoved, hide: (words) => withoutEcho(words, message.secrets) };
  } catch (error) {
    throw callFailure(error, host, signal, deadline, deadlineMs);
  }
}

/** So long a part of a secret would be of use to somebody; shorter ones are words and numbers. */
const WINDOW = 16;
const RUN = new RegExp(`[A-Za-z0-9+/=_~.%-]{${WINDOW},}`, 'g');

/** Blots out whatever stands in a text of any of the secrets, however percent-encoded, whole or in part. */
export function withoutEcho(text: string, secrets: readonly string[]): string {
  const known = secrets.flatMap((secret) => [secret, plainly(secret)]);
  const repeats = (run: string): boolean =>
    [run, plainly(run)].some((one) => known.some((secret) => shareWindow(one, secret)));
  return text.replace(RUN, (run) => (repeats(run) ? '[hidden]' : run));
}

/** Without percent-encoding, however often it was applied. */
function plainly(text: string): string {
  const decoded = text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return decoded === text ? text : plainly(decoded);
}

function shareWindow(run: string, secret: string): boolean {
  for (let at = 0; at + WINDOW <= run.length; at++) if (secret.includes(run.slice(at, at + WINDOW))) return true;
  return false;
}

export interface LinkLocalAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** Asks a metadata service. Never through a proxy, whatever the environment says: it would answer for another machine. */
export async function linkLocal(
  url: string,
  options: {
    readonly method?: 'GET' | 'PUT';
    readonly headers?: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal | undefined;
    readonly deadlineMs?: number;
  } = {},
): Promise<LinkLocalAnswer> {
  const { host } = new URL(url);
  const { deadlineMs = LINK_LOCAL_DEADLINE_MS } = options;
  const deadline = AbortSignal.timeout(deadlineMs);
  const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline]);
  try {
    using transport = new Lanes();
    const { method = 'GET', headers = {} } = options;
    const { origin, pathname, search } = new URL(url);
    const path = pathname + search;
    const answer = await transport.request({ method, origin, path, headers, signal, idleMs: deadlineMs });
    return { status: answer.status, headers: answer.headers, text: await limitedText(answer.body, host) };
  } catch (error) {
    throw callFailure(error, host, options.signal, deadline, deadlineMs);
  }
}

function callFailure(
  error: unknown,
  host: string,
  signal: AbortSignal | undefined,
  deadline: AbortSignal,
  deadlineMs: number,
): BrokerError {
  if (signal?.aborted === true) return new BrokerError('stopped', 'the run was stopped');
  if (deadline.aborted) return new BrokerError('timeout', `${host}: no answer within ${deadlineMs / 1000} s`);
  if (error instanceof BrokerError) return error;
  return new BrokerError('network', `${host}: ${systemErrorCode(error) ?? 'the connection failed or was redirected'}`);
}

async function limitedText(body: AsyncIterable<Uint8Array>, host: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > LONGEST_ANSWER) throw new BrokerError('bad_response', `${host}: the answer is too long for a token`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The JSON of an answer, or undefined: proxies and portals answer with HTML. */
export function jsonOf(answer: { readonly text: string }): unknown {
  try {
    return JSON.parse(answer.text);
  } catch {
    return undefined;
  }
}
