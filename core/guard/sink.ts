import type { Content } from '../api/bytes.ts';
import type { Item, StoredObject, Written } from '../api/item.ts';
import type { Sink } from '../api/sink.ts';
import { attempted, Hearing, isIterable, type Watched, waitFor, walk, wrongShape } from './patience.ts';
import { bound, disposed } from './source.ts';

/** A sink that is not ours, guarded as a source is. */
export function guardedSink(inner: Sink, watched: Watched): Sink {
  const stat = async (key: string, options: { readonly signal: AbortSignal }): Promise<StoredObject | undefined> => {
    const found = await waitFor(async () => inner.stat?.(key, options), watched, { what: `stat ${key}`, ...options });
    return found === undefined ? undefined : checkedObject(found, watched);
  };
  const list = (options: { readonly signal: AbortSignal; readonly after?: string }): AsyncIterable<StoredObject> => {
    const found: unknown = attempted(() => inner.list?.(options), watched, 'list');
    if (!isIterable(found)) throw wrongShape(watched, 'list returned nothing that can be iterated');
    const objects = walk(found as AsyncIterable<StoredObject>, watched, { what: 'list', signal: options.signal });
    return (async function* () {
      for await (const object of objects) yield checkedObject(object, watched);
    })();
  };
  return bound(inner, {
    write: async (item, content, options) => {
      const hearing = new Hearing();
      const { memory } = options;
      const patient = {
        ...options,
        memory: {
          total: memory.total,
          get peak() {
            return memory.peak;
          },
          lease: (bytes: number, signal: AbortSignal) => hearing.during(memory.lease(bytes, signal)),
        },
      };
      const written = await waitFor(() => inner.write(item, noting(content, hearing), patient), watched, {
        what: `write ${item.id}`,
        signal: options.signal,
        heard: hearing.last,
      });
      return checkedWritten(written, item, watched);
    },
    ...(inner.list === undefined ? {} : { list }),
    ...(inner.stat === undefined ? {} : { stat }),
    ...(inner.delete === undefined
      ? {}
      : {
          delete: (object, options) =>
            waitFor(async () => inner.delete?.(object, options), watched, { what: `delete ${object.key}`, ...options }),
        }),
    [Symbol.asyncDispose]: () => disposed(inner, watched),
  });
}

/** A write that takes content is alive, however long it takes; and however long the source takes. */
function noting(content: Content, hearing: Hearing): Content {
  const { pump } = content;
  return {
    ...content,
    open: async (range) => {
      const stream = await hearing.during(content.open(range));
      return {
        crc32c: () => stream.crc32c(),
        async *[Symbol.asyncIterator]() {
          const iterator = stream[Symbol.asyncIterator]();
          try {
            for (;;) {
              const next = await hearing.during(iterator.next());
              if (next.done === true) return;
              yield next.value;
            }
          } finally {
            await iterator.return?.();
          }
        },
      };
    },
    ...(pump === undefined ? {} : { pump: (take, options) => hearing.during(pump.call(content, take, options)) }),
  };
}

function checkedObject(object: StoredObject, watched: Watched): StoredObject {
  const { key, size } = (object ?? {}) as Partial<StoredObject>;
  if (typeof key !== 'string' || !Number.isSafeInteger(size))
    throw wrongShape(watched, 'it shows an object without key or size');
  return object;
}

/** A sink that says less than that has proved nothing. */
function checkedWritten(written: Written, item: Item, watched: Watched): Written {
  const { location, size } = (written ?? {}) as Partial<Written>;
  if (typeof location !== 'string' || !Number.isSafeInteger(size))
    throw wrongShape(watched, `write ${item.id} did not answer with location and size`);
  if (item.size !== undefined && size !== item.size)
    throw wrongShape(watched, `write ${item.id} says ${size} bytes, and the item has ${item.size}`);
  const [theirs, published] = [written.checksums?.crc32c, item.checksums?.crc32c];
  if (theirs !== undefined && published !== undefined && theirs !== published)
    throw wrongShape(watched, `write ${item.id} says CRC32C ${theirs}, and the source publishes ${published}`);
  return written;
}
