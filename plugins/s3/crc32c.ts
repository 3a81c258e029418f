import { crc32 } from 'hash-wasm';
import { encodeCrc32c } from '../../core/api/index.ts';

const CASTAGNOLI = 0x82f63b78;

/** Base64 CRC32C of a buffer. */
export async function crc32cOf(body: Buffer): Promise<string> {
  return encodeCrc32c(Number.parseInt(await crc32(body, CASTAGNOLI), 16));
}
