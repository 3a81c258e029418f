/** Plugins that are wrong, each in one way, as somebody might write them. */
export interface Broken {
  /** What is wrong, as the table of docs/plugins.md has it. */
  readonly wrong: string;
  /** The body of a module that exports it as `broken`; `good` is there to be spread. */
  readonly module: string;
  /** What the run, or its validation, says; the name of the plugin and its file besides. */
  readonly says: RegExp;
  /** 2: refused before anything happens; 1: the run failed; 0: nothing shows in one run that goes well. */
  readonly code: 0 | 1 | 2;
  /** The case of the suite that finds it; undefined where nothing can be made to be tried. */
  readonly found: string | undefined;
}

/** A source over objects in memory that keeps its promises. */
export const GOOD = `
import { BrokerError, compareKeys, defineSource, z, throwIfAborted } from 'isthmus';
const OBJECTS = globalThis.brokenObjects ?? new Map([['a', 'bytes of a'], ['b', 'bytes of b']]);
const good = {
  location: 'good:', ranges: true,
  async *list({ after, signal }) {
    throwIfAborted(signal);
    for (const key of [...OBJECTS.keys()].sort(compareKeys))
      if (after === undefined || compareKeys(key, after) > 0) yield this.item(key);
  },
  item: (key) => ({ id: key + '#' + Buffer.from(OBJECTS.get(key)).toString('hex').slice(0, 40), key, size: Buffer.from(OBJECTS.get(key)).length, ref: null }),
  async open({ key, id }, { range = {}, signal }) {
    throwIfAborted(signal);
    if (!OBJECTS.has(key)) throw new BrokerError('source_gone', key + ' is gone');
    if (good.item(key).id !== id) throw new BrokerError('source_changed', key + ' was replaced');
    const bytes = Buffer.from(OBJECTS.get(key)).subarray(range.start, range.end);
    return (async function* () { for (let at = 0; at < bytes.length; at += 65536) yield bytes.subarray(at, at + 65536); })();
  },
};
const define = (more) => defineSource({ name: 'broken', summary: 'Broken.', config: z.strictObject({}), create: () => ({ ...good, ...more }) });
`;

