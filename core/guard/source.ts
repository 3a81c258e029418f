import type { ByteStream, Take } from '../api/bytes.ts';
import type { Item } from '../api/item.ts';
import { Paged } from '../api/paged.ts';
import type { ListOptions, OpenOptions, Source } from '../api/source.ts';
import { attempted, Hearing, isIterable, type Watched, waitFor, walk, wrongShape } from './patience.ts';

/** Entries of a page that are looked at at once. */
const AT_ONCE = 1000;

/** A source that is not ours: what it answers is looked at, what it throws is named, and it is not waited for for ever. */
export function guardedSource(inner: Source, watched: Watched): Source {
  const listing = (name: 'list' | 'last', options: ListOptions): AsyncIterable<Item> => {
    const found: unknown = attempted(() => inner[name]?.(options), watched, name);
    if (!isIterable(found)) throw wrongShape(watched, `${name} returned nothing that can be iterated`);
    return items(found as AsyncIterable<Item>, watched, name, options.signal);
  };
  const stat = async (item: Item, options: { readonly signal: AbortSignal }): Promise<Item | undefined> => {
    const found = await waitFor(async () => inner.stat?.(item, options), watched, {
      what: `stat ${item.id}`,
      ...options,
    });
    return found === undefined ? undefined : checkedItem(found, watched);
  };
  return bound(inner, {
    list: (options) => listing('list', options),
    ...(inner.last === undefined ? {} : { last: (options: ListOptions) => listing('last', options) }),
    open: async (item, options) => {
      const what = `open ${item.id}`;
      // Memory that is used again is not lent to one that may still write when it has been given up.
      const { scratch: _, ...lent } = options;
      let opened: Promise<unknown> = Promise.resolve();
      const ask = (): Promise<unknown> => {
        opened = Promise.resolve(inner.open(item, lent));
        return opened;
      };
      const stream = await waitFor(ask, watched, { what, signal: options.signal }).catch((error: unknown) => {
        opened.then(closed, () => undefined);
        throw error;
      });
      if (!isIterable(stream)) throw wrongShape(watched, `${what} returned no stream`);
      return watchedStream(stream as ByteStream, watched, what, options);
    },
    ...(inner.stat === undefined ? {} : { stat }),
    ...(inner.remove === undefined
      ? {}
      : {
          remove: (item, options) =>
            waitFor(async () => inner.remove?.(item, options), watched, { what: `remove ${item.id}`, ...options }),
        }),
    ...(inner.finish === undefined
      ? {}
      : {
          finish: (options) =>
            waitFor(async () => inner.finish?.(options), watched, { what: 'finish', signal: options.signal }),
        }),
    [Symbol.asyncDispose]: () => disposed(inner, watched),
  });
}

/** What comes when nobody waits for it any more. */
async function closed(late: unknown): Promise<void> {
  if (!isIterable(late)) return;
  await late[Symbol.asyncIterator]?.()
    .return?.()
    .catch(() => undefined);
}

/** The plugin's object with some of its methods replaced; those that are not keep their `this`. */
export function bound<T extends object>(inner: T, instead: Partial<T>): T {
  // Not over the object itself: one that is frozen may not answer with anything else than it has.
  return new Proxy({} as T, {
    has: (_, name) => name in inner || name in instead,
    get: (_, name) => {
      if (Object.hasOwn(instead, name)) return instead[name as keyof T];
      const value: unknown = Reflect.get(inner, name, inner);
      return typeof value === 'function' ? value.bind(inner) : value;
    },
  });
}

/** Closing may not keep a process from its end. */
export const disposed = async (inner: Partial<AsyncDisposable>, watched: Watched): Promise<void> =>
  waitFor(async () => inner[Symbol.asyncDispose]?.(), watched, { what: 'dispose', signal: AbortSignal.abort() });

function items(found: AsyncIterable<Item>, watched: Watched, what: string, signal: AbortSignal): AsyncIterable<Item> {
  const how = { what, signal };
  if (found instanceof Paged) return new Paged(pages(found, watched, how));
  return (async function* () {
    for await (const item of walk(found, watched, how)) yield checkedItem(item, watched);
  })();
}

/** What lies at hand is taken without waiting for each by itself. */
async function* pages(
  found: Paged<Item>,
  watched: Watched,
  how: { readonly what: string; readonly signal: AbortSignal },
): AsyncGenerator<Iterable<Item>> {
  for await (const first of walk(found, watched, how)) {
    const page = [checkedItem(first, watched)];
    while (page.length < AT_ONCE) {
      const next = attempted(() => found.take(), watched, how.what);
      if (next === undefined) break;
      page.push(checkedItem(next, watched));
    }
    yield page;
  }
}

function checkedItem(item: Item, watched: Watched): Item {
  const { id, key, size, ref } = (item ?? {}) as Partial<Item>;
  if (typeof id !== 'string' || typeof key !== 'string')
    throw wrongShape(watched, 'it listed an item without id or key');
  if (size !== undefined && !(Number.isSafeInteger(size) && size >= 0))
    throw wrongShape(watched, `${id}: its size is no number of bytes`);
  if (ref === undefined) throw wrongShape(watched, `${id}: it has no ref; null will do`);
  return item;
}

/** Each chunk watched, and looked at: what is no bytes would be stored as something else. */
function watchedStream(stream: ByteStream, watched: Watched, what: string, { signal }: OpenOptions): ByteStream {
  const how = { what, signal };
  const checked = (chunk: unknown): Uint8Array => {
    if (!(chunk instanceof Uint8Array)) throw wrongShape(watched, `${what} gave something else than a Uint8Array`);
    return chunk;
  };
  const { pump } = stream;
  return {
    async *[Symbol.asyncIterator]() {
      for await (const chunk of walk(stream, watched, how)) yield checked(chunk);
    },
    ...(pump === undefined
      ? {}
      : {
          pump: async (take) => {
            const hearing = new Hearing();
            let over = false;
            const taken: Take = (chunk) => {
              // It was given up: what it says now belongs to nothing.
              if (over) throw wrongShape(watched, `${what} goes on after its end`);
              return hearing.during(take(checked(chunk)));
            };
            try {
              await waitFor(() => pump.call(stream, taken), watched, { ...how, heard: hearing.last });
            } finally {
              over = true;
            }
          },
        }),
  };
}
