import type { StoredObject } from '../api/item.ts';
import { compareKeys, keyBefore } from '../api/keys.ts';
import type { Sink } from '../api/sink.ts';
import { ascending } from './order.ts';

/** After so many stored objects between two items it is cheaper to begin the listing anew at the item. */
const SEEK_AFTER = 2000;

/** Answers what a sink holds under each key. Keys must be asked in ascending order. */
export interface SinkIndex extends AsyncDisposable {
  find(key: string): Promise<StoredObject | undefined>;
}

/**
 * The sink's side of the merge join: walks its listing beside the source's, in constant memory.
 *
 * @param one only one key will be asked for: then asking for it is cheaper than listing, where that can be done.
 */
export function indexOf(sink: Sink, signal: AbortSignal, one = false): SinkIndex {
  if (sink.list !== undefined && !(one && sink.stat !== undefined)) return new ListingIndex(sink, signal);
  return {
    find: async (key) => sink.stat?.(key, { signal }),
    [Symbol.asyncDispose]: async () => {},
  };
}

class ListingIndex implements SinkIndex {
  readonly #sink: Sink;
  readonly #signal: AbortSignal;
  #listing: AsyncGenerator<StoredObject> | undefined;
  #head: StoredObject | undefined;
  #ended = false;

  constructor(sink: Sink, signal: AbortSignal) {
    this.#sink = sink;
    this.#signal = signal;
  }

  async find(key: string): Promise<StoredObject | undefined> {
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
