import { describe, expect, it } from 'vitest';
import type { Item, Sink, Source, StoredObject } from '../../core/api/index.ts';
import { filterOf } from '../../core/engine/filter.ts';
import type { Job } from '../../core/engine/job.ts';
import { keyMap } from '../../core/engine/key-map.ts';
import type { Receipt } from '../../core/engine/receipt.ts';
import type { Report } from '../../core/engine/report.ts';
import { run } from '../../core/engine/run.ts';
import { verify } from '../../core/engine/verify.ts';
import { MemoryState } from '../../core/state/memory.ts';
import { MemorySink } from '../../plugins/memory/index.ts';
import { crc32c } from '../cloud/body.ts';
import { runContext } from '../conformance/run-context.ts';
import { testRuntime } from '../support.ts';
import { job, numbered, sourceOf } from './job.ts';

/** A source of items with metadata; their bytes are their keys. */
function itemsOf(items: readonly (Partial<Item> & { readonly key: string })[], more: Partial<Source> = {}): Source {
  return {
    location: 'test:',
    ranges: true,
    async *list({ after }) {
      for (const { key, ...rest } of items) {
        const bytes = Buffer.from(key);
        const item = { id: `test:${key}#1`, key, size: bytes.length, checksums: { crc32c: crc32c(bytes) }, ref: key };
        if (after === undefined || key > after) yield { ...item, ...rest };
      }
    },
    async open({ ref }, { range }) {
      const bytes = Buffer.from(String(ref)).subarray(range?.start, range?.end);
      return (async function* () {
        if (bytes.length > 0) yield bytes;
      })();
    },
    ...more,
  };
}

async function carried(options: Partial<Job>): Promise<{ readonly report: Report; readonly receipts: Receipt[] }> {
  const receipts: Receipt[] = [];
  const observer = { receipt: (receipt: Receipt) => void receipts.push(receipt) };
  return { report: await run(job(options), { runtime: testRuntime(), observer }), receipts };
}

/** A sink that holds an object with these properties, and takes writes. */
const holding = (object: Partial<StoredObject>): Sink & { readonly inner: MemorySink } => {
  const inner = new MemorySink();
  const stored: StoredObject = { key: 'a', size: 1, revision: 'old', ...object };
  return {
    inner,
    location: 'held:',
    async *list() {
      yield stored;
    },
    stat: async (key) => (key === stored.key ? stored : undefined),
    write: (item, content, options) => inner.write(item, content, { ...options, expected: undefined }),
  };
};

describe('compare', () => {
  const at = (modifiedAt: string): Source => itemsOf([{ key: 'a', modifiedAt }]);
  const held = { modifiedAt: '2026-01-02T00:00:00Z', checksums: { crc32c: 'other' }, complete: true };

  it.each([
    ['modified', 'different', '2026-01-01T00:00:00Z', 'unchanged', 'same size, not changed since'],
    ['modified', 'different', '2026-01-03T00:00:00Z', 'written', 'changed in the source since it was written'],
    ['modified', 'different', undefined, 'written', 'the time of the last change is not known'],
    ['checksum', 'different', '2026-01-01T00:00:00Z', 'written', 'CRC32C differs'],
    ['checksum', 'never', '2026-01-03T00:00:00Z', 'skipped', 'it is there; overwrite: never'],
    ['checksum', 'ifNewer', '2026-01-01T00:00:00Z', 'skipped', 'the one in the sink is not older; overwrite: ifNewer'],
    ['checksum', 'ifNewer', '2026-01-03T00:00:00Z', 'written', 'CRC32C differs'],
    ['checksum', 'ifNewer', undefined, 'skipped', 'which one is newer is not known; overwrite: ifNewer'],
    ['size', 'never', undefined, 'unchanged', 'same size'],
  ] as const)('%s, overwrite %s, changed at %s: %s', async (compare, overwrite, modifiedAt, outcome, reason) => {
    const source = modifiedAt === undefined ? itemsOf([{ key: 'a' }]) : at(modifiedAt);
    const { report, receipts } = await carried({ sources: [source], sinks: [holding(held)], compare, overwrite });
    expect(receipts).toMatchObject([{ outcome, reason }]);
    expect(report).toMatchObject({ outcome: 'complete', items: { [outcome]: 1 } });
  });

  it('creates what is not there, whatever overwrite says', async () => {
    for (const overwrite of ['never', 'ifNewer', 'different'] as const) {
      const sink = new MemorySink();
      expect((await carried({ sinks: [sink], overwrite })).report).toMatchObject({ items: { written: 2 } });
    }
  });
});

