import assert from 'node:assert/strict';
import {
  BrokerError,
  type ByteRange,
  type ByteStream,
  compareKeys,
  type Item,
  type Selection,
  type Source,
} from '../../core/api/index.ts';
import { crc32c } from '../cloud/body.ts';
import { leftOpen, openHandles } from './handles.ts';
import { type Cases, type Exceptions, register } from './register.ts';
import { runContext } from './run-context.ts';

/** A source that holds exactly the objects it was asked to hold. */
export interface SourceFixture extends AsyncDisposable {
  readonly source: Source;
  /** Deletes an object behind the source's back. */
  remove(key: string): Promise<void>;
  /** Gives an object other bytes behind the source's back. */
  replace(key: string, bytes: Buffer): Promise<void>;
}

const run = runContext();
const never = new AbortController().signal;
/** Letters, of a prime length, so that ranges and chunks never repeat: a byte from the wrong place is another one. */
const PATTERN = Buffer.from(Array.from({ length: 4099 }, (_, index) => 33 + ((index * 7919) % 94)));
const big = Buffer.alloc(300_000, PATTERN);

/** Keys in an order that is not that of the listing; all are legal file names too. */
const OBJECTS: Readonly<Record<string, Buffer>> = {
  'b/2.txt': Buffer.from('two'),
  'a.txt': Buffer.from('hello'),
  'b/10.txt': big,
  'b-1': Buffer.from('dash'),
  empty: Buffer.alloc(0),
  'z/é': Buffer.from('accent'),
  'z/\u{ff5e}': Buffer.from('below the surrogates in UTF-16, above in UTF-8'),
  'z/\u{1f600}': Buffer.from('emoji'),
};

const all = async (source: Source, after?: string): Promise<Item[]> =>
  Array.fromAsync(source.list({ signal: never, run, ...(after === undefined ? {} : { after }) }));

const bytesOf = async (stream: ByteStream): Promise<Buffer> => Buffer.concat(await Array.fromAsync(stream));

async function itemOf(source: Source, key: string): Promise<Item> {
  const item = (await all(source)).find((candidate) => candidate.key === key);
  assert.ok(item, `${key} is listed`);
  return item;
}

const failsWith = (code: string) => (error: unknown) => error instanceof BrokerError && error.code === code;

/** Builds a source over the given objects; called once for each case. */
export type MakeSource = (objects: Readonly<Record<string, Buffer>>) => Promise<SourceFixture>;

/** Registers with vitest what every source promises. */
export function sourceSuite(name: string, make: MakeSource, exceptions: Exceptions = {}): void {
  register(name, sourceCases(make), exceptions);
}

