import type { ByteRange, Content } from './bytes.ts';
import type { Item, Written } from './item.ts';
import type { JsonValue } from './json.ts';
import type { Expected, WriteOptions } from './sink.ts';

/**
 * For items that are larger than one process should carry: several write one range each, and one of them makes the whole
 * of it. Nothing of it can be seen before that.
 */
export interface Pieces {
  /** Ranges of about so many bytes, in order, that together are the item; one where it is not worth it. Touches no network. */
  cut(item: Item, bytes: number): readonly ByteRange[];
  /** Begins what all pieces are written to. @returns what `write`, `complete` and `abandon` are given, in any process. */
  begin(item: Item, options: { readonly signal: AbortSignal }): Promise<JsonValue>;
  /**
   * Writes one of the ranges of `cut`. What an earlier try has written of it is not sent again; `options.unfinished` is
   * told how much is there.
   *
   * @throws BrokerError `superseded` when what was begun is not there any more.
   */
  write(item: Item, content: Content, begun: JsonValue, range: ByteRange, options: WriteOptions): Promise<void>;
  /**
   * Makes the object, all or nothing; the store verifies it by the checksum that the source published. May be called
   * again after an answer that was lost.
   *
   * @throws BrokerError `truncated` when a range was not written; what is there stays.
   */
  complete(
    item: Item,
    begun: JsonValue,
    options: { readonly signal: AbortSignal; readonly expected: Expected },
  ): Promise<Written>;
  /** Removes what was begun; nothing that is gone already is an error. */
  abandon(item: Item, begun: JsonValue, options: { readonly signal: AbortSignal }): Promise<void>;
}
