import { BrokerError, type ByteRange, type ContentStream, formatBytes } from '../../core/api/index.ts';

export const MOST_PARTS = 10_000;
const MIB = 2 ** 20;
const GIB = 2 ** 30;
/** Of an upload whose size is not known: parts double after so many, so that 10,000 of them hold 50 TB. */
const GROW_AFTER = 80;
const LARGEST_PART = 5 * GIB;

/** What of the options says how an object is cut. */
export interface PartOptions {
  readonly partSize?: number | undefined;
}

/** How the bytes of an object pass: straight through, or by way of memory, where they are hashed. */
export type Passage = 'streamed' | 'buffered';

/**
 * Up to this size an object is one PUT. Parts that stream take no memory, so they are as large as is cheap: 64 MiB cost
 * $0.075 in requests for each TB, 8 MiB $0.60.
 */
export const mostInOnePut = ({ partSize }: PartOptions, passage: Passage): number =>
  partSize ?? (passage === 'streamed' ? 64 * MIB : 8 * MIB);

/**
 * The size of the parts of an object: as configured, or as much larger as 10,000 parts demand. By default below 1 GiB
 * smaller ones, so that more of them pass at once.
 */
export function partSizeOf(size: number, { partSize }: PartOptions, passage: Passage): number {
  const usual = passage === 'buffered' ? 8 * MIB : size < GIB ? 16 * MIB : 64 * MIB;
  return Math.max(partSize ?? usual, Math.ceil(size / MOST_PARTS / MIB) * MIB);
}

/** The parts of an object of known size, in order; by default all of them. @param within begins and ends where parts do. */
export function* partRanges(
  size: number,
  partSize: number,
  within: ByteRange = { start: 0, end: size },
): Generator<ByteRange & { readonly number: number }> {
  for (let start = within.start; start < within.end; start += partSize) {
    yield { number: start / partSize + 1, start, end: Math.min(size, start + partSize) };
  }
}

/** Ranges of about so many bytes, each of whole parts. */
export function pieceRanges(size: number, partSize: number, bytes: number): ByteRange[] {
  const most = Math.max(1, Math.floor(bytes / partSize)) * partSize;
  const count = Math.max(1, Math.ceil(size / most));
  // Of equal size as far as parts allow: the last must not be the one that all wait for, nor one that is hardly there.
  const each = Math.ceil(size / count / partSize) * partSize;
  return Array.from({ length: Math.ceil(size / each) }, (_, index) => ({
    start: index * each,
    end: Math.min(size, (index + 1) * each),
  }));
}

/** The size of one part of an upload of unknown size; never more than half of the memory. */
export function growingPartSize(number: number, { partSize = 8 * MIB }: PartOptions, memory: number): number {
  if (number > MOST_PARTS) {
    throw new BrokerError('too_large', 'the stream is longer than 10,000 parts hold', {
      hint: `Raise memory above ${formatBytes(memory)}: parts of a stream of unknown size grow up to half of it.`,
    });
  }
  const grown = Math.min(partSize * 2 ** Math.floor((number - 1) / GROW_AFTER), Math.floor(memory / 2), LARGEST_PART);
  return Math.max(partSize, grown);
}

/**
 * Reads a stream of at most `buffer.length` bytes to its end.
 *
 * @returns how many bytes there were.
 */
export async function fill(buffer: Buffer, stream: ContentStream, signal: AbortSignal): Promise<number> {
  let at = 0;
  for await (const chunk of stream) {
    signal.throwIfAborted();
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
