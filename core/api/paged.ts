/**
 * A listing that comes in pages. To whoever walks it, it is a sequence like any other; the engine takes what lies in the
 * page at hand without waiting, which costs a fraction of waiting for each entry by itself.
 *
 * A page may make its entries as they are taken: what lives for a moment costs the garbage collector nothing, a page of a
 * thousand entries that waits to be read does.
 */
export class Paged<T> implements AsyncIterableIterator<T> {
  readonly #pages: AsyncIterator<Iterable<T>>;
  #page: Iterator<T> | undefined;

  /** @param pages empty ones are passed over. */
  constructor(pages: AsyncIterable<Iterable<T>>) {
    this.#pages = pages[Symbol.asyncIterator]();
  }

  /** The next entry, if the page at hand holds one. */
  take(): T | undefined {
    const next = this.#page?.next();
    if (next?.done === false) return next.value;
    this.#page = undefined;
    return undefined;
  }

  async next(): Promise<IteratorResult<T>> {
    for (;;) {
      const entry = this.take();
      if (entry !== undefined) return { done: false, value: entry };
      const { done, value } = await this.#pages.next();
      if (done === true) return { done: true, value: undefined };
      this.#page = value[Symbol.iterator]();
    }
  }

  async return(): Promise<IteratorResult<T>> {
    this.#page = undefined;
    await this.#pages.return?.();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