/** What every source promises, case by case. */
export function sourceCases(make: MakeSource): Cases {
  const sorted = Object.keys(OBJECTS).sort(compareKeys);
  const withFixture = (work: (fixture: SourceFixture) => Promise<void>) => async () => {
    await using fixture = await make(OBJECTS);
    await work(fixture);
    await fixture.source[Symbol.asyncDispose]?.();
  };
  return {
    'lists every key once, in UTF-8 byte order': withFixture(async ({ source }) => {
      assert.deepEqual(
        (await all(source)).map((item) => item.key),
        sorted,
      );
    }),
    'says where it is, and its items are plain data that describe themselves': withFixture(async ({ source }) => {
      assert.ok(typeof source.location === 'string' && source.location.length > 0, 'it has a location');
      for (const item of await all(source)) {
        assert.ok(typeof item.id === 'string' && item.id.length > 0, `${item.key} has an id`);
        assert.deepEqual(JSON.parse(JSON.stringify(item)), item, `${item.key} is the same after JSON`);
        if (item.size !== undefined) assert.equal(item.size, OBJECTS[item.key]?.length, `the size of ${item.key}`);
      }
    }),
    'lists more than one page': async () => {
      // In threes that begin alike, so that a page of any round size ends within one: what begins like a cursor comes after it.
      const names = Array.from({ length: 401 }, (_, n) => `n/${String(n).padStart(4, '0')}`);
      const many = Object.fromEntries(
        names.flatMap((name) => [name, `${name}-`, `${name}.x`].map((key) => [key, Buffer.from('x')])),
      );
      await using fixture = await make(many);
      const keys = (await all(fixture.source)).map(({ key }) => key);
      assert.deepEqual(keys, Object.keys(many).sort(compareKeys));
      const half = keys[601] ?? '';
      assert.deepEqual((await all(fixture.source, half)).length, keys.length - 602, `after ${half}`);
      await fixture.source[Symbol.asyncDispose]?.();
    },
    'passes its own check, which tells each thing that a run does': withFixture(async ({ source }) => {
      const checks = (await source.check?.({ signal: never })) ?? [];
      assert.deepEqual(
        checks.filter(({ verdict }) => verdict !== 'pass'),
        [],
      );
    }),
    'goes on after any key': withFixture(async ({ source }) => {
      for (const [index, key] of sorted.entries()) {
        assert.deepEqual(
          (await all(source, key)).map((item) => item.key),
          sorted.slice(index + 1),
          `after ${key}`,
        );
      }
    }),
    'goes on after a key that does not exist': withFixture(async ({ source }) => {
      assert.deepEqual(
        (await all(source, 'b/1')).map((item) => item.key),
        sorted.slice(sorted.indexOf('b/10.txt')),
      );
    }),
    'gives the same ids when asked again': withFixture(async ({ source }) => {
      assert.deepEqual(
        (await all(source)).map((item) => item.id),
        (await all(source)).map((item) => item.id),
      );
    }),
    'closes a listing that is left early': withFixture(async ({ source }) => {
      for await (const item of source.list({ signal: never, run })) {
        assert.equal(item.key, sorted[0]);
        break;
      }
    }),
    'reads the exact bytes, from items that went through JSON': withFixture(async ({ source }) => {
      for (const listed of await all(source)) {
        const item = JSON.parse(JSON.stringify(listed)) as Item;
        const bytes = await bytesOf(await source.open(item, { signal: never }));
        assert.ok(bytes.equals(OBJECTS[item.key] ?? Buffer.from('missing')), item.key);
        if (item.size !== undefined) assert.equal(bytes.length, item.size);
      }
    }),
    'publishes checksums that are those of the bytes': withFixture(async ({ source }) => {
      for (const item of await all(source)) {
        if (item.checksums?.crc32c !== undefined)
          assert.equal(item.checksums.crc32c, crc32c(OBJECTS[item.key] ?? Buffer.alloc(0)));
      }
    }),
    'reads ranges, also in parallel': withFixture(async ({ source }) => {
      assert.equal(source.ranges, true);
      const item = await itemOf(source, 'b/10.txt');
      const bounds = [
        [0, 1],
        [1, 100_000],
        [99_999, 300_000],
        [299_999, 300_000],
      ] as const;
      const read = await Promise.all(
        bounds.map(async ([start, end]) => bytesOf(await source.open(item, { signal: never, range: { start, end } }))),
      );
      for (const [index, [start, end]] of bounds.entries())
        assert.ok(read[index]?.equals(big.subarray(start, end)), `${start}-${end}`);
    }),
    'fails with source_gone when an object vanished after it was listed': withFixture(async ({ source, remove }) => {
      const item = await itemOf(source, 'a.txt');
      await remove('a.txt');
      await assert.rejects(async () => bytesOf(await source.open(item, { signal: never })), failsWith('source_gone'));
    }),
    'fails with source_changed when an object was replaced after it was listed': withFixture(
      async ({ source, replace }) => {
        const changed = async (key: string, bytes: Buffer, range?: ByteRange): Promise<void> => {
          const item = await itemOf(source, key);
          await replace(key, bytes);
          const options = { signal: never, ...(range === undefined ? {} : { range }) };
          await assert.rejects(async () => bytesOf(await source.open(item, options)), failsWith('source_changed'));
          assert.notEqual((await itemOf(source, key)).id, item.id, 'another version has another id');
        };
        await changed('a.txt', Buffer.from('other bytes'));
        // Read in parts, no two versions may be joined.
        if (source.ranges === true)
          await changed('b/10.txt', Buffer.alloc(300_000, 'others'), { start: 100_000, end: 200_000 });
      },
    ),
    'lists at least what it is asked for, where it is asked for a part': withFixture(async ({ source }) => {
      const keys = async (only: Selection): Promise<string[]> =>
        (await Array.fromAsync(source.list({ signal: never, run, only }))).map(({ key }) => key);
      for (const key of sorted) assert.ok((await keys({ key })).includes(key), key);
      const below = await keys({ prefix: 'b/' });
      assert.deepEqual(
        below.filter((key) => key.startsWith('b/')),
        ['b/10.txt', 'b/2.txt'],
      );
      assert.deepEqual(below, [...below].sort(compareKeys), 'in order');
    }),
    'knows the key of the URL of an item, and of no other': withFixture(async ({ source }) => {
      if (source.keyOf === undefined) return;
      assert.equal(source.keyOf('isthmus-suite://nobody/knows/this'), undefined);
    }),
    'knows whether an item is still the one that was listed': withFixture(async ({ source, remove, replace }) => {
      const { stat } = source;
      if (stat === undefined) return;
      const look = async (item: Item) => stat.call(source, item, { signal: never });
      const [kept, gone, changed] = [
        await itemOf(source, 'a.txt'),
        await itemOf(source, 'b-1'),
        await itemOf(source, 'empty'),
      ];
      await remove('b-1');
      await replace('empty', Buffer.from('not any more'));
      assert.equal((await look(kept))?.id, kept.id);
      assert.equal(await look(gone), undefined);
      const now = await look(changed);
      assert.notEqual(now?.id, changed.id);
      assert.equal(now?.size, 12);
    }),
    'deletes the version that was listed, and no other': withFixture(async ({ source, replace }) => {
      const { remove } = source;
      if (remove === undefined) return;
      const [one, other] = [await itemOf(source, 'a.txt'), await itemOf(source, 'b-1')];
      await replace('b-1', Buffer.from('newer'));
      await remove.call(source, one, { signal: never });
      // What is gone already is no error.
      await remove.call(source, one, { signal: never });
      await assert.rejects(async () => remove.call(source, other, { signal: never }), failsWith('source_changed'));
      assert.deepEqual(
        (await all(source)).map(({ key }) => key),
        sorted.filter((key) => key !== 'a.txt'),
      );
    }),
    'selects what it lists': withFixture(async ({ source }) => {
      for (const { key } of await all(source)) assert.notEqual(source.selects?.(key), false, key);
    }),
    'hands over chunks that stay as they are': withFixture(async ({ source }) => {
      // Who reads may keep a chunk until it asks for the next one; one that is changed before is another's bytes.
      const stream = await source.open(await itemOf(source, 'b/10.txt'), { signal: never });
      let at = 0;
      for await (const chunk of stream) {
        await new Promise((resolve) => setImmediate(resolve));
        assert.ok(Buffer.from(chunk).equals(big.subarray(at, at + chunk.byteLength)), `at ${at}`);
        at += chunk.byteLength;
      }
      assert.equal(at, big.length);
    }),
    'ends, and gives back what it holds, when the signal fires half way': async () => {
      await using fixture = await make(OBJECTS);
      const before = openHandles();
      const controller = new AbortController();
      const item = await itemOf(fixture.source, 'b/10.txt');
      const reading = async (): Promise<void> => {
        const stream = await fixture.source.open(item, { signal: controller.signal });
        for await (const _ of stream) controller.abort();
      };
      // One that has handed over its last chunk already may end as if nothing had been.
      await reading().catch(() => undefined);
      await fixture.source[Symbol.asyncDispose]?.();
      assert.deepEqual(await leftOpen(before), [], 'nothing is left open after dispose');
    },
    'stops listing when the signal fires': withFixture(async ({ source }) => {
      const controller = new AbortController();
      controller.abort();
      await assert.rejects(Array.fromAsync(source.list({ signal: controller.signal, run })));
    }),
    'gives back what it holds when a stream is left half way': async () => {
      await using fixture = await make(OBJECTS);
      const before = openHandles();
      const item = await itemOf(fixture.source, 'b/10.txt');
      for await (const _ of await fixture.source.open(item, { signal: never })) break;
      await fixture.source[Symbol.asyncDispose]?.();
      assert.deepEqual(await leftOpen(before), [], 'nothing is left open after dispose');
    },
    'stops reading when the signal fires': withFixture(async ({ source }) => {
      const item = await itemOf(source, 'b/10.txt');
      const controller = new AbortController();
      controller.abort();
      await assert.rejects(async () => bytesOf(await source.open(item, { signal: controller.signal })));
    }),
  };
}
