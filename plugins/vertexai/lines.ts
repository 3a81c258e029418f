import { BrokerError } from '../../core/api/index.ts';

/** No line is longer. */
const LONGEST = 32 * 1024 * 1024;
const NEWLINE = 10;

/** A line that is not blank, and where its bytes are: from `start` up to `end`, without the line break. */
export interface Line {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** @param offset where the first byte of the stream lies. @throws BrokerError `too_large` for a line without end. */
export async function* linesOf(stream: AsyncIterable<Uint8Array>, offset = 0): AsyncGenerator<Line> {
  let rest = Buffer.alloc(0);
  let start = offset;
  for await (const chunk of stream) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let at = rest.indexOf(NEWLINE); at >= 0; at = rest.indexOf(NEWLINE, from)) {
      yield* line(rest.subarray(from, at), start + from);
      from = at + 1;
    }
    rest = rest.subarray(from);
    start += from;
    if (rest.length > LONGEST) throw new BrokerError('too_large', `a line is longer than ${LONGEST} bytes`);
  }
  yield* line(rest, start);
}

function* line(bytes: Buffer, start: number): Generator<Line> {
  const text = bytes.toString('utf8').trim();
  if (text !== '') yield { text, start, end: start + bytes.length };
}
