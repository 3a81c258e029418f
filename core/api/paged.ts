/**
 * A listing that comes in pages. To whoever walks it, it is a sequence like any other; the engine takes what lies in the
 * page at hand without waiting, which costs a fraction of waiting for each entry by itself.
 */
export class Paged<T> implements AsyncIterableIterator<T> {
  readonly #pages: AsyncIterator<readonly T[]>;
  #page: readonly T[] = [];
  #at = 0;

  /** @param pages empty ones are passed over. */
  constructor(pages: AsyncIterable<readonly T[]>) {
    this.#pages = pages[Symbol.asyncIterator]();
  }

  /** The next entry, if the page at hand holds one. */
  take(): T | undefined {
    return this.#page[this.#at++];
  }

  async next(): Promise<IteratorResult<T>> {
    for (;;) {
      if (this.#at < this.#page.length) return { done: false, value: this.take() as T };
      const { done, value } = await this.#pages.next();
      if (done === true) return { done: true, value: undefined };
      this.#page = value;
      this.#at = 0;
    }
  }

  async return(): Promise<IteratorResult<T>> {
    this.#page = [];
    await this.#pages.return?.();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
