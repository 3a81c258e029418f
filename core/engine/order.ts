import { BrokerError } from '../api/errors.ts';
import type { Item } from '../api/item.ts';
import { compareKeys } from '../api/keys.ts';
import { Paged } from '../api/paged.ts';

/** @throws BrokerError `list_order` unless a key comes strictly after the one before: a merge join over it would lie. */
export function expectAfter(last: string | undefined, key: string, location: string): void {
  if (last === undefined || compareKeys(key, last) > 0) return;
  const what = key === last ? 'listed twice' : `listed after "${last}"`;
  throw new BrokerError('list_order', `${location}: "${key}" was ${what}`);
}

/** Passes a listing through and fails when keys do not strictly ascend. */
export async function* ascending<T extends { readonly key: string }>(
  listing: AsyncIterable<T>,
  location: string,
): AsyncGenerator<T> {
  let last: string | undefined;
  for await (const entry of listing) {
    expectAfter(last, entry.key, location);
    last = entry.key;
    yield entry;
  }
}

/** Whether a key lies behind the last one that is wanted. */
export const isBeyond = (key: string, until: string | undefined): boolean =>
  until !== undefined && compareKeys(key, until) > 0;

/** An item and the source, by its place in the pipeline, that listed it. */
export interface Listed {
  readonly item: Item;
  readonly source: number;
}

/** Where items come from, and the name of the place. */
export interface Listing {
  readonly items: AsyncIterable<Item>;
  readonly location: string;
}

/**
 * Merges listings into one, in key order, and fails when one of them is not. Items of several sources with one key come
 * together, in one group, since only one of them could be stored.
 */
export function merged(listings: readonly Listing[]): AsyncGenerator<readonly Listed[]> {
  const [only, second] = listings;
  return only !== undefined && second === undefined ? single(only) : joined(listings);
}

async function* joined(listings: readonly Listing[]): AsyncGenerator<readonly Listed[]> {
  const iterators = listings.map(({ items, location }) => ascending(items, location));
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
    await Promise.allSettled(iterators.map((iterator) => iterator.return(undefined)));
  }
}

async function* single({ items, location }: Listing): AsyncGenerator<readonly Listed[]> {
  const iterator = items[Symbol.asyncIterator]();
  const paged = iterator instanceof Paged ? (iterator as Paged<Item>) : undefined;
  let last: string | undefined;
  try {
    for (;;) {
      let item = paged?.take();
      if (item === undefined) {
        const next = await iterator.next();
        if (next.done === true) return;
        item = next.value;
      }
      expectAfter(last, item.key, location);
      last = item.key;
      yield [{ item, source: 0 }];
    }
  } finally {
    await iterator.return?.();
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
