import { compareKeys } from '../api/keys.ts';

/** Characters of a name that count towards its place: as many as a double holds, roughly. */
const DIGITS = 10;
const LONGEST = 1024;

/**
 * The space of names that are seen in a listing, as numbers: each character is a digit, in the alphabet of what was seen.
 * It is for guessing only.
 */
export class NameSpace {
  #alphabet: readonly string[] = [];

  learn(keys: readonly string[]): void {
    const all = new Set(this.#alphabet);
    for (const key of keys) for (const character of key) if (character.isWellFormed()) all.add(character);
    if (all.size > this.#alphabet.length) this.#alphabet = [...all].sort(compareKeys);
  }

  /** A name about half way. @returns undefined when there is none in between. @param high by default above all names. */
  between(low: string, high: string | undefined): string | undefined {
    const prefix = high === undefined ? '' : commonPrefix(low, high);
    const [below, above] = this.#span(low, high, prefix);
    let rest = (below + above) / 2;
    let name = prefix;
    for (let digit = 0; digit < DIGITS; digit++) {
      rest *= this.#base;
      const place = Math.min(Math.floor(rest), this.#base - 1);
      rest -= place;
      name += this.#alphabet[place] ?? '';
      if (name.length > LONGEST) return undefined;
      if (compareKeys(name, low) > 0 && (high === undefined || compareKeys(name, high) < 0)) return name;
    }
    return undefined;
  }

  /** What part of the space from `low` to `high` lies up to `key`: above 0, at most 1. */
  share(low: string, key: string, high: string | undefined): number {
    const prefix = high === undefined ? '' : commonPrefix(low, high);
    const [below, above] = this.#span(low, high, prefix);
    const part = (this.#place(key.slice(prefix.length)) - below) / (above - below);
    return part > Number.EPSILON ? Math.min(1, part) : Number.EPSILON;
  }

  get #base(): number {
    return Math.max(2, this.#alphabet.length);
  }

  #span(low: string, high: string | undefined, prefix: string): readonly [number, number] {
    const above = high === undefined ? 1 : this.#place(high.slice(prefix.length));
    return [this.#place(low.slice(prefix.length)), above];
  }

  /** From 0 up to 1. */
  #place(name: string): number {
    let place = 0;
    let weight = 1;
    for (const character of [...name.slice(0, 2 * DIGITS)].slice(0, DIGITS)) {
      weight /= this.#base;
      place += weight * this.#digit(character);
    }
    return place;
  }

  #digit(character: string): number {
    let [from, to] = [0, this.#alphabet.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (compareKeys(this.#alphabet[middle] ?? '', character) < 0) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}

/** Never ends within a character. */
function commonPrefix(a: string, b: string): string {
  let prefix = '';
  for (const character of a) {
    if (!b.startsWith(prefix + character)) break;
    prefix += character;
  }
  return prefix;
}
