import { createHash } from 'node:crypto';
import { createCRC32, createCRC64 } from 'hash-wasm';

/** The checksum algorithms of S3, by the name in their headers. */
export const ALGORITHMS = ['crc32', 'crc32c', 'sha1', 'sha256', 'crc64nvme'] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/** Whole-object checksums can only be put together from CRCs. */
export const FULL_OBJECT: ReadonlySet<Algorithm> = new Set(['crc32', 'crc32c', 'crc64nvme']);

export interface Hash {
  update(chunk: Uint8Array): void;
  /** Base64; only once. */
  digest(): string;
}

const POLYNOMIALS = { crc32: 0xedb88320, crc32c: 0x82f63b78 } as const;
const NVME = '9a6c9329ac4bc9b5';

export async function hashOf(algorithm: Algorithm | 'md5'): Promise<Hash> {
  if (algorithm === 'crc32' || algorithm === 'crc32c' || algorithm === 'crc64nvme') {
    const crc = await (algorithm === 'crc64nvme' ? createCRC64(NVME) : createCRC32(POLYNOMIALS[algorithm]));
    crc.init();
    return {
      update: (chunk) => void crc.update(chunk),
      digest: () => Buffer.from(crc.digest('hex'), 'hex').toString('base64'),
    };
  }
  const hash = createHash(algorithm);
  return { update: (chunk) => void hash.update(chunk), digest: () => hash.digest('base64') };
}

/** COMPOSITE: the checksum of the parts' checksums, and their number. */
export async function composite(algorithm: Algorithm, parts: readonly string[]): Promise<string> {
  const hash = await hashOf(algorithm);
  for (const part of parts) hash.update(Buffer.from(part, 'base64'));
  return `${hash.digest()}-${parts.length}`;
}