describe('a filter', () => {
  const now = Date.parse('2026-11-26T00:00:00Z');
  const items = [
    {
      key: 'a.csv',
      modifiedAt: '2026-11-25T00:00:00Z',
      headers: { contentType: 'text/csv' },
      storageClass: 'STANDARD',
    },
    {
      key: 'b.txt',
      modifiedAt: '2026-10-01T00:00:00Z',
      headers: { contentType: 'text/plain' },
      metadata: { team: 'x' },
    },
    { key: 'dir/c.csv', modifiedAt: '2026-11-25T23:59:00Z', storageClass: 'ARCHIVE', size: 1000 },
    { key: 'dir/unknown' },
  ];

  it.each([
    [{ include: ['**.csv'] }, ['a.csv', 'dir/c.csv']],
    [{ include: ['*.csv'] }, ['a.csv']],
    [{ exclude: ['dir/**'] }, ['a.csv', 'b.txt']],
    [{ include: [{ regex: '.*[ab]\\..*' }] }, ['a.csv', 'b.txt']],
    [{ exclude: [{ regex: '(a+)+$' }, { regex: 'dir/.*' }] }, ['a.csv', 'b.txt']],
    [{ minSize: 6 }, ['dir/c.csv', 'dir/unknown']],
    [{ maxSize: 100 }, ['a.csv', 'b.txt', 'dir/unknown']],
    [{ modifiedAfter: Date.parse('2026-11-01T00:00:00Z') }, ['a.csv', 'dir/c.csv', 'dir/unknown']],
    [{ modifiedBefore: Date.parse('2026-11-01T00:00:00Z') }, ['b.txt', 'dir/unknown']],
    [{ minAge: 3_600_000 }, ['a.csv', 'b.txt', 'dir/unknown']],
    [{ maxAge: 3_600_000 }, ['dir/c.csv', 'dir/unknown']],
    [{ storageClasses: ['STANDARD'] }, ['a.csv', 'b.txt', 'dir/unknown']],
    [{ contentTypes: ['text/p*'] }, ['b.txt', 'dir/c.csv', 'dir/unknown']],
    [{ metadata: { team: 'x' } }, ['b.txt']],
    [{ include: ['**.csv'], exclude: ['dir/**'], minAge: 1 }, ['a.csv']],
  ])('of %j lets through %j, and counts the rest as skipped', async (spec, wanted) => {
    const sink = new MemorySink();
    const open = itemsOf(items.map(({ size: _, ...item }) => item));
    const sized = { ...open, list: (options: Parameters<Source['list']>[0]) => withSizes(open.list(options)) };
    const filter = await filterOf(spec);
    const runtime = testRuntime({ now: () => now });
    // What is let through is written or fails for the size that only the filter believes in.
    const report = await run(job({ sources: [sized], sinks: [sink], filter }), { runtime });
    const failed = report.failures.map(({ key }) => key);
    expect([...sink.objects.keys(), ...failed].sort()).toEqual(wanted);
    expect(report.items.skipped).toBe(4 - wanted.length);
  });

  const withSizes = async function* (listing: AsyncIterable<Item>): AsyncGenerator<Item> {
    for await (const item of listing) yield item.key === 'dir/c.csv' ? { ...item, size: 1000 } : item;
  };

  it('of a regular expression takes linear time, also of one that others take for ever for', async () => {
    const { key } = await filterOf({ include: [{ regex: '(a+)+$' }] });
    expect(key(`${'a'.repeat(50_000)}b`)).toBe(false);
  });
});

