import type { IHasher } from 'hash-wasm';
import { encodeCrc32c } from '../api/checksum.ts';

/** A running CRC32C. Give it back with `release` (once), so that its WebAssembly memory serves the next stream. */
export interface Crc32c {
  update(chunk: Uint8Array): void;
  /** Base64, big-endian, of what was given so far; the sum may go on. */
  value(): string;
  release(): void;
}

/** Loaded at first use: commands that carry nothing do not pay for it. */
const newHasher = async (): Promise<IHasher> => (await import('./hasher.ts')).newHasher();

/** Lends out hashers; there are never more of them than streams open at once. */
export class Crc32cPool {
  readonly #idle: IHasher[] = [];

  async take(): Promise<Crc32c> {
    const hasher = this.#idle.pop() ?? (await newHasher());
    hasher.init();
    let last: string | undefined;
    return {
      update: (chunk) => void hasher.update(chunk),
      value: () => {
        if (last !== undefined) return last;
        const state = hasher.save();
        const value = encodeCrc32c(Number.parseInt(hasher.digest('hex'), 16));
        hasher.load(state);
        return value;
      },
      release: () => {
        if (last !== undefined) return;
        last = encodeCrc32c(Number.parseInt(hasher.digest('hex'), 16));
        this.#idle.push(hasher);
      },
    };
  }
}
