import type { StoredObject } from '../api/item.ts';
import { compareKeys, keyBefore } from '../api/keys.ts';
import type { Sink } from '../api/sink.ts';
import { ascending } from './order.ts';

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
  #listing: AsyncGenerator<StoredObject> | undefined;
  #head: StoredObject | undefined;
  #ended = false;

  constructor(sink: Sink, signal: AbortSignal) {
    this.#sink = sink;
    this.#signal = signal;
  }

  /** What stands at the head of the listing is answered at once. */
  find(key: string): MaybeLater<StoredObject | undefined> {
    if (this.#listing !== undefined) {
      if (this.#head === undefined) return undefined;
      const order = compareKeys(this.#head.key, key);
      if (order > 0) return undefined;
      if (order === 0) return this.#head;
    }
    return this.#walk(key);
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
    await this.#listing?.return(undefined);
    const after = keyBefore(key);
    const listing = this.#sink.list({ signal: this.#signal, ...(after === undefined ? {} : { after }) });
    this.#listing = ascending(listing, this.#sink.location);
    await this.#advance();
  }

  async #advance(): Promise<void> {
    const next = await this.#listing?.next();
    this.#ended = next?.done !== false;
    this.#head = next?.done === false ? next.value : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listing?.return(undefined);
  }
}
