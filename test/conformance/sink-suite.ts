import assert from 'node:assert/strict';
import {
  BrokerError,
  type Content,
  compareKeys,
  type Item,
  type JsonValue,
  type Sink,
  type StoredObject,
  type WriteOptions,
} from '../../core/api/index.ts';
import { contentOf } from '../../core/engine/content.ts';
import { Crc32cPool } from '../../core/engine/crc32c.ts';
import { FairMemoryBudget } from '../../core/engine/memory.ts';
import { crc32c } from '../cloud/body.ts';
import { leftOpen, openHandles } from './handles.ts';
import { type Cases, type Exceptions, register } from './register.ts';

/** An empty sink and a way to look behind it. */
export interface SinkFixture extends AsyncDisposable {
  readonly sink: Sink;
  /** The bytes under a key, read by other means than the sink's. */
  read(key: string): Promise<Buffer | undefined>;
  /** Unfinished uploads and temporary files. */
  leftovers(): Promise<number>;
}

const MIB = 2 ** 20;
const never = new AbortController().signal;
const hashers = new Crc32cPool();
/** A prime length, so that parts and chunks never repeat. */
const PATTERN = Buffer.from(Array.from({ length: 4099 }, (_, index) => (index * 7919) & 255));

export interface Bytes {
  readonly item: Item;
  readonly content: Content;
}

/** An item and its content, as the engine hands them over. */
export function bytes(
  key: string,
  buffer: Buffer,
  options: { breakAt?: number; signal?: AbortSignal; ranges?: boolean; sizeKnown?: boolean; published?: string } = {},
): Bytes {
  const { breakAt, signal = never, ranges = true, sizeKnown = true, published = crc32c(buffer) } = options;
  const item: Item = {
    id: `suite:${key}`,
    key,
    ...(sizeKnown ? { size: buffer.length, checksums: { crc32c: published } } : {}),
    headers: { contentType: 'text/plain' },
    metadata: { owner: 'suite' },
    ref: null,
  };
  const source = {
    location: 'suite:',
    ranges,
    async *list() {},
    async open(_: Item, { range }: { range?: { start: number; end: number } }) {
      const { start, end } = range ?? { start: 0, end: buffer.length };
      return (async function* () {
        for (let at = start; at < end; at += 65_536) {
          signal.throwIfAborted();
          if (breakAt !== undefined && at >= breakAt) throw new BrokerError('network', 'suite: the stream broke');
          yield buffer.subarray(at, Math.min(end, at + 65_536));
        }
      })();
    },
  };
  return { item, content: contentOf(source, item, { signal, hashers, onBytes: () => {} }) };
}

const failsWith = (code: string) => (error: unknown) => error instanceof BrokerError && error.code === code;

/** Registers with vitest what every sink promises. @param make builds an empty sink; called once for each case. */
export function sinkSuite(name: string, make: () => Promise<SinkFixture>, exceptions: Exceptions = {}): void {
  register(name, sinkCases(make), exceptions);
}

