/** One item that was begun and is not finished for every sink. */
export interface Mark {
  /** Call once for each sink that is done with the item. */
  done(): void;
}

/**
 * Knows up to which key everything is finished, though items finish out of order.
 *
 * Holds only what is unfinished, so a slow item among millions of fast ones costs nothing.
 */
export class Watermark {
  #last: string | undefined;
  /** In the order of beginning; the value is the key of the item begun just before. */
  readonly #unfinished = new Map<symbol, string | undefined>();

  constructor(start: string | undefined) {
    this.#last = start;
  }

  /** @param parts how many sinks must be done; items are begun in key order. */
  begin(key: string, parts: number): Mark {
    const mark = Symbol(key);
    if (parts > 0) this.#unfinished.set(mark, this.#last);
    this.#last = key;
    let left = parts;
    return {
      done: () => {
        left--;
        if (left === 0) this.#unfinished.delete(mark);
      },
    };
  }

  /** Everything up to and including this key is finished; undefined when nothing is. */
  get value(): string | undefined {
    const [oldest] = this.#unfinished;
    return oldest === undefined ? this.#last : oldest[1];
  }
}
