import { BrokerError } from '../api/errors.ts';
import type { Item } from '../api/item.ts';
import { compareKeys } from '../api/keys.ts';

/** Passes a listing through and fails when keys do not strictly ascend: a merge join over such a listing would lie. */
export async function* ascending<T extends { readonly key: string }>(
  listing: AsyncIterable<T>,
  location: string,
): AsyncGenerator<T> {
  let last: string | undefined;
  for await (const entry of listing) {
    if (last !== undefined && compareKeys(entry.key, last) <= 0) {
      const what = entry.key === last ? 'listed twice' : `listed after "${last}"`;
      throw new BrokerError('list_order', `${location}: "${entry.key}" was ${what}`);
    }
    last = entry.key;
    yield entry;
  }
}

/** An item and the source, by its place in the pipeline, that listed it. */
export interface Listed {
  readonly item: Item;
  readonly source: number;
}

/**
 * Merges listings into one, in key order. Items of several sources with one key come together, in one group, since
 * only one of them could be stored.
 */
export async function* merged(listings: readonly AsyncIterable<Item>[]): AsyncGenerator<readonly Listed[]> {
  const iterators = listings.map((listing) => listing[Symbol.asyncIterator]());
  try {
    const heads = await Promise.all(iterators.map((iterator) => iterator.next()));
    for (;;) {
      const group = smallest(heads);
      if (group.length === 0) return;
      yield group;
      for (const { source } of group) {
        const iterator = iterators[source];
        if (iterator !== undefined) heads[source] = await iterator.next();
      }
    }
  } finally {
    await Promise.allSettled(iterators.map((iterator) => iterator.return?.()));
  }
}

function smallest(heads: readonly IteratorResult<Item>[]): Listed[] {
  let group: Listed[] = [];
  for (const [source, head] of heads.entries()) {
    if (head.done === true) continue;
    const order = group[0] === undefined ? -1 : compareKeys(head.value.key, group[0].item.key);
    if (order < 0) group = [{ item: head.value, source }];
    else if (order === 0) group.push({ item: head.value, source });
  }
  return group;
}