/** What every sink promises, case by case. */
export function sinkCases(make: () => Promise<SinkFixture>): Cases {
  const withFixture = (work: (fixture: SinkFixture) => Promise<void>) => async () => {
    await using fixture = await make();
    await work(fixture);
    assert.equal(await fixture.leftovers(), 0, 'nothing is left behind');
    await fixture.sink[Symbol.asyncDispose]?.();
  };
  const options = (expected: WriteOptions['expected'] = undefined, signal = never): WriteOptions => ({
    signal,
    memory: new FairMemoryBudget(64 * MIB),
    expected,
  });
  const put = (sink: Sink, { item, content }: Bytes, expected?: WriteOptions['expected']) =>
    sink.write(item, content, options(expected));
  const stat = async (sink: Sink, key: string): Promise<StoredObject | undefined> =>
    sink.stat?.(key, { signal: never });
  const noise = (size: number): Buffer => Buffer.alloc(size, PATTERN);

  return {
    'stores exact bytes and says what proves them': withFixture(async ({ sink, read }) => {
      const written = await put(sink, bytes('a.txt', Buffer.from('hello')), 'absent');
      assert.equal((await read('a.txt'))?.toString(), 'hello');
      assert.equal(written.size, 5);
      assert.equal(written.checksums?.crc32c, crc32c(Buffer.from('hello')));
      assert.ok(written.location.endsWith('a.txt'));
    }),
    'passes its own check, which leaves nothing that a reader could see': withFixture(async ({ sink }) => {
      const checks = (await sink.check?.({ signal: never })) ?? [];
      assert.deepEqual(
        checks.filter(({ verdict }) => verdict !== 'pass'),
        [],
      );
      for await (const stored of sink.list?.({ signal: never }) ?? []) assert.fail(`${stored.key} was left`);
    }),
    'stores an empty object': withFixture(async ({ sink, read }) => {
      await put(sink, bytes('empty', Buffer.alloc(0)), 'absent');
      assert.equal((await read('empty'))?.length, 0);
    }),
    'stores an object of several parts': withFixture(async ({ sink, read }) => {
      const large = noise(17 * MIB + 3);
      const written = await put(sink, bytes('large.bin', large), 'absent');
      assert.ok((await read('large.bin'))?.equals(large));
      assert.equal(written.checksums?.crc32c, crc32c(large));
    }),
    'stores an item that several processes write in pieces, in any order, one of them twice': withFixture(
      async ({ sink, read }) => {
        const { pieces } = sink;
        if (pieces === undefined) return;
        const large = noise(23 * MIB + 7);
        const { item, content } = bytes('pieces.bin', large);
        const ranges = pieces.cut(item, 6 * MIB);
        assert.deepEqual([ranges[0]?.start, ranges.at(-1)?.end], [0, large.length]);
        for (const [index, { start }] of ranges.entries())
          if (index > 0) assert.equal(start, ranges[index - 1]?.end, 'ranges follow one another');
        const begun = JSON.parse(JSON.stringify(await pieces.begin(item, { signal: never }))) as JsonValue;
        const write = (index: number) => {
          const range = ranges[index];
          return range && pieces.write(item, content, begun, range, options());
        };
        for (let index = ranges.length - 1; index > 0; index--) await write(index);
        const complete = () => pieces.complete(item, begun, { signal: never, expected: 'absent' });
        await assert.rejects(complete(), failsWith('truncated'));
        assert.equal(await read('pieces.bin'), undefined, 'nothing is seen of it before it is whole');
        await Promise.all([write(0), write(1)]);
        const written = await complete();
        assert.ok((await read('pieces.bin'))?.equals(large));
        assert.equal(written.checksums?.crc32c, crc32c(large));
        const again = await complete();
        assert.equal(again.size, large.length, 'completing once more, after an answer that was lost, is no failure');
      },
    ),
    'refuses pieces that are not what the source publishes, and leaves nothing of what is abandoned': withFixture(
      async ({ sink, read }) => {
        const { pieces } = sink;
        if (pieces === undefined) return;
        const { item, content } = bytes('pieces.bin', noise(11 * MIB), { published: crc32c(Buffer.from('other')) });
        const begun = await pieces.begin(item, { signal: never });
        for (const range of pieces.cut(item, 6 * MIB)) await pieces.write(item, content, begun, range, options());
        await assert.rejects(
          pieces.complete(item, begun, { signal: never, expected: 'absent' }),
          failsWith('checksum_mismatch'),
        );
        assert.equal(await read('pieces.bin'), undefined);
        await pieces.abandon(item, begun, { signal: never });
        await pieces.abandon(item, begun, { signal: never });
      },
    ),
    'stores content that cannot be read in ranges': withFixture(async ({ sink, read }) => {
      const large = noise(11 * MIB + 1);
      await put(sink, bytes('large.bin', large, { ranges: false }), 'absent');
      assert.ok((await read('large.bin'))?.equals(large));
    }),
    'stores content of unknown size': withFixture(async ({ sink, read }) => {
      const large = noise(11 * MIB + 1);
      await put(sink, bytes('large.bin', large, { ranges: false, sizeKnown: false }), 'absent');
      await put(sink, bytes('small', Buffer.from('x'), { ranges: false, sizeKnown: false }), 'absent');
      await put(sink, bytes('none', Buffer.alloc(0), { ranges: false, sizeKnown: false }), 'absent');
      assert.ok((await read('large.bin'))?.equals(large));
      assert.equal((await read('small'))?.toString(), 'x');
      assert.equal((await read('none'))?.length, 0);
    }),
    'writes the same again, and it is the same': withFixture(async ({ sink, read }) => {
      const first = await put(sink, bytes('a', Buffer.from('same')), 'absent');
      const again = await put(sink, bytes('a', Buffer.from('same')), await stat(sink, 'a'));
      assert.equal(again.location, first.location);
      assert.equal((await read('a'))?.toString(), 'same');
    }),
    'gives back what it holds when it is disposed': async () => {
      await using fixture = await make();
      const before = openHandles();
      await put(fixture.sink, bytes('a', Buffer.from('hello')), 'absent');
      await assert.rejects(put(fixture.sink, bytes('b', noise(200_000), { breakAt: 131_072 })));
      await fixture.sink[Symbol.asyncDispose]?.();
      assert.deepEqual(await leftOpen(before), [], 'nothing is left open after dispose');
    },
    'replaces an object': withFixture(async ({ sink, read }) => {
      await put(sink, bytes('a', Buffer.from('old')), 'absent');
      await put(sink, bytes('a', Buffer.from('new')), await stat(sink, 'a'));
      assert.equal((await read('a'))?.toString(), 'new');
    }),
    'leaves the old object when the stream breaks half way': withFixture(async ({ sink, read }) => {
      await put(sink, bytes('a', Buffer.from('old')), 'absent');
      for (const ranges of [true, false]) {
        const broken = bytes('a', noise(12 * MIB), { breakAt: 9 * MIB, ranges });
        await assert.rejects(put(sink, broken), failsWith('network'));
      }
      await assert.rejects(put(sink, bytes('a', noise(200_000), { breakAt: 131_072 })), failsWith('network'));
      assert.equal((await read('a'))?.toString(), 'old');
    }),
    'leaves nothing when a write is aborted': withFixture(async ({ sink, read }) => {
      const controller = new AbortController();
      const { item, content } = bytes('a', noise(12 * MIB), { signal: controller.signal });
      const stopping: Content = {
        ...content,
        open: async (range) => {
          if (range !== undefined && range.start > 0) controller.abort();
          const stream = await content.open(range);
          if (range === undefined) controller.abort();
          return stream;
        },
        pump: async (take, how = {}) => {
          if (how.range === undefined || how.range.start > 0) controller.abort();
          await content.pump?.(take, how);
        },
      };
      await assert.rejects(sink.write(item, stopping, options('absent', controller.signal)));
      assert.equal(await read('a'), undefined);
    }),
    'refuses bytes that are not those the source published': withFixture(async ({ sink, read }) => {
      for (const size of [100, 12 * MIB]) {
        const lying = bytes('a', noise(size), { published: crc32c(Buffer.from('other')) });
        await assert.rejects(put(sink, lying, 'absent'), failsWith('checksum_mismatch'));
      }
      assert.equal(await read('a'), undefined);
    }),
    'refuses to create what is already there': withFixture(async ({ sink, read }) => {
      await put(sink, bytes('a', Buffer.from('theirs')), 'absent');
      await assert.rejects(put(sink, bytes('a', Buffer.from('ours')), 'absent'), failsWith('conflict'));
      await assert.rejects(put(sink, bytes('a', noise(12 * MIB)), 'absent'), failsWith('conflict'));
      assert.equal((await read('a'))?.toString(), 'theirs');
    }),
    'refuses to replace what was changed in the meantime': withFixture(async ({ sink, read }) => {
      await put(sink, bytes('a', Buffer.from('first')), 'absent');
      const seen = await stat(sink, 'a');
      await put(sink, bytes('a', Buffer.from('second')), seen);
      await assert.rejects(put(sink, bytes('a', Buffer.from('third')), seen), failsWith('conflict'));
      assert.equal((await read('a'))?.toString(), 'second');
    }),
    'lists in UTF-8 byte order, from any key': withFixture(async ({ sink }) => {
      const keys = ['b/2', 'a', 'b-1', 'z/\u{1f600}', 'z/\u{ff5e}', 'b/10'];
      for (const key of keys) await put(sink, bytes(key, Buffer.from(key)), 'absent');
      const sorted = [...keys].sort(compareKeys);
      const list = async (after?: string) =>
        (await Array.fromAsync(sink.list?.({ signal: never, ...(after === undefined ? {} : { after }) }) ?? [])).map(
          (object) => object.key,
        );
      assert.deepEqual(await list(), sorted);
      for (const [index, key] of sorted.entries())
        assert.deepEqual(await list(key), sorted.slice(index + 1), `after ${key}`);
    }),
    'knows size and checksum of what it holds': withFixture(async ({ sink }) => {
      assert.equal(await stat(sink, 'a'), undefined);
      await put(sink, bytes('a', Buffer.from('hello')), 'absent');
      const found = await stat(sink, 'a');
      assert.equal(found?.size, 5);
      assert.equal(found?.checksums?.crc32c, crc32c(Buffer.from('hello')));
    }),
    'keeps of what an item was made, where it keeps that at all, and only of what was made': withFixture(
      async ({ sink }) => {
        if (sink.stat === undefined) return;
        const made = { by: 'gzip', origin: 'the-origin_of-it', once: true } as const;
        for (const [key, size] of [
          ['a', 5],
          ['large', 9 * MIB],
        ] as const) {
          const { item, content } = bytes(key, noise(size), { ranges: false, sizeKnown: false });
          await put(sink, { item: { ...item, made }, content }, 'absent');
          const { origin } = (await stat(sink, key)) ?? {};
          assert.ok(origin === undefined || origin === made.origin, key);
        }
        await put(sink, bytes('a', Buffer.from('as it is')), await stat(sink, 'a'));
        assert.equal((await stat(sink, 'a'))?.origin, undefined, 'it is no more what was made');
      },
    ),
    'heeds the signal by itself, also where the source does not': withFixture(async ({ sink, read }) => {
      const controller = new AbortController();
      const { item, content } = bytes('a', noise(12 * MIB), { ranges: false });
      const slow: Content = {
        ...content,
        open: async (range) => {
          const stream = await content.open(range);
          controller.abort();
          return stream;
        },
        pump: async (take, how = {}) => {
          controller.abort();
          await content.pump?.(take, how);
        },
      };
      await assert.rejects(sink.write(item, slow, options('absent', controller.signal)));
      assert.equal(await read('a'), undefined);
    }),
    'reads the revision it was shown and no other': withFixture(async ({ sink }) => {
      if (sink.read === undefined) return;
      const text = async (stored: StoredObject): Promise<string> =>
        Buffer.concat(await Array.fromAsync((await sink.read?.(stored, { signal: never })) ?? [])).toString();
      await put(sink, bytes('a', Buffer.from('first')), 'absent');
      const seen = await stat(sink, 'a');
      assert.ok(seen);
      assert.equal(await text(seen), 'first');
      await put(sink, bytes('a', Buffer.from('second')), seen);
      await assert.rejects(text(seen), failsWith('conflict'));
    }),
    'goes on with a write that was stopped, or ends it': withFixture(async ({ sink, read }) => {
      const large = noise(17 * MIB + 3);
      const stopped = async (): Promise<JsonValue | undefined> => {
        const controller = new AbortController();
        let left: JsonValue | undefined;
        const tell = (told: JsonValue, done: number): void => {
          left = told;
          if (done > 0) controller.abort();
        };
        const { item, content } = bytes('a', large, { signal: controller.signal });
        const unfinished = { left: undefined, tell };
        const written = await sink.write(item, content, { ...options('absent', controller.signal), unfinished }).then(
          () => true,
          () => false,
        );
        // One that tells how far it is heeds the signal.
        assert.ok(left === undefined || !written);
        return left;
      };
      const left = await stopped();
      // A sink that leaves nothing has told nothing.
      if (left === undefined) return;
      const { item, content } = bytes('a', large);
      await sink.write(item, content, { ...options('absent'), unfinished: { left, tell: () => {} } });
      assert.ok((await read('a'))?.equals(large));
      await sink.delete?.((await stat(sink, 'a')) as StoredObject, { signal: never });
      const again = await stopped();
      await sink.tidy?.('a', { signal: never, since: Date.now(), left: again });
    }),
    'deletes the revision it was shown and no other': withFixture(async ({ sink, read }) => {
      await put(sink, bytes('a', Buffer.from('first')), 'absent');
      const seen = await stat(sink, 'a');
      await put(sink, bytes('a', Buffer.from('second')), seen);
      assert.ok(seen && sink.delete);
      await assert.rejects(sink.delete(seen, { signal: never }), failsWith('conflict'));
      const now = await stat(sink, 'a');
      assert.ok(now);
      await sink.delete(now, { signal: never });
      assert.equal(await read('a'), undefined);
    }),
    'keeps every key exactly, or refuses it by name': withFixture(async ({ sink, read }) => {
      const keys = [
        'a//b',
        '/lead',
        'trail/',
        '../up',
        './dot',
        'a b+c%2F?#&=',
        'quote"\'<>&',
        'back\\slash',
        'tab\there',
        'e\u0301',
        '\u00e9',
        'k'.repeat(200),
      ];
      for (const key of keys) {
        const given = bytes(key, Buffer.from(key));
        const refusal = sink.refuses?.(given.item);
        if (refusal !== undefined) assert.ok(refusal.message.length > 0 && refusal.hint.length > 0);
        else {
          const refusedByServer = await put(sink, given, 'absent').then(() => false, failsWith('key_refused'));
          assert.equal((await read(key))?.toString(), refusedByServer ? undefined : key);
        }
      }
    }),
  };
}
