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

const STATUS = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: .*)?$/;
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Control characters, the tab and whole line ends left out. */
const CONTROL = /[^\t\r\n\x20-\x7e\x80-\xff]|\r(?!\n)|(?<!\r)\n/;

const bad = (host: string, what: string): BrokerError => new BrokerError('bad_response', `${host}: ${what}`);

/**
 * Reads the head of an answer, the empty line at its end left out. What is not plainly HTTP/1.1 is refused: a wrong guess
 * about where a body ends would join one object with another.
 *
 * @param method of the request: the answer to a HEAD has no body.
 */
export function readHead(text: string, method: string, host: string): Head {
  if (CONTROL.test(text)) throw bad(host, 'the head of the answer holds control characters');
  const lines = text.split('\r\n');
  const found = STATUS.exec(lines[0] ?? '');
  if (found === null) throw bad(host, 'the answer is not HTTP/1.1');
  const status = Number(found[2]);
  const headers: Record<string, string> = Object.create(null);
  for (let index = 1; index < lines.length; index++) {
    const line = lines[index] ?? '';
    const colon = line.indexOf(':');
    const key = nameOf(line.slice(0, Math.max(0, colon)));
    if (key === undefined) throw bad(host, 'a line of the head is not a header');
    const value = line.slice(colon + 1).trim();
    const before = headers[key];
    headers[key] = before === undefined ? value : `${before}, ${value}`;
  }
  const connection = headers.connection?.toLowerCase() ?? '';
  const framing = framingOf(status, headers, method, host);
  const closes = connection !== '' && /(?:^|[,\s])close(?:$|[,\s])/.test(connection);
  const keepsAlive = found[1] === '1' && !closes && framing !== 'until-close' && status !== 101;
  return { status, headers, framing, keepsAlive };
}

const known = new Map<string, string>();
const MOST_KNOWN = 256;

/** In lower case; undefined for what is no name: folded lines and spaces before the colon have hidden more than one attack. */
function nameOf(written: string): string | undefined {
  const found = known.get(written);
  if (found !== undefined || !NAME.test(written)) return found;
  const name = written.toLowerCase();
  if (known.size < MOST_KNOWN) known.set(written, name);
  return name;
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

/** Whether this may be the name of a header, or a method. */
export const isName = (text: string): boolean => nameOf(text) !== undefined;
