/**
 * Takes a chunk. Until the promise settles, the chunk belongs to the taker and no other is given; without a promise the
 * taker is done with it. The giver uses its memory again afterwards.
 */
export type Take = (chunk: Uint8Array) => Promise<void> | undefined;

/** A stream of bytes. Node and web streams both are; pulling is the back-pressure; leaving a `for await` closes it. */
export interface ByteStream extends AsyncIterable<Uint8Array> {
  /**
   * The fast way to read it: every byte in order, in memory that is used again. Settles when all was taken; what `take`
   * throws closes the stream and is thrown. Without it, a stream is iterated.
   */
  pump?(take: Take): Promise<void>;
}

/** Bytes `start` (inclusive) to `end` (exclusive), counted from 0. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A stream that hashes what it delivers. */
export interface ContentStream extends ByteStream {
  /** Base64 CRC32C of all its bytes; to be asked once the stream has ended. */
  crc32c(): string;
}

/**
 * The bytes of one item, as a sink sees them: counted and hashed by the engine.
 *
 * A whole read that is shorter or longer than announced, or whose CRC32C differs from the published one, throws
 * before its last chunk is delivered, so a sink that commits at the end of the stream never commits wrong bytes.
 */
export interface Content {
  readonly size?: number;
  /** Whether `open` takes a range, also in parallel. Without it `open` may be called again, for the whole. */
  readonly ranges: boolean;
  open(range?: ByteRange): Promise<ContentStream>;
  /**
   * Hands the bytes over as they come, counted against what was announced and **not hashed**: for a sink whose store
   * compares them with the checksum that the source published (`item.checksums`), before a reader can see them. May be
   * called again, and in parallel for ranges.
   *
   * @param options.scratch memory to read into; see `HttpRequest`.
   * @throws BrokerError `too_long` before a byte too many is handed over, `truncated` at an early end.
   */
  pump?(take: Take, options?: { readonly range?: ByteRange; readonly scratch?: Buffer | undefined }): Promise<void>;
}

/** A share of the run's memory, with a buffer in it; disposing gives both back. */
export interface MemoryLease extends Disposable {
  /** As many bytes as were asked for; what they hold is undefined. Not to be touched after disposing. */
  readonly buffer: Buffer;
}

/**
 * The run's `memory:` limit, shared by all transfers. Whoever buffers bytes leases them first and never holds one
 * lease while waiting for another, so waiting cannot deadlock. Served in the order of asking; buffers are used again.
 */
export interface MemoryBudget {
  readonly total: number;
  /** The most bytes that were ever leased at once. */
  readonly peak: number;
  /** @throws BrokerError `memory_too_small` when `bytes` is more than `total`. */
  lease(bytes: number, signal: AbortSignal): Promise<MemoryLease>;
}

/** A stream of what is in memory already. */
export async function* streamOf(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}
