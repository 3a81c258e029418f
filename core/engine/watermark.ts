import type { Receipt } from './receipt.ts';
import { Tally } from './report.ts';

/** One item that was begun and is not finished for every sink. */
export interface Mark {
  /** Call once for each sink that is done with the item. */
  done(receipt: Receipt, sink?: string): void;
}

interface Unfinished {
  /** The key of the item begun just before. */
  readonly before: string | undefined;
  /** What became of this item so far, and of all that came after it and before the next unfinished one. */
  readonly tally: Tally;
  previous: Unfinished | undefined;
  next: Unfinished | undefined;
}

/**
 * Knows up to which key everything is finished, though items finish out of order, and what became of that.
 *
 * Holds only what is unfinished, so a slow item among millions of fast ones costs nothing.
 */
export class Watermark {
  /** What became of everything up to and including `value`: whoever goes on from there counts no item twice. */
  readonly tally: Tally;
  #last: string | undefined;
  #oldest: Unfinished | undefined;
  #newest: Unfinished | undefined;

  constructor(start: string | undefined, tally = new Tally()) {
    this.#last = start;
    this.tally = tally;
  }

  /** @param parts how many sinks must be done, at least one; items are begun in key order. */
  begin(key: string, parts: number): Mark {
    const previous = this.#newest;
    const one: Unfinished = { before: this.#last, tally: new Tally(), previous, next: undefined };
    if (previous === undefined) this.#oldest = one;
    else previous.next = one;
    this.#newest = one;
    this.#last = key;
    let left = parts;
    return {
      done: (receipt, sink) => {
        one.tally.add(receipt, sink);
        left--;
        if (left === 0) this.#finish(one);
      },
    };
  }

  /** Everything up to and including this key is finished; undefined when nothing is. */
  get value(): string | undefined {
    return this.#oldest === undefined ? this.#last : this.#oldest.before;
  }

  /** What became of everything so far, also beyond `value`. */
  total(): Tally {
    const total = new Tally();
    total.merge(this.tally);
    for (let one = this.#oldest; one !== undefined; one = one.next) total.merge(one.tally);
    return total;
  }

  #finish(one: Unfinished): void {
    const { previous, next } = one;
    (previous?.tally ?? this.tally).merge(one.tally);
    if (previous === undefined) this.#oldest = next;
    else previous.next = next;
    if (next === undefined) this.#newest = previous;
    else next.previous = previous;
  }
}