describe('objects that stand for a folder', () => {
  const source = (): Source => itemsOf([{ key: 'dir/', size: 0, checksums: {}, ref: '' }, { key: 'dir/a' }]);

  it.each([
    ['copy', { written: 2 }, 'complete', ['dir/', 'dir/a']],
    ['skip', { written: 1, skipped: 1 }, 'complete', ['dir/a']],
    ['refuse', { written: 1, refused: 1 }, 'partial', ['dir/a']],
  ] as const)('%s', async (folderMarkers, counts, outcome, keys) => {
    const sink = new MemorySink();
    const { report } = await carried({ sources: [source()], sinks: [sink], folderMarkers });
    expect(report).toMatchObject({ outcome, items: counts });
    expect([...sink.objects.keys()]).toEqual(keys);
  });

  it('itself, the source, are left out and counted: they have no name', async () => {
    const { report } = await carried({
      sources: [itemsOf([{ key: '', size: 0, checksums: {}, ref: '' }, { key: 'a' }])],
    });
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 1, skipped: 1 } });
  });
});

describe('a key template', () => {
  const named = (template: string, key: string, more: Partial<Item> = {}): string | undefined =>
    keyMap(template, 'refuse').of({ id: `gs://b/${key}#17`, key, ref: null, ...more });
  const modifiedAt = '2026-03-04T23:30:00-01:00';

  it.each([
    ['raw/{key}', 'a/b.tar.gz', 'raw/a/b.tar.gz'],
    ['{dir}{stem}-{generation}{ext}', 'a/b.tar.gz', 'a/b.tar-17.gz'],
    ['{name}', 'a/b/c', 'c'],
    ['{date}/{key}', 'x', '2026-03-05/x'],
    ['{year}/{month}/{day}/{stem}{ext}', 'p/.hidden', '2026/03/05/.hidden'],
    ['{crc32c}-{name}', 'x', 'e3069283-x'],
  ])('%s of %s is %s', (template, key, expected) => {
    expect(named(template, key, { modifiedAt, checksums: { crc32c: '4waSgw==' } })).toBe(expected);
  });

  it('refuses by name an item that lacks what its key is to be made of', async () => {
    const { report } = await carried({ sources: [itemsOf([{ key: 'a' }])], keys: keyMap('{date}/{key}', 'refuse') });
    expect(report.failures).toMatchObject([{ key: 'a', code: 'key_refused' }]);
  });

  it('gives items their keys, keeps their own for the receipts, and compares with what is under the new ones', async () => {
    const sink = new MemorySink();
    const options = {
      sinks: [sink],
      sources: [sourceOf({ 'a/1': 'one', 'b/1': 'two' })],
      keys: keyMap('x/{key}', 'refuse'),
    };
    const first = await carried(options);
    expect(first.receipts).toMatchObject([
      { key: 'x/a/1', from: 'a/1', outcome: 'written' },
      { key: 'x/b/1', from: 'b/1', outcome: 'written' },
    ]);
    expect([...sink.objects.keys()]).toEqual(['x/a/1', 'x/b/1']);
  });

  it.each([
    ['refuse', 'partial', { written: 2, refused: 2 }],
    ['skip', 'complete', { written: 2, skipped: 2 }],
  ] as const)(
    'that gives items one key lets the first have it, the others it will %s',
    async (collisions, outcome, items) => {
      const sink = new MemorySink();
      const sources = [sourceOf({ 'a/1': 'one', 'b/1': 'two', 'b/2': 'three', 'c/2': 'four' })];
      const { report } = await carried({ sinks: [sink], sources, keys: keyMap('{name}', collisions) });
      expect(report).toMatchObject({ outcome, items });
      expect(sink.objects.get('1')?.bytes.toString()).toBe('one');
      expect(sink.objects.get('2')?.bytes.toString()).toBe('three');
      if (collisions === 'refuse')
        expect(report.failures.map(({ code }) => code)).toEqual(['key_collision', 'key_collision']);
    },
  );

  it('knows after a pause which keys are taken', async () => {
    const sink = new MemorySink();
    const state = new MemoryState();
    const items = { ...numbered(30), 'z/k0001': 'another' };
    const stop = new AbortController();
    const options = {
      sinks: [sink],
      sources: [sourceOf(items)],
      state,
      keys: keyMap('{name}', 'refuse'),
      concurrency: 1,
    };
    let seen = 0;
    const observer = { receipt: () => void (++seen === 10 && stop.abort()) };
    expect(await run(job(options), { runtime: testRuntime({ stop: stop.signal }), observer })).toMatchObject({
      outcome: 'paused',
    });
    const report = await run(job(options), { runtime: testRuntime() });
    expect(report.failures).toMatchObject([{ code: 'key_collision', message: expect.stringContaining('z/k0001') }]);
    expect(sink.objects.get('k0001')?.bytes.toString()).toBe('value 1');
  });
});

