import { createCRC32 } from 'hash-wasm';
import { combineCrc32c, EMPTY_CRC32C, encodeCrc32c } from '../../core/api/checksum.ts';

/** Bytes that a local store holds or makes up. */
export interface Body {
  readonly size: number;
  readonly crc32c: string;
  read(start: number, end: number): AsyncIterable<Uint8Array>;
}

const PIECE = 256 * 1024;
const CASTAGNOLI = 0x82f63b78;
const hasher = await createCRC32(CASTAGNOLI);

/** Base64 CRC32C of a buffer. */
export function crc32c(bytes: Uint8Array): string {
  hasher.init();
  hasher.update(bytes);
  return encodeCrc32c(Number.parseInt(hasher.digest('hex'), 16));
}

export function bufferBody(bytes: Buffer): Body {
  return {
    size: bytes.byteLength,
    crc32c: crc32c(bytes),
    async *read(start, end) {
      for (let at = start; at < end; at += PIECE) yield bytes.subarray(at, Math.min(end, at + PIECE));
    },
  };
}

const BLOCK = Buffer.alloc(1024 * 1024);
for (let index = 0; index < BLOCK.length; index++) BLOCK[index] = (index * 131 + (index >> 8) * 17) & 0xff;
const BLOCK_CRC = crc32c(BLOCK);

/** A body of any size that takes no memory: one block of a megabyte again and again. */
export function patternBody(size: number): Body {
  let sum = EMPTY_CRC32C;
  // By doubling: a body of terabytes has millions of blocks.
  let [run, length] = [BLOCK_CRC, BLOCK.length];
  for (let blocks = Math.floor(size / BLOCK.length); blocks > 0; blocks = Math.floor(blocks / 2)) {
    if (blocks % 2 === 1) sum = combineCrc32c(sum, run, length);
    [run, length] = [combineCrc32c(run, run, length), length * 2];
  }
  const rest = BLOCK.subarray(0, size % BLOCK.length);
  return {
    size,
    crc32c: combineCrc32c(sum, crc32c(rest), rest.length),
    async *read(start, end) {
      for (let at = start; at < end; ) {
        const from = at % BLOCK.length;
        const piece = BLOCK.subarray(from, Math.min(BLOCK.length, from + PIECE, from + end - at));
        yield piece;
        at += piece.byteLength;
      }
    },
  };
}
