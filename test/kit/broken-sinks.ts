import type { Content } from '../../core/api/bytes.ts';
import type { Item, StoredObject, WriteOptions, Written } from '../../core/api/index.ts';
import { MemorySink } from '../../plugins/memory/index.ts';

/** A sink that is wrong in one way, over one in memory that is right. */
export interface BrokenSink {
  /** As the table of docs/plugins.md has it. */
  readonly wrong: string;
  readonly make: () => MemorySink;
  /** The case of the suite that finds it. */
  readonly found: string;
  /** Whether a run says so; what it says then. */
  readonly says?: RegExp;
}

type Write = (item: Item, content: Content, options: WriteOptions) => Promise<Written>;

const writing = (how: (sink: MemorySink, write: Write) => Write) => (): MemorySink => {
  const sink = new MemorySink();
  const write = how(sink, sink.write.bind(sink));
  return Object.assign(sink, { write });
};
const nobody = new AbortController().signal;

export const BROKEN_SINKS: readonly BrokenSink[] = [
  {
    wrong: 'returns nothing from a write',
    make: writing((_, write) => async (...given) => {
      await write(...given);
      return undefined as never;
    }),
    found: 'stores exact bytes and says what proves them',
    says: /plugin_failed.*plugin "broken"/,
  },
  {
    wrong: 'stores less than it says',
    make: writing((sink, write) => async (item, content, options) => {
      const written = await write(item, content, options);
      const held = sink.objects.get(item.key);
      if (held !== undefined) sink.objects.set(item.key, { ...held, bytes: held.bytes.subarray(1) });
      return written;
    }),
    found: 'stores exact bytes and says what proves them',
  },
  {
    wrong: 'tells another size than it was given',
    make: writing((_, write) => async (...given) => ({ ...(await write(...given)), size: 1000 })),
    found: 'stores exact bytes and says what proves them',
    says: /plugin_failed: plugin "broken" \(\.\/broken\.js\): write .* says 1000 bytes, and the item has 1/,
  },
  {
    wrong: 'tells another checksum than the source publishes',
    make: writing((_, write) => async (...given) => ({
      ...(await write(...given)),
      checksums: { crc32c: 'AAAAAA==' },
    })),
    found: 'stores exact bytes and says what proves them',
    says: /plugin_failed: plugin "broken" \(\.\/broken\.js\): write .* says CRC32C AAAAAA==/,
  },
  {
    wrong: 'leaves half an object where the stream breaks',
    make: writing(
      (sink, write) => async (item, content, options) =>
        write(item, content, options).catch((error: unknown) => {
          sink.objects.set(item.key, { bytes: Buffer.from('half'), crc32c: '', revision: 'half' });
          throw error;
        }),
    ),
    found: 'leaves the old object when the stream breaks half way',
  },
  {
    wrong: 'replaces what it was told is not there',
    make: writing(
      (_, write) => async (item, content, options) => write(item, content, { ...options, expected: undefined }),
    ),
    found: 'refuses to create what is already there',
  },
  {
    wrong: 'does not heed the signal while it writes',
    make: writing((_, write) => async (item, content, options) => write(item, content, { ...options, signal: nobody })),
    found: 'heeds the signal by itself, also where the source does not',
  },
  {
    wrong: 'changes keys without a word',
    make: writing(
      (_, write) => async (item, content, options) =>
        write({ ...item, key: item.key.replaceAll('//', '/') }, content, options),
    ),
    found: 'keeps every key exactly, or refuses it by name',
  },
  {
    wrong: 'lists in another order',
    make: () => {
      const sink = new MemorySink();
      const list = sink.list.bind(sink);
      return Object.assign(sink, {
        async *list(options: Parameters<typeof list>[0]): AsyncGenerator<StoredObject> {
          yield* (await Array.fromAsync(list(options))).reverse();
        },
      });
    },
    found: 'lists in UTF-8 byte order, from any key',
  },
  {
    wrong: 'deletes whatever is there',
    make: () => {
      const sink = new MemorySink();
      return Object.assign(sink, { delete: async ({ key }: StoredObject) => void sink.objects.delete(key) });
    },
    found: 'deletes the revision it was shown and no other',
  },
];