describe('deleting what no source has', () => {
  const deletes = { maxCount: 2, maxPercent: 50 };
  const compare = 'size';
  const full = async (...keys: string[]): Promise<MemorySink> => {
    const sink = new MemorySink();
    await carried({ sinks: [sink], sources: [sourceOf(Object.fromEntries(keys.map((key) => [key, key])))] });
    return sink;
  };

  it('deletes exactly that, and says so', async () => {
    const sink = await full('a', 'b', 'old/1', 'z');
    const { report, receipts } = await carried({
      sinks: [sink],
      sources: [sourceOf({ a: 'a', b: 'b' })],
      compare,
      deletes,
    });
    expect(report).toMatchObject({
      outcome: 'complete',
      items: { unchanged: 2, deleted: 2 },
      extras: { found: 2, of: 4 },
    });
    expect(receipts.filter(({ outcome }) => outcome === 'deleted').map(({ key }) => key)).toEqual(['old/1', 'z']);
    expect([...sink.objects.keys()]).toEqual(['a', 'b']);
  });

  it.each([
    ['maxCount', { maxCount: 1, maxPercent: 100 }, 'delete.maxCount: 2'],
    ['maxPercent', { maxCount: 10, maxPercent: 49 }, 'delete.maxPercent: 50'],
  ])('stops before the first when there are more than %s', async (_name, limits, hint) => {
    const sink = await full('a', 'b', 'c', 'd');
    const { report } = await carried({ sinks: [sink], sources: [sourceOf({ a: 'a', b: 'b' })], deletes: limits });
    expect(report).toMatchObject({
      outcome: 'failed',
      error: { code: 'delete_guard', hint: expect.stringContaining(hint) },
    });
    expect(sink.objects.size).toBe(4);
  });

  it('stops before the first in any sink when one of several has too many', async () => {
    const [one, two] = [await full('a', 'x'), await full('a', 'p', 'q', 'r')];
    const { report } = await carried({ sinks: [one, two], sources: [sourceOf({ a: 'a' })], deletes });
    expect(report).toMatchObject({ error: { code: 'delete_guard' }, items: { deleted: 0 } });
    expect(one.objects.size + two.objects.size).toBe(6);
  });

  it('deletes nothing when an empty source is a mistake', async () => {
    const sink = await full('a', 'b', 'c');
    const { report } = await carried({
      sinks: [sink],
      sources: [sourceOf({})],
      deletes: { maxCount: 1000, maxPercent: 25 },
    });
    expect(report.error?.code).toBe('delete_guard');
    expect(sink.objects.size).toBe(3);
  });

  it('deletes nothing, and says so, as long as not every item is in every sink', async () => {
    const sink = await full('a', 'old');
    const sources = [
      itemsOf([{ key: 'a' }, { key: 'b', problem: { code: 'source_encrypted', message: 'm', hint: 'h' } }]),
    ];
    const { report } = await carried({ sinks: [sink], sources, deletes });
    expect(report).toMatchObject({ outcome: 'partial', items: { deleted: 0 } });
    expect(Object.keys(report.notes ?? {})).toEqual([
      expect.stringContaining('nothing was deleted: not every item is in every sink'),
    ]);
    expect(sink.objects.has('old')).toBe(true);
  });

  it('leaves what a filter leaves out, and what the source does not select: that is somebody else’s', async () => {
    const sink = await full('a', 'log/1', 'other/1', 'x');
    const filter = await filterOf({ exclude: ['log/**'] });
    const selects = (key: string): boolean => !key.startsWith('other/');
    const source = itemsOf([{ key: 'a' }], { selects });
    const { report } = await carried({ sinks: [sink], sources: [source], filter, deletes });
    expect(report).toMatchObject({ items: { deleted: 1 }, extras: { found: 1, of: 2 } });
    expect([...sink.objects.keys()]).toEqual(['a', 'log/1', 'other/1']);
  });

  it('leaves what is in the source, also when a filter does not let it through any more', async () => {
    const sink = await full('a', 'large');
    const filter = await filterOf({ maxSize: 3 });
    const { report } = await carried({
      sinks: [sink],
      sources: [sourceOf({ a: 'a', large: 'large' })],
      filter,
      deletes,
    });
    expect(report).toMatchObject({ outcome: 'complete', items: { deleted: 0, skipped: 1 } });
    expect(sink.objects.has('large')).toBe(true);
  });

  it('deletes only below the beginning of a key template', async () => {
    const sink = await full('other/x', 'raw/a', 'raw/old');
    const options = {
      sinks: [sink],
      sources: [sourceOf({ a: 'raw/a' })],
      keys: keyMap('raw/{key}', 'refuse'),
      deletes,
    };
    expect((await carried(options)).report).toMatchObject({ items: { deleted: 1 }, extras: { found: 1, of: 2 } });
    expect([...sink.objects.keys()]).toEqual(['other/x', 'raw/a']);
  });

  it('leaves, and tells, what was changed since it was looked at', async () => {
    const sink = await full('a', 'old');
    const changing: Sink = {
      location: 'memory:',
      list: (options) => sink.list(options),
      stat: (key) => sink.stat(key),
      write: (...given) => sink.write(...given),
      delete: (object) => sink.delete({ ...object, revision: 'another' }),
    };
    const { report } = await carried({ sinks: [changing], sources: [sourceOf({ a: 'a' })], deletes });
    expect(report).toMatchObject({ outcome: 'partial', failures: [{ key: 'old', code: 'conflict' }] });
    expect(sink.objects.has('old')).toBe(true);
  });

  it('goes on after a pause, and not twice', async () => {
    const sink = await full('a', ...Object.keys(numbered(20)));
    const state = new MemoryState();
    const stop = new AbortController();
    const options = {
      sinks: [sink],
      sources: [sourceOf({ a: 'a' })],
      state,
      deletes: { maxCount: 50, maxPercent: 99 },
    };
    let gone = 0;
    const observer = { receipt: (one: Receipt) => void (one.outcome === 'deleted' && ++gone === 3 && stop.abort()) };
    const paused = await run(job({ ...options, concurrency: 1 }), {
      runtime: testRuntime({ stop: stop.signal }),
      observer,
    });
    expect(paused).toMatchObject({ outcome: 'paused', items: { deleted: 3 } });
    const report = await run(job(options), { runtime: testRuntime(), observer });
    expect(report).toMatchObject({ outcome: 'complete', runId: paused.runId });
    expect(gone).toBe(20);
    expect([...sink.objects.keys()]).toEqual(['a']);
  });
});

