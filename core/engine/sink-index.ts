import type { StoredObject } from '../api/item.ts';
import { compareKeys, keyBefore } from '../api/keys.ts';
import { Paged } from '../api/paged.ts';
import type { Sink } from '../api/sink.ts';
import { expectAfter } from './order.ts';

/** After so many stored objects between two items it is cheaper to begin the listing anew at the item. */
const SEEK_AFTER = 2000;

type MaybeLater<T> = T | Promise<T>;

/** Answers what a sink holds under each key. */
export interface SinkIndex extends AsyncDisposable {
  /** It walks a listing: keys must be asked in ascending order, each when the one before is answered. */
  readonly walks: boolean;
  find(key: string): MaybeLater<StoredObject | undefined>;
}

/**
 * The sink's side of the merge join: walks its listing beside the source's, in constant memory.
 *
 * @param asks the keys that are asked for are few, or in no order: asking for each is better, where that can be done.
 */
export function indexOf(sink: Sink, signal: AbortSignal, asks = false): SinkIndex {
  if (sink.list !== undefined && !(asks && sink.stat !== undefined)) return new ListingIndex(sink, signal);
  return {
    walks: false,
    find: async (key) => sink.stat?.(key, { signal }),
    [Symbol.asyncDispose]: async () => {},
  };
}

class ListingIndex implements SinkIndex {
  readonly walks = true;
  readonly #sink: Sink;
  readonly #signal: AbortSignal;
  #listing: AsyncIterator<StoredObject> | undefined;
  #paged: Paged<StoredObject> | undefined;
  #last: string | undefined;
  #head: StoredObject | undefined;
  #ended = false;

  constructor(sink: Sink, signal: AbortSignal) {
    this.#sink = sink;
    this.#signal = signal;
  }

  /** What can be told from the page at hand is answered at once. */
  find(key: string): MaybeLater<StoredObject | undefined> {
    if (this.#listing === undefined) return this.#walk(key);
    for (let passed = 0; this.#head !== undefined; passed++) {
      const order = compareKeys(this.#head.key, key);
      if (order > 0) return undefined;
      if (order === 0) return this.#head;
      const next = passed < SEEK_AFTER ? this.#paged?.take() : undefined;
      if (next === undefined) return this.#walk(key);
      this.#stand(next);
    }
    return undefined;
  }

  async #walk(key: string): Promise<StoredObject | undefined> {
    if (this.#listing === undefined) await this.#seek(key);
    for (let passed = 0; this.#head !== undefined && compareKeys(this.#head.key, key) < 0; passed++) {
      if (passed === SEEK_AFTER) await this.#seek(key);
      else await this.#advance();
    }
    return this.#head?.key === key ? this.#head : undefined;
  }

  async #seek(key: string): Promise<void> {
    if (this.#ended || this.#sink.list === undefined) return;
    await this.#listing?.return?.();
    const after = keyBefore(key);
    const listing = this.#sink.list({ signal: this.#signal, ...(after === undefined ? {} : { after }) });
    this.#listing = listing[Symbol.asyncIterator]();
    this.#paged = this.#listing instanceof Paged ? (this.#listing as Paged<StoredObject>) : undefined;
    this.#last = undefined;
    await this.#advance();
  }

  async #advance(): Promise<void> {
    const next = await this.#listing?.next();
    this.#ended = next?.done !== false;
    if (next?.done === false) this.#stand(next.value);
    else this.#head = undefined;
  }

  #stand(head: StoredObject): void {
    expectAfter(this.#last, head.key, this.#sink.location);
    this.#last = head.key;
    this.#head = head;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listing?.return?.();
  }
}
