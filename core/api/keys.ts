const SURROGATE = 0xd800;
const ABOVE_SURROGATES = 0xe000;

/** UTF-16 sorts the characters above U+FFFF before U+E000…U+FFFF; UTF-8 after them. */
const rank = (unit: number): number =>
  unit < SURROGATE ? unit : unit < ABOVE_SURROGATES ? unit + 0x2000 : unit - 0x800;

/**
 * Compares two keys by their UTF-8 bytes, the order in which GCS and S3 list, without encoding them.
 *
 * @returns below zero when `a` sorts first, zero when equal, above zero when `b` does.
 */
export function compareKeys(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let index = 0; index < shared; index++) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** A key that sorts before `key` with little in between: where to begin a listing that must show `key`. */
export function keyBefore(key: string): string | undefined {
  const shorter = key.slice(0, -1);
  return shorter.length > 0 && shorter.isWellFormed() ? shorter : key.slice(0, -2) || undefined;
}

/** Bytes that a key takes in a request: UTF-8. */
export function keyBytes(key: string): number {
  return Buffer.byteLength(key, 'utf8');
}
