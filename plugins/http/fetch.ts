import { BrokerError, type HttpResponse, parseRetryAfter, type Transport } from '../../core/api/index.ts';
import { urlProblem } from './config.ts';

const MOST_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export interface Fetch {
  readonly method: 'GET' | 'HEAD';
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** A URL as people may see it, in messages and reports: without its query, which may be a secret. */
export function nameOf(text: string): string {
  const { origin, pathname } = new URL(text);
  return `${origin}${pathname}`;
}

/** Asks for a URL, and for where it leads to; every one of them must be one that a pipeline may name. */
export async function fetched(
  transport: Transport,
  text: string,
  { method, headers, signal }: Fetch,
): Promise<HttpResponse> {
  let url = new URL(text);
  for (let redirects = 0; ; redirects++) {
    const { origin, host, pathname, search } = url;
    // Bytes as they are stored: what is compressed for the way has neither length nor checksum.
    const all = {
      host,
      'accept-encoding': 'identity',
      'user-agent': 'isthmus',
      'want-repr-digest': 'sha-256=1',
      ...headers,
    };
    const response = await transport.request({ method, origin, path: pathname + search, headers: all, signal });
    if (!REDIRECTS.has(response.status)) return response;
    response.body.discard();
    const next = URL.parse(response.headers.location ?? '', url.href);
    const problem = next === null ? 'leads nowhere' : redirectProblem(url, next);
    if (next === null || problem !== undefined || redirects >= MOST_REDIRECTS)
      throw new BrokerError('invalid_request', `${nameOf(text)}: a redirect that ${problem ?? 'never ends'}`, {
        hint: 'Name the URL that it leads to, if that is what you mean.',
      });
    url = next;
  }
}

/** What a server leads to may have a signature in it: it is its own, and not written down. */
function redirectProblem(from: URL, next: URL): string | undefined {
  const bare = new URL(next);
  bare.search = '';
  if (from.protocol === 'https:' && next.protocol !== 'https:') return 'leads from https to http';
  // A server of this machine may lead to itself; nobody else leads there.
  return urlProblem(bare.href, from.origin === next.origin);
}

export function httpFailure(url: string, { status, headers }: HttpResponse): BrokerError {
  const what = `${nameOf(url)}: HTTP ${status}`;
  const retryAfterMs = parseRetryAfter(headers['retry-after'], Date.now());
  const options = retryAfterMs === undefined ? {} : { retryAfterMs };
  if (status === 429) return new BrokerError('throttled', what, options);
  if (status === 408 || status >= 500) return new BrokerError('unavailable', what, options);
  if (status === 404 || status === 410) return new BrokerError('source_gone', what, { hint: 'Correct it in urls.' });
  if (status === 401 || status === 403)
    return new BrokerError('permission_denied', what, {
      hint: 'This source sends no credentials: it reads what anybody may read.',
    });
  return new BrokerError('invalid_request', what);
}
