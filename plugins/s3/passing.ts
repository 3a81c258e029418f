import type { ByteRange, Content, Item, MemoryLease, SentBody, WriteOptions } from '../../core/api/index.ts';
import type { S3Config } from './config.ts';

/** Up to here the memory of a connection will do. */
const SMALL = 16 * 1024;
/** Read into one half while the other is sent; more is not faster, since it leaves the cache of the processor. */
const LARGE = 384 * 1024;

/** Whether the bytes of an item can pass without being held or hashed: S3 verifies what the source published. */
export const canPass = (item: Item, { pump, size }: Content, { proof }: Pick<S3Config, 'proof'>): boolean =>
  proof === 'checksum' && pump !== undefined && size !== undefined && item.checksums?.crc32c !== undefined;

/** Memory for so many bytes to pass through. */
export const leaseFor = async (size: number, { memory, signal }: WriteOptions): Promise<MemoryLease | undefined> =>
  size <= SMALL ? undefined : memory.lease(Math.min(size, LARGE, memory.total), signal);

/** A body that is read while it is sent. */
export const passing = (
  content: Content,
  size: number,
  lease: MemoryLease | undefined,
  range?: ByteRange,
): SentBody => ({
  size,
  send: async (take) => content.pump?.(take, { ...(range && { range }), scratch: lease?.buffer }),
});
