import { hash } from 'node:crypto';
import type { Item } from '../api/item.ts';
import { keyTemplate } from '../api/key-template.ts';

/** Under which key an item is written, where that is not its own. */
export interface KeyMap {
  /** Undefined when the item lacks what its key is to be made of. */
  of(item: Item): string | undefined;
  /** The key of the item that would be written under this one; undefined when none would. */
  sourceKey?(key: string): string | undefined;
  /** The keys in the sources that may become this one, where that can be told though keys may meet. */
  mayCome?(key: string): readonly string[];
  /** What all keys begin with. */
  readonly prefix: string;
  /** Keys come out in the order in which they go in, so that listings can be walked side by side. */
  readonly ordered: boolean;
  /** Two items of one source never get the same key. */
  readonly unique: boolean;
  /** What becomes of an item whose key is taken by one before it. */
  readonly collisions: 'refuse' | 'skip';
}

/** Compiles a template such as `{date}/{key}`. Its fields were checked before. */
export function keyMap(template: string, collisions: KeyMap['collisions']): KeyMap {
  const { of, before, ordered, unique } = keyTemplate(template);
  return {
    of,
    ...(ordered ? { sourceKey: (key: string) => (key.startsWith(before) ? key.slice(before.length) : undefined) } : {}),
    prefix: before,
    ordered,
    unique,
    collisions,
  };
}

/** So many keys are remembered at most: 16 bytes each. */
const MOST_KEYS = 4_000_000;

/** Remembers which keys were given out, by a hash of 64 bits of each, in an array that grows. */
export class TakenKeys {
  #slots = new BigUint64Array(1024);
  #count = 0;

  get full(): boolean {
    return this.#count >= MOST_KEYS;
  }

  /** @returns whether the key was free. */
  take(key: string): boolean {
    if (this.#count * 2 >= this.#slots.length) this.#grow();
    const hash = hashOf(key);
    const slot = slotOf(this.#slots, hash);
    if (this.#slots[slot] === hash) return false;
    this.#slots[slot] = hash;
    this.#count++;
    return true;
  }

  #grow(): void {
    const larger = new BigUint64Array(this.#slots.length * 4);
    for (const hash of this.#slots) if (hash !== 0n) larger[slotOf(larger, hash)] = hash;
    this.#slots = larger;
  }
}

function slotOf(slots: BigUint64Array, hash: bigint): number {
  let slot = Number(hash % BigInt(slots.length));
  while (slots[slot] !== 0n && slots[slot] !== hash) slot = (slot + 1) % slots.length;
  return slot;
}

/** The first 64 bits of a SHA-1. Two of millions of keys that share them are not to be expected, and would be refused. */
function hashOf(key: string): bigint {
  const first = hash('sha1', key, 'buffer').readBigUInt64BE();
  return first === 0n ? 1n : first;
}
