import type { ByteRange, ByteStream, Content, ContentStream } from '../api/bytes.ts';
import { BrokerError } from '../api/errors.ts';
import type { Item } from '../api/item.ts';
import type { Source } from '../api/source.ts';
import { bytesPassed } from './collect.ts';
import type { Crc32cPool } from './crc32c.ts';

export interface ContentOptions {
  readonly signal: AbortSignal;
  readonly hashers: Crc32cPool;
  /** Told of every chunk that was delivered; negative when a try is given up and its bytes do not count. */
  readonly onBytes: (bytes: number) => void;
}

/** The bytes of an item, counted, hashed and checked against what the source published. */
export function contentOf(source: Source, item: Item, options: ContentOptions): Content {
  return {
    ...(item.size === undefined ? {} : { size: item.size }),
    ranges: source.ranges === true && item.size !== undefined,
    open: async (range) => {
      const expected = range === undefined ? item.size : range.end - range.start;
      const stream = await source.open(item, { signal: options.signal, ...(range === undefined ? {} : { range }) });
      const published = isWhole(range, item) ? item.checksums?.crc32c : undefined;
      return checkedStream(stream, { ...options, item, expected, published });
    },
  };
}

const isWhole = (range: ByteRange | undefined, item: Item): boolean =>
  range === undefined || (range.start === 0 && range.end === item.size);

interface Checks extends ContentOptions {
  readonly item: Item;
  readonly expected: number | undefined;
  readonly published: string | undefined;
}

async function checkedStream(stream: ByteStream, checks: Checks): Promise<ContentStream> {
  const hasher = await checks.hashers.take();
  return {
    crc32c: () => hasher.value(),
    [Symbol.asyncIterator]: () => checkedChunks(stream, hasher, checks),
  };
}

/** Holds one chunk back until the next has come or the end has been checked: nobody commits what is not proved. */
async function* checkedChunks(
  stream: ByteStream,
  hasher: Awaited<ReturnType<Crc32cPool['take']>>,
  { item, expected, published, onBytes }: Checks,
): AsyncGenerator<Uint8Array> {
  let held: Uint8Array | undefined;
  let count = 0;
  try {
    for await (const chunk of stream) {
      if (chunk.byteLength === 0) continue;
      count += chunk.byteLength;
      if (expected !== undefined && count > expected) {
        throw new BrokerError('too_long', `${item.id}: more than the ${expected} bytes announced`);
      }
      if (held !== undefined) yield held;
      hasher.update(chunk);
      onBytes(chunk.byteLength);
      bytesPassed(chunk.byteLength);
      held = chunk;
    }
    if (expected !== undefined && count < expected) {
      throw new BrokerError('truncated', `${item.id}: ${count} of ${expected} bytes`);
    }
    if (published !== undefined && hasher.value() !== published) {
      throw new BrokerError(
        'checksum_mismatch',
        `${item.id}: read CRC32C ${hasher.value()}, the source publishes ${published}`,
      );
    }
    if (held !== undefined) yield held;
  } finally {
    hasher.release();
  }
}
