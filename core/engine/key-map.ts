import { hash } from 'node:crypto';
import type { Item } from '../api/item.ts';

/** Under which key an item is written, where that is not its own. */
export interface KeyMap {
  /** Undefined when the item lacks what its key is to be made of. */
  of(item: Item): string | undefined;
  /** The key of the item that would be written under this one; undefined when none would. */
  sourceKey?(key: string): string | undefined;
  /** What all keys begin with. */
  readonly prefix: string;
  /** Keys come out in the order in which they go in, so that listings can be walked side by side. */
  readonly ordered: boolean;
  /** Two items of one source never get the same key. */
  readonly unique: boolean;
  /** What becomes of an item whose key is taken by one before it. */
  readonly collisions: 'refuse' | 'skip';
}

/** What an item offers to a template. `undefined`: this item has none. */
const FIELDS: Readonly<Record<string, (item: Item) => string | undefined>> = {
  key: ({ key }) => key,
  dir: ({ key }) => key.slice(0, key.lastIndexOf('/') + 1),
  name: ({ key }) => nameOf(key),
  stem: ({ key }) => stemOf(nameOf(key)),
  ext: ({ key }) => nameOf(key).slice(stemOf(nameOf(key)).length),
  generation: ({ id }) => /#([^#]+)$/.exec(id)?.[1],
  crc32c: ({ checksums }) =>
    checksums?.crc32c === undefined ? undefined : Buffer.from(checksums.crc32c, 'base64').toString('hex'),
  year: (item) => dateOf(item)?.slice(0, 4),
  month: (item) => dateOf(item)?.slice(5, 7),
  day: (item) => dateOf(item)?.slice(8, 10),
  date: (item) => dateOf(item)?.slice(0, 10),
};

export const KEY_FIELDS: readonly string[] = Object.keys(FIELDS);

const nameOf = (key: string): string => key.slice(key.lastIndexOf('/') + 1);
const stemOf = (name: string): string => name.slice(0, name.lastIndexOf('.') > 0 ? name.lastIndexOf('.') : undefined);

/** Of the last change, in UTC. */
function dateOf({ modifiedAt }: Item): string | undefined {
  const time = Date.parse(modifiedAt ?? '');
  return Number.isNaN(time) ? undefined : new Date(time).toISOString();
}

const FIELD = /\{([^{}]*)\}/g;

/** The names in braces. */
export const fieldsOf = (template: string): readonly string[] =>
  [...template.matchAll(FIELD)].map(([, name = '']) => name);

/** Which fields together hold the whole key. */
const WHOLE: readonly (readonly string[])[] = [['key'], ['dir', 'name'], ['dir', 'stem', 'ext']];
/** Fields that are as long in every item, so that what stands beside them can be told apart. */
const FIXED = new Set(['year', 'month', 'day', 'date', 'crc32c']);

/** Compiles a template such as `{date}/{key}`. Its fields were checked before. */
export function keyMap(template: string, collisions: KeyMap['collisions']): KeyMap {
  const names = fieldsOf(template);
  const flexible = names.filter((name) => !FIXED.has(name));
  const [before = ''] = template.split('{', 1);
  const ordered = names.length === 1 && template === `${before}{key}`;
  return {
    of: (item) => {
      let whole = true;
      const key = template.replace(FIELD, (_, name: string) => {
        const value = FIELDS[name]?.(item);
        whole &&= value !== undefined;
        return value ?? '';
      });
      return whole ? key : undefined;
    },
    ...(ordered ? { sourceKey: (key: string) => (key.startsWith(before) ? key.slice(before.length) : undefined) } : {}),
    prefix: before,
    ordered,
    // In this order and with nothing in between: `{dir}{name}`; else `a-b` and `c` may be `a` and `b-c`.
    unique: WHOLE.some(
      (whole) => flexible.join() === whole.join() && template.includes(whole.map((n) => `{${n}}`).join('')),
    ),
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
