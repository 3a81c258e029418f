import { BrokerError } from './errors.ts';

const NEWLINE = 10;
const BOM = /^\ufeff/;

/** A line that is not blank, and where its bytes are: from `start` up to `end`, without the line break. */
export interface Line {
  readonly text: string;
  /** From 1, blank ones counted. */
  readonly number: number;
  readonly start: number;
  readonly end: number;
}

export interface LinesOptions {
  /** Of the text, for messages. */
  readonly name: string;
  /** Where the first byte of the stream lies. */
  readonly offset?: number;
  /** Bytes; no line is longer. */
  readonly longest?: number;
}

/**
 * Cuts UTF-8 text into lines at LF and CRLF, and nowhere else: names may hold any other character.
 *
 * @throws BrokerError with name and number: `too_large` for a line that is too long, `invalid_config` for one that is not UTF-8.
 */
export async function* linesOf(stream: AsyncIterable<Uint8Array>, options: LinesOptions): AsyncGenerator<Line> {
  const { name, offset = 0, longest = 32 * 2 ** 20 } = options;
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const wrong = (number: number, why: string): BrokerError =>
    new BrokerError('invalid_config', `${name}:${number}: ${why}`, { hint: 'Correct that line.' });
  const tooLong = (number: number): BrokerError =>
    new BrokerError('too_large', `${name}:${number}: the line is longer than ${longest} bytes`);
  let number = 0;
  const line = (bytes: Uint8Array, start: number): Line | undefined => {
    number++;
    if (bytes.length > longest) throw tooLong(number);
    let text: string;
    try {
      text = decoder.decode(bytes).replace(/\r$/, '');
    } catch {
      throw wrong(number, 'not valid UTF-8');
    }
    if (start === 0) text = text.replace(BOM, '');
    return text.trim() === '' ? undefined : { text, number, start, end: start + bytes.length };
  };
  let rest: Uint8Array = new Uint8Array(0);
  let start = offset;
  for await (const chunk of stream) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let at = rest.indexOf(NEWLINE); at >= 0; at = rest.indexOf(NEWLINE, from)) {
      const found = line(rest.subarray(from, at), start + from);
      if (found !== undefined) yield found;
      from = at + 1;
    }
    rest = rest.subarray(from);
    start += from;
    if (rest.length > longest) throw tooLong(number + 1);
  }
  const last = rest.length > 0 ? line(rest, start) : undefined;
  if (last !== undefined) yield last;
}
