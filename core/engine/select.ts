import type { Item } from '../api/item.ts';
import { compareKeys, keyBefore } from '../api/keys.ts';
import type { ListOptions, Selection, Source } from '../api/source.ts';

/** With an item goes what is put beside it (`core/through`): its key is that of the item, NUL, and a number. */
export const selects = (only: Selection, key: string): boolean =>
  'key' in only ? key === only.key || key.startsWith(`${only.key}\0`) : key.startsWith(only.prefix);

/**
 * Lists a source, or the selected part of it. A source need not know of selections: the listing begins just before the
 * part, and ends with it.
 */
export function listed(source: Source, { only, after, ...options }: ListOptions): AsyncIterable<Item> {
  if (only === undefined) return source.list({ ...options, ...(after === undefined ? {} : { after }) });
  return selected(source, { ...options, only, ...(after === undefined ? {} : { after }) }, only);
}

async function* selected(source: Source, { after, ...options }: ListOptions, only: Selection): AsyncGenerator<Item> {
  const first = 'key' in only ? only.key : only.prefix;
  const before = keyBefore(first);
  const start = after === undefined || (before !== undefined && compareKeys(before, after) > 0) ? before : after;
  for await (const item of source.list({ ...options, ...(start === undefined ? {} : { after: start }) })) {
    if (selects(only, item.key)) yield item;
    else if (compareKeys(item.key, first) > 0) return;
  }
}
