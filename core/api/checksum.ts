const POLYNOMIAL = 0x82f63b78;

/** Base64 of the four big-endian bytes: how GCS and S3 write a CRC32C. */
export function encodeCrc32c(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes.toString('base64');
}

export function decodeCrc32c(text: string): number {
  return Buffer.from(text, 'base64').readUInt32BE();
}

/** The CRC32C of no bytes at all. */
export const EMPTY_CRC32C = 'AAAAAA==';

const times = (matrix: Uint32Array, vector: number): number => {
  let sum = 0;
  for (let row = 0, rest = vector >>> 0; rest !== 0; row++, rest >>>= 1) {
    if (rest & 1) sum ^= matrix[row] ?? 0;
  }
  return sum >>> 0;
};

const square = (matrix: Uint32Array): Uint32Array => matrix.map((row) => times(matrix, row));

/** The effect of one zero bit on the register, as a matrix over GF(2). */
const oneZeroBit = (): Uint32Array =>
  Uint32Array.from({ length: 32 }, (_, row) => (row === 0 ? POLYNOMIAL : 1 << (row - 1)));

/**
 * The CRC32C of `first` followed by `second`, from their checksums alone.
 *
 * @param length bytes of `second`. Same method as zlib's crc32_combine: log2(length) squarings of a 32x32 matrix.
 */
export function combineCrc32c(first: string, second: string, length: number): string {
  let matrix = square(square(oneZeroBit()));
  let register = decodeCrc32c(first);
  // Numbers, not bit operations: lengths pass 2^31.
  for (let rest = length; rest > 0; rest = Math.floor(rest / 2)) {
    matrix = square(matrix);
    if (rest % 2 === 1) register = times(matrix, register);
  }
  return encodeCrc32c(register ^ decodeCrc32c(second));
}
