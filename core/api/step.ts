import type { Item } from './item.ts';

/** What a step is told while it makes something. */
export interface StepOptions {
  readonly signal: AbortSignal;
}

/** A file that a step adds beside each item. Its content is made anew from the item whenever it is needed. */
export interface Beside {
  /** Put behind the key under which the item itself is stored: `.sha256`. */
  readonly suffix: string;
  readonly contentType: string;
  /** @param content of the item, as it is stored. @param key under which it is stored, relative to the sink. */
  content(content: AsyncIterable<Uint8Array>, key: string, options: StepOptions): Promise<Uint8Array>;
}

/**
 * What a pipeline does to items between source and sink (`through:`). The engine makes one for a run, uses it for many
 * items at once, and disposes it at the end. The same item and options give the same key, headers and, unless `repeats`
 * is false, the same bytes: a run that goes on elsewhere makes them anew.
 */
export interface Step extends Partial<AsyncDisposable> {
  /**
   * What becomes of keys. `kept`: as they are; `unique`: changed, and never two to one; `any`: two may become one,
   * which is found out and refused. Default: `kept`.
   */
  readonly keys?: 'kept' | 'unique' | 'any';
  /**
   * The keys that may become this one, itself among them where it may pass as it is. With it a run of one object (an
   * event, a push) finds out whether a key is another's; without it such a run refuses to replace what is there.
   */
  from?(key: string): readonly string[];
  /** False where making something twice gives other bytes, as encryption does. */
  readonly repeats?: boolean;
  /** Why an item is left out, for people; undefined when it goes on. Touches no network. */
  leaves?(item: Item): string | undefined;
  /** Whether its bytes are changed: the description then loses size and checksums. Default: where there is `bytes`. */
  changes?(item: Item): boolean;
  /** The description as this step leaves it: its key, headers and metadata. Touches no network. */
  describe?(item: Item): Item;
  /**
   * The bytes as this step leaves them. It pulls as they are wanted, holds no more than a few chunks, and throws a
   * BrokerError `step_failed` for content that it can make nothing of.
   */
  bytes?(content: AsyncIterable<Uint8Array>, item: Item, options: StepOptions): AsyncIterable<Uint8Array>;
  /** A file to put beside each item. */
  readonly beside?: Beside;
}
