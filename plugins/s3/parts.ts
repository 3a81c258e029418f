import { BrokerError, type ByteRange, type ContentStream, formatBytes } from '../../core/api/index.ts';

const MOST_PARTS = 10_000;
const MIB = 2 ** 20;
/** Of an upload whose size is not known: parts grow, so that 10,000 of them hold a very large object. */
const GROW_AFTER = 1000;

/** The size of the parts of an object: as configured, or as much larger as 10,000 parts demand. */
export function partSizeOf(size: number, configured: number): number {
  return Math.max(configured, Math.ceil(size / MOST_PARTS / MIB) * MIB);
}

/** The parts of an object of known size, in order. */
export function* partRanges(size: number, partSize: number): Generator<ByteRange & { readonly number: number }> {
  for (let number = 1, start = 0; start < size; number++, start += partSize) {
    yield { number, start, end: Math.min(size, start + partSize) };
  }
}

/** The size of one part of an upload of unknown size; never more than half of the memory. */
export function growingPartSize(number: number, configured: number, memory: number): number {
  if (number > MOST_PARTS) {
    throw new BrokerError('too_large', 'the stream is longer than 10,000 parts hold', {
      hint: `Raise memory above ${formatBytes(memory)}: parts of a stream of unknown size grow up to half of it.`,
    });
  }
  return Math.max(
    configured,
    Math.min(configured * 2 ** Math.floor((number - 1) / GROW_AFTER), Math.floor(memory / 2)),
  );
}

/** Smaller buffers are not worth keeping. */
const SMALLEST_KEPT = 64 * 1024;

/**
 * Buffers used again, in sizes that double up to the part size: freed ones linger in the process until a garbage
 * collection.
 */
export class BufferPool {
  readonly #largest: number;
  readonly #idle = new Map<number, Buffer[]>();
  #idleBytes = 0;

  constructor(largest: number) {
    this.#largest = largest;
  }

  /** How much memory a buffer for so many bytes takes: to be leased before `take`. */
  cost(bytes: number): number {
    if (bytes < SMALLEST_KEPT || bytes > this.#largest) return bytes;
    return Math.min(this.#largest, 2 ** Math.ceil(Math.log2(bytes)));
  }

  take(bytes: number): Buffer {
    const cost = this.cost(bytes);
    const idle = this.#idle.get(cost)?.pop();
    if (idle === undefined) return Buffer.allocUnsafeSlow(cost);
    this.#idleBytes -= cost;
    return idle;
  }

  /** Idle buffers never take more than `memory` all together. */
  give(buffer: Buffer, memory: number): void {
    const size = buffer.length;
    if (this.cost(size) !== size || size < SMALLEST_KEPT || this.#idleBytes + size > memory) return;
    this.#idleBytes += size;
    const idle = this.#idle.get(size);
    if (idle === undefined) this.#idle.set(size, [buffer]);
    else idle.push(buffer);
  }
}

/**
 * Reads a stream of at most `buffer.length` bytes to its end.
 *
 * @returns how many bytes there were.
 */
export async function fill(buffer: Buffer, stream: ContentStream): Promise<number> {
  let at = 0;
  for await (const chunk of stream) {
    if (at + chunk.byteLength > buffer.length)
      throw new BrokerError('too_long', `more than the ${buffer.length} bytes announced`);
    buffer.set(chunk, at);
    at += chunk.byteLength;
  }
  return at;
}

/** Cuts a stream into parts of given sizes. */
export class PartReader implements AsyncDisposable {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array | undefined;
  #ended = false;

  constructor(stream: ContentStream) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Fills the buffer, less only at the end of the stream; the answer is the part of it that was filled. */
  async fill(buffer: Buffer): Promise<Buffer> {
    let at = 0;
    while (at < buffer.length) {
      if (this.#rest === undefined) {
        const next = await this.#chunks.next();
        if (next.done === true) {
          this.#ended = true;
          break;
        }
        this.#rest = next.value;
      }
      const piece = this.#rest.subarray(0, buffer.length - at);
      buffer.set(piece, at);
      at += piece.byteLength;
      this.#rest = piece.byteLength < this.#rest.byteLength ? this.#rest.subarray(piece.byteLength) : undefined;
    }
    return buffer.subarray(0, at);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return?.();
  }
}
