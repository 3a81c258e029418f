import { BrokerError } from '../api/errors.ts';

/** How long the body of an answer is (RFC 9112, section 6.3). */
export type Framing = { readonly length: number } | 'chunked' | 'until-close';

export interface Head {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly framing: Framing;
  /** Whether another request may follow on the connection. */
  readonly keepsAlive: boolean;
}

const STATUS = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [^\r\n]*)?$/;
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** No control characters but the tab. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

const bad = (host: string, what: string): BrokerError => new BrokerError('bad_response', `${host}: ${what}`);

/**
 * Reads the head of an answer, the empty line at its end left out. What is not plainly HTTP/1.1 is refused: a wrong guess
 * about where a body ends would join one object with another.
 *
 * @param method of the request: the answer to a HEAD has no body.
 */
export function readHead(text: string, method: string, host: string): Head {
  const lines = text.split('\r\n');
  const found = STATUS.exec(lines[0] ?? '');
  if (found === null) throw bad(host, 'the answer is not HTTP/1.1');
  const status = Number(found[2]);
  const headers: Record<string, string> = Object.create(null);
  for (let index = 1; index < lines.length; index++) {
    const line = lines[index] ?? '';
    const colon = line.indexOf(':');
    const name = line.slice(0, colon);
    // Folded lines and spaces before the colon have hidden more than one attack.
    if (colon < 1 || !NAME.test(name)) throw bad(host, 'a line of the head is not a header');
    const value = line.slice(colon + 1).trim();
    if (!VALUE.test(value)) throw bad(host, 'a header holds control characters');
    const key = name.toLowerCase();
    const before = headers[key];
    headers[key] = before === undefined ? value : `${before}, ${value}`;
  }
  const connection = (headers.connection ?? '').toLowerCase();
  const framing = framingOf(status, headers, method, host);
  const keepsAlive =
    found[1] === '1' && !/(?:^|[,\s])close(?:$|[,\s])/.test(connection) && framing !== 'until-close' && status !== 101;
  return { status, headers, framing, keepsAlive };
}

function framingOf(status: number, headers: Readonly<Record<string, string>>, method: string, host: string): Framing {
  const { 'transfer-encoding': encoding, 'content-length': length } = headers;
  const size = length === undefined ? undefined : lengthOf(length, host);
  if (encoding !== undefined && length !== undefined) throw bad(host, 'the answer has two lengths');
  if (method === 'HEAD' || status === 204 || status === 304 || status < 200) return NOTHING;
  if (encoding !== undefined) {
    if (encoding.toLowerCase() !== 'chunked') throw bad(host, 'the answer has a transfer-encoding other than chunked');
    return 'chunked';
  }
  return size === undefined ? 'until-close' : { length: size };
}

const NOTHING: Framing = { length: 0 };

/** The same length said twice is one length. */
function lengthOf(text: string, host: string): number {
  const [first = '', ...others] = text.split(',').map((part) => part.trim());
  const value = Number(first);
  if (!/^\d{1,16}$/.test(first) || !Number.isSafeInteger(value) || others.some((other) => other !== first))
    throw bad(host, 'the content-length of the answer is no length');
  return value;
}