export const BROKEN: readonly Broken[] = [
  {
    wrong: 'throws on import',
    module: `throw new Error('no database here');`,
    says: /\.\/broken\.js cannot be loaded: no database here/,
    code: 2,
    found: undefined,
  },
  {
    wrong: 'waits on import for what never comes',
    module: `setInterval(() => {}, 1000); await new Promise(() => {});`,
    says: /its module is not loaded after 20 seconds/,
    code: 2,
    found: undefined,
  },
  {
    wrong: 'has a shape that is none: no schema',
    module: `export const broken = { ...define({}), config: { path: 'text' } };`,
    says: /plugin "broken": its config is no z\.strictObject/,
    code: 2,
    found: undefined,
  },
  {
    wrong: 'is of a kind that does not exist',
    module: `export const broken = { ...define({}), kind: 'sauce' };`,
    says: /its kind is none of source, sink, step, state/,
    code: 2,
    found: undefined,
  },
  {
    wrong: 'was built for another contract',
    module: `export const broken = { ...define({}), contract: 99 };`,
    says: /built for plugin contract 99, and this release of Isthmus has 1: install a newer isthmus/,
    code: 2,
    found: undefined,
  },
  {
    wrong: 'has options as large as a book',
    module: `export const broken = { ...define({}), config: z.strictObject({ o: z.enum(Array.from({ length: 60000 }, (_, i) => 'option-' + i)) }) };`,
    says: /JSON Schema of \d+ characters, and 262144 are allowed/,
    code: 2,
    found: undefined,
  },
  {
    wrong: 'create throws',
    module: `export const broken = { ...define({}), create: () => { throw new TypeError('x is undefined'); } };`,
    says: /plugin "broken" \(\.\/broken\.js\): create threw: TypeError: x is undefined/,
    code: 2,
    found: 'lists every key once, in UTF-8 byte order',
  },
  {
    wrong: 'create returns nothing',
    module: `export const broken = { ...define({}), create: () => {} };`,
    says: /plugin "broken" \(\.\/broken\.js\): create returned nothing/,
    code: 2,
    found: 'lists every key once, in UTF-8 byte order',
  },
  {
    wrong: 'create returns a promise',
    module: `export const broken = { ...define({}), create: async () => good };`,
    says: /create returned a promise/,
    code: 2,
    found: 'lists every key once, in UTF-8 byte order',
  },
  {
    wrong: 'has no list',
    module: `export const broken = define({ list: undefined });`,
    says: /what create returned has no method list/,
    code: 2,
    found: 'lists every key once, in UTF-8 byte order',
  },
  {
    wrong: 'list returns nothing',
    module: `export const broken = define({ list: () => {} });`,
    says: /list returned nothing that can be iterated/,
    code: 1,
    found: 'lists every key once, in UTF-8 byte order',
  },
  {
    wrong: 'lists items without an id',
    module: `export const broken = define({ async *list() { yield { key: 'a', ref: null }; } });`,
    says: /it listed an item without id or key/,
    code: 1,
    found: 'says where it is, and its items are plain data that describe themselves',
  },
  {
    wrong: 'lists in another order',
    module: `export const broken = define({ async *list() { for (const key of [...OBJECTS.keys()].sort(compareKeys).reverse()) yield good.item(key); } });`,
    says: /"a" was listed after "b"/,
    code: 1,
    found: 'lists every key once, in UTF-8 byte order',
  },
  {
    wrong: 'cannot go on after a key',
    module: `export const broken = define({ list({ signal }) { return good.list({ signal }); } });`,
    says: /complete/,
    code: 0,
    found: 'goes on after any key',
  },
  {
    wrong: 'open returns nothing',
    module: `export const broken = define({ open: async () => {} });`,
    says: /open .* returned no stream/,
    code: 1,
    found: 'reads the exact bytes, from items that went through JSON',
  },
  {
    wrong: 'open throws what is no error of its contract',
    module: `export const broken = define({ open: async () => { throw new RangeError('offset'); } });`,
    says: /plugin "broken" \(\.\/broken\.js\): open .*: RangeError: offset/,
    code: 1,
    found: 'reads the exact bytes, from items that went through JSON',
  },
  {
    wrong: 'gives texts instead of bytes',
    module: `export const broken = define({ open: async () => (async function* () { yield 'text'; })() });`,
    says: /gave something else than a Uint8Array/,
    code: 1,
    found: 'reads the exact bytes, from items that went through JSON',
  },
  {
    wrong: 'lies about the size: less comes',
    module: `export const broken = define({ item: (key) => ({ ...good.item(key), size: 1000 }) });`,
    says: /truncated.*10 of 1000 bytes/s,
    code: 1,
    found: 'says where it is, and its items are plain data that describe themselves',
  },
  {
    wrong: 'lies about the size: more comes',
    module: `export const broken = define({ item: (key) => ({ ...good.item(key), size: 1 }) });`,
    says: /too_long.*more than the 1 bytes announced/s,
    code: 1,
    found: 'says where it is, and its items are plain data that describe themselves',
  },
  {
    wrong: 'lies about the checksum',
    module: `export const broken = define({ item: (key) => ({ ...good.item(key), checksums: { crc32c: 'AAAAAA==' } }) });`,
    says: /checksum_mismatch/,
    code: 1,
    found: 'publishes checksums that are those of the bytes',
  },
  {
    wrong: 'hangs while it lists',
    module: `export const broken = define({ async *list() { await new Promise(() => {}); } });`,
    says: /list: nothing was heard of it for/,
    code: 1,
    found: 'lists every key once, in UTF-8 byte order',
  },
  {
    wrong: 'hangs while it reads',
    module: `export const broken = define({ open: async () => (async function* () { yield Buffer.from('by'); await new Promise(() => {}); })() });`,
    says: /open .*: nothing was heard of it for/,
    code: 1,
    found: 'reads the exact bytes, from items that went through JSON',
  },
  {
    wrong: 'does not close what it opened',
    module: `import { createServer } from 'node:net';
export const broken = define({ async open(item, options) { createServer().listen(0, '127.0.0.1'); return good.open(item, options); } });`,
    says: /complete/,
    code: 0,
    found: 'gives back what it holds when a stream is left half way',
  },
  {
    wrong: 'does not heed the signal',
    module: `export const broken = define({ list: ({ after }) => good.list({ after, signal: new AbortController().signal }) });`,
    says: /complete/,
    code: 0,
    found: 'stops listing when the signal fires',
  },
  {
    wrong: 'reads what was replaced meanwhile',
    module: `export const broken = define({ async open({ key }, options) { return good.open(good.item(key), options); } });`,
    says: /complete/,
    code: 0,
    found: 'fails with source_changed when an object was replaced after it was listed',
  },
  {
    wrong: 'joins two versions where it is read in parts',
    module: `export const broken = define({ async open(item, options) { return good.open(options.range ? good.item(item.key) : item, options); } });`,
    says: /complete/,
    code: 0,
    found: 'fails with source_changed when an object was replaced after it was listed',
  },
  {
    wrong: 'gives the bytes beside those of a range',
    module: `export const broken = define({ open: (item, { range, signal }) =>
  good.open(item, { signal, ...(range?.start > 0 ? { range: { start: range.start - 1, end: range.end - 1 } } : range ? { range } : {}) }) });`,
    says: /complete/,
    code: 0,
    found: 'reads ranges, also in parallel',
  },
  {
    wrong: 'uses the memory of a chunk again while it is read',
    module: `export const broken = define({ async open(item, options) {
  const stream = await good.open(item, options);
  return (async function* () { for await (const chunk of stream) { const one = Buffer.from(chunk); setImmediate(() => one.fill(0)); yield one; } })();
} });`,
    says: /complete/,
    code: 0,
    found: 'hands over chunks that stay as they are',
  },
  {
    wrong: 'lists nothing where it is asked for a part',
    module: `export const broken = define({ async *list(options) { if (options.only === undefined) yield* good.list.call(this, options); } });`,
    says: /complete/,
    code: 0,
    found: 'lists at least what it is asked for, where it is asked for a part',
  },
];
