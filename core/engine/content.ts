import { createHash } from 'node:crypto';
import type { ByteRange, ByteStream, Content, ContentStream, Take } from '../api/bytes.ts';
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

/** An MD5 is of all bytes from the first on; CRC32Cs of parts can be put together. */
export const mustBeWhole = ({ whole, checksums = {} }: Item): boolean =>
  whole === true || (checksums.crc32c === undefined && checksums.md5 !== undefined);

/** The bytes of an item, counted, hashed and checked against what the source published. */
export function contentOf(source: Source, item: Item, options: ContentOptions): Content {
  const expectedOf = (range: ByteRange | undefined) => (range === undefined ? item.size : range.end - range.start);
  return {
    ...(item.size === undefined ? {} : { size: item.size }),
    ranges: source.ranges === true && item.size !== undefined && !mustBeWhole(item),
    open: async (range) => {
      const stream = await source.open(item, { signal: options.signal, ...(range === undefined ? {} : { range }) });
      const published = isWhole(range, item) ? item.checksums?.crc32c : undefined;
      return checkedStream(stream, {
        ...options,
        item,
        expected: expectedOf(range),
        published,
        isAll: isWhole(range, item),
      });
    },
    pump: async (take, { range, scratch } = {}) => {
      const { signal } = options;
      const stream = await source.open(item, { signal, scratch, ...(range === undefined ? {} : { range }) });
      await pumped(stream, take, { ...options, item, expected: expectedOf(range) });
    },
  };
}

/** Counts, and hashes nothing. Bytes of a try that failed do not count. */
async function pumped(stream: ByteStream, take: Take, checks: Omit<Checks, 'published' | 'isAll'>): Promise<void> {
  const { item, expected, onBytes } = checks;
  let count = 0;
  const counted: Take = (chunk) => {
    count += chunk.byteLength;
    if (expected !== undefined && count > expected)
      throw new BrokerError('too_long', `${item.id}: more than the ${expected} bytes announced`);
    onBytes(chunk.byteLength);
    return take(chunk);
  };
  try {
    if (stream.pump !== undefined) await stream.pump(counted);
    else for await (const chunk of stream) await counted(chunk);
    if (expected !== undefined && count < expected)
      throw new BrokerError('truncated', `${item.id}: ${count} of ${expected} bytes`);
  } catch (error) {
    onBytes(-count);
    throw error;
  }
}

const isWhole = (range: ByteRange | undefined, item: Item): boolean =>
  range === undefined || (range.start === 0 && range.end === item.size);

interface Checks extends ContentOptions {
  readonly item: Item;
  readonly expected: number | undefined;
  readonly published: string | undefined;
  /** From the first byte to the last. */
  readonly isAll: boolean;
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
  { item, expected, published, isAll, onBytes }: Checks,
): AsyncGenerator<Uint8Array> {
  let held: Uint8Array | undefined;
  let count = 0;
  // Where a source publishes nothing better.
  const md5 = published === undefined && isAll ? item.checksums?.md5 : undefined;
  const digest = md5 === undefined ? undefined : createHash('md5');
  try {
    for await (const chunk of stream) {
      if (chunk.byteLength === 0) continue;
      count += chunk.byteLength;
      if (expected !== undefined && count > expected) {
        throw new BrokerError('too_long', `${item.id}: more than the ${expected} bytes announced`);
      }
      if (held !== undefined) yield held;
      hasher.update(chunk);
      digest?.update(chunk);
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
    const read = digest?.digest('base64');
    if (read !== md5)
      throw new BrokerError('checksum_mismatch', `${item.id}: read MD5 ${read}, the source publishes ${md5}`);
    if (held !== undefined) yield held;
  } finally {
    hasher.release();
  }
}
