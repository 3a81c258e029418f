import { BrokerError, systemErrorCode } from '../api/errors.ts';
import { parseRetryAfter } from '../api/retry.ts';

const DEADLINE_MS = 10_000;
const LONGEST_ANSWER = 256 * 1024;

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly retryAfterMs: number | undefined;
}

/**
 * Posts to a token service. No redirect is followed, an answer has a limit in time and size, and neither request nor
 * answer is ever part of an error.
 */
export async function post(
  url: string,
  request: { readonly headers: Readonly<Record<string, string>>; readonly body: string },
  { signal, now }: { readonly signal?: AbortSignal | undefined; readonly now: () => number },
): Promise<Answer> {
  const { host } = new URL(url);
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  try {
    const response = await fetch(url, {
      method: 'POST',
      redirect: 'error',
      headers: request.headers,
      body: request.body,
      signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
    });
    const text = await limitedText(response, host);
    return { status: response.status, text, retryAfterMs: parseRetryAfter(response.headers.get('retry-after'), now()) };
  } catch (error) {
    if (error instanceof BrokerError) throw error;
    if (signal?.aborted === true) throw new BrokerError('stopped', 'the run was stopped');
    if (deadline.aborted) throw new BrokerError('timeout', `${host}: no answer within ${DEADLINE_MS / 1000} s`);
    throw new BrokerError('network', `${host}: ${systemErrorCode(error) ?? 'the connection failed or was redirected'}`);
  }
}

async function limitedText(response: Response, host: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > LONGEST_ANSWER) throw new BrokerError('bad_response', `${host}: the answer is too long for a token`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The JSON of an answer, or undefined: proxies and portals answer with HTML. */
export function jsonOf(answer: Answer): unknown {
  try {
    return JSON.parse(answer.text);
  } catch {
    return undefined;
  }
}