describe('moving', () => {
  it('deletes in the source what is proved in every sink, and not before', async () => {
    const sinks = [new MemorySink(), new MemorySink()];
    const source = sourceOf({ a: '1', b: '2' });
    const gone: string[] = [];
    const watched: Source = {
      location: 'memory:',
      list: (options) => source.list(options),
      open: (item, options) => source.open(item, options),
      remove: async (item: Item, options: { signal: AbortSignal }) => {
        for (const sink of sinks) expect(sink.objects.has(item.key)).toBe(true);
        gone.push(item.key);
        await source.remove?.(item, options);
      },
    };
    const { report } = await carried({ sources: [watched], sinks, move: true });
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 4 }, moved: 2 });
    expect(gone.sort()).toEqual(['a', 'b']);
    expect((await carried({ sources: [source], sinks, move: true })).report).toMatchObject({ items: { written: 0 } });
  });

  it('deletes what was there already by its checksum: a run that died in between ends what it began', async () => {
    const sink = new MemorySink();
    const removed: string[] = [];
    const remove = async ({ key }: Item): Promise<void> => void removed.push(key);
    await carried({ sources: [itemsOf([{ key: 'a' }])], sinks: [sink] });
    const { report } = await carried({ sources: [itemsOf([{ key: 'a' }], { remove })], sinks: [sink], move: true });
    expect(report).toMatchObject({ items: { unchanged: 1 }, moved: 1 });
    expect(removed).toEqual(['a']);
  });

  it.each([
    ['a sink that confirms no checksum', { location: 'x', size: 1 }],
    ['a sink that fails', undefined],
  ])('leaves what %s has', async (_name, written) => {
    const sink: Sink = {
      location: 'x:',
      write: async () => {
        if (written === undefined) throw new Error('no');
        return written;
      },
    };
    const removed: string[] = [];
    const remove = async ({ key }: Item): Promise<void> => void removed.push(key);
    const sources = [itemsOf([{ key: 'a' }], { remove })];
    const { report } = await carried({ sources, sinks: [new MemorySink(), sink], move: true });
    expect(report.moved).toBe(0);
    expect(removed).toEqual([]);
  });

  it('tells of what is in every sink and could not be deleted', async () => {
    const remove = async (): Promise<void> => {
      throw Object.assign(new Error('held'), { code: 'EACCES' });
    };
    const { report } = await carried({ sources: [itemsOf([{ key: 'a' }], { remove })], move: true });
    expect(report).toMatchObject({ outcome: 'failed', moved: 0, failures: [{ key: 'a' }] });
    expect(report.failures[0]?.message).toContain('was carried, but stays in its source');
  });
});

describe('reading both sides', () => {
  it('finds bytes that no checksum of a listing shows', async () => {
    const sink = new MemorySink();
    const source = itemsOf([{ key: 'a' }, { key: 'b' }]);
    await carried({ sources: [source], sinks: [sink] });
    const held = sink.objects.get('b');
    if (held !== undefined) sink.objects.set('b', { ...held, bytes: Buffer.from('X') });
    const context = { run: () => runContext(), signal: new AbortController().signal, extras: false };
    const shallow = await Array.fromAsync(verify({ ...job({ sources: [source], sinks: [sink] }), ...context }));
    expect(shallow).toEqual([undefined, undefined]);
    const { Crc32cPool } = await import('../../core/engine/crc32c.ts');
    const deep = { hashers: new Crc32cPool(), concurrency: 2 };
    const found = await Array.fromAsync(verify({ ...job({ sources: [source], sinks: [sink] }), ...context, deep }));
    expect(found).toEqual([undefined, expect.objectContaining({ finding: 'different', key: 'b' })]);
  });
});
