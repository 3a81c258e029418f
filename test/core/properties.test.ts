import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ahead,
  combineCrc32c,
  compareKeys,
  EMPTY_CRC32C,
  type Item,
  keyBefore,
  linesOf,
  type Sink,
  type Source,
  type StoredObject,
} from '../../core/api/index.ts';
import { withExtras } from '../../core/engine/extras.ts';
import { keyMap, TakenKeys } from '../../core/engine/key-map.ts';
import { type Action, plan } from '../../core/engine/plan.ts';
import { Watermark } from '../../core/engine/watermark.ts';
import { interpolate } from '../../core/pipeline/interpolate.ts';
import { crc32c } from '../cloud/body.ts';
import { runContext } from '../conformance/run-context.ts';
import { RECEIPT } from './job.ts';

const signal = new AbortController().signal;
/** Few characters, among them those that UTF-16 sorts otherwise than UTF-8, so that keys share beginnings. */
const key = fc.string({
  unit: fc.constantFrom('a', 'b', '/', '.', '-', '\u{1f600}', '\uff5e', 'é'),
  minLength: 1,
  maxLength: 5,
});
const keys = fc.uniqueArray(key, { maxLength: 40 }).map((all) => all.sort(compareKeys));
const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

const sourceOf = (listed: readonly string[]): Source => ({
  location: 's:',
  async *list({ after }) {
    for (const one of listed)
      if (after === undefined || compareKeys(one, after) > 0)
        yield { id: one, key: one, size: 1, checksums: { crc32c: 'same' }, ref: null };
  },
  open: async () => {
    throw new Error('nothing is read');
  },
});

const sinkOf = (held: ReadonlyMap<string, string>, seen: string[] = []): Sink => {
  const objects = [...held.keys()].sort(compareKeys).map((one): StoredObject => {
    return { key: one, size: 1, checksums: { crc32c: held.get(one) ?? '' }, complete: true };
  });
  return {
    location: 't:',
    async *list({ after }) {
      for (const object of objects)
        if (after === undefined || compareKeys(object.key, after) > 0) {
          seen.push(object.key);
          yield object;
        }
    },
    stat: async (one) => objects.find((object) => object.key === one),
    write: async () => {
      throw new Error('nothing is written');
    },
  };
};

const planned = async (options: Partial<Parameters<typeof plan>[0]>): Promise<Action[]> => {
  const all = { sources: [], sinks: [], compare: 'checksum' as const, run: () => runContext(), signal, ...options };
  return (await Array.fromAsync(plan(all))).flatMap(({ actions }) => actions);
};

describe('the merge join', () => {
  it('decides as a look at both sides as a whole would', async () => {
    await fc.assert(
      fc.asyncProperty(
        keys,
        keys,
        fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }),
        async (ours, theirs, same) => {
          const held = new Map(theirs.map((one, index) => [one, same[index] === true ? 'same' : 'other']));
          const actions = await planned({ sources: [sourceOf(ours)], sinks: [sinkOf(held)] });
          const expected = ours.map((one) => [
            one,
            !held.has(one) ? 'create' : held.get(one) === 'same' ? 'skip' : 'update',
          ]);
          expect(actions.map(({ item, action }) => [item.key, action])).toEqual(expected);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('goes on from any key as if it had been there', async () => {
    await fc.assert(
      fc.asyncProperty(keys, keys, fc.nat(40), async (ours, theirs, place) => {
        const held = new Map(theirs.map((one) => [one, 'same']));
        const sides = { sources: [sourceOf(ours)], sinks: [sinkOf(held)] };
        const all = await planned(sides);
        const after = ours[place];
        const rest = await planned({ ...sides, after });
        expect(rest).toEqual(after === undefined ? all : all.filter(({ item }) => compareKeys(item.key, after) > 0));
      }),
      { numRuns: 200 },
    );
  });

  it('of several sources refuses what is in two of them, and loses nothing', async () => {
    await fc.assert(
      fc.asyncProperty(keys, keys, async (one, two) => {
        const actions = await planned({ sources: [sourceOf(one), sourceOf(two)], sinks: [sinkOf(new Map())] });
        const both = one.filter((name) => two.includes(name));
        expect(actions).toHaveLength(one.length + two.length);
        expect([...new Set(actions.filter(({ action }) => action === 'refuse').map(({ item }) => item.key))]).toEqual(
          both,
        );
      }),
    );
  });

  it('with sinks that are asked key by key decides as with sinks that are listed', async () => {
    await fc.assert(
      fc.asyncProperty(keys, keys, async (ours, theirs) => {
        const held = new Map(theirs.map((one) => [one, 'same']));
        const { list: _, ...asked } = sinkOf(held);
        const listed = await planned({ sources: [sourceOf(ours)], sinks: [sinkOf(held)] });
        expect(await planned({ sources: [sourceOf(ours)], sinks: [asked] })).toEqual(listed);
      }),
    );
  });

  it('finds as extra what no source has, and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(keys, keys, keys, async (one, two, theirs) => {
        const sides = {
          sources: [sourceOf(one), sourceOf(two)],
          sinks: [sinkOf(new Map(theirs.map((name) => [name, 'x'])))],
        };
        const found = await Array.fromAsync(withExtras({ ...sides, run: () => runContext(), signal }, 0));
        expect(found.filter(({ extra }) => extra).map(({ stored }) => stored.key)).toEqual(
          theirs.filter((name) => !one.includes(name) && !two.includes(name)),
        );
      }),
      { numRuns: 200 },
    );
  });

  it('works ahead and keeps the order, whatever takes how long', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(3), { maxLength: 60 }), fc.integer({ min: 1, max: 8 }), async (turns, most) => {
        let [under, peak] = [0, 0];
        const source = (async function* () {
          for (const [index, wait] of turns.entries()) yield { index, wait };
        })();
        const results = ahead(source, most, ({ index, wait }) => {
          if (wait === 0) return index;
          peak = Math.max(peak, ++under);
          return (async () => {
            for (let turn = 0; turn < wait; turn++) await new Promise(setImmediate);
            under--;
            return index;
          })();
        });
        expect(await Array.fromAsync(results)).toEqual(turns.map((_, index) => index));
        expect(peak).toBeLessThanOrEqual(most);
      }),
      { numRuns: 60 },
    );
  });
});

describe('keys', () => {
  it('are compared as their UTF-8 bytes are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (a, b) => {
        fc.pre(a.isWellFormed() && b.isWellFormed());
        expect(Math.sign(compareKeys(a, b))).toBe(Math.sign(byBytes(a, b)));
      }),
      { numRuns: 2000 },
    );
  });

  it('before a key sort before it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (one) => {
        const before = keyBefore(one);
        if (before !== undefined) expect(byBytes(before, one)).toBeLessThan(0);
      }),
    );
  });

  it('that a template keeps in order come out in order, and those it calls unique are', () => {
    const templates = [
      '{key}',
      'x/{key}',
      '{dir}{name}',
      '{dir}{stem}{ext}',
      '{date}/{key}',
      '{key}.bak',
      '{name}',
      '{stem}',
    ];
    fc.assert(
      fc.property(fc.constantFrom(...templates), keys, (template, all) => {
        const map = keyMap(template, 'refuse');
        const item = (name: string): Item => ({ id: `x#1`, key: name, modifiedAt: '2026-01-01T00:00:00Z', ref: null });
        const out = all.map((name) => map.of(item(name)) ?? '');
        if (map.ordered) expect(out).toEqual([...out].sort(compareKeys));
        if (map.unique) expect(new Set(out).size).toBe(out.length);
        if (map.sourceKey !== undefined) expect(out.map((name) => map.sourceKey?.(name))).toEqual(all);
      }),
      { numRuns: 500 },
    );
  });

  it('are taken once', () => {
    fc.assert(
      fc.property(fc.array(key, { maxLength: 3000 }), (all) => {
        const taken = new TakenKeys();
        const seen = new Set<string>();
        for (const one of all) {
          expect(taken.take(one)).toBe(!seen.has(one));
          seen.add(one);
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe('the watermark', () => {
  it('never passes an unfinished item, and its tally tells of exactly what it has passed', () => {
    const order = fc
      .integer({ min: 1, max: 30 })
      .chain((count) =>
        fc.tuple(fc.constant(count), fc.shuffledSubarray(Array.from({ length: count }, (_, index) => index))),
      );
    fc.assert(
      fc.property(order, fc.integer({ min: 1, max: 3 }), ([count, finished], parts) => {
        const watermark = new Watermark(undefined);
        const names = Array.from({ length: count }, (_, index) => String(index).padStart(4, '0'));
        const marks = names.map((name) => watermark.begin(name, parts));
        const done = new Set<number>();
        for (const index of finished) {
          for (let part = 0; part < parts; part++) marks[index]?.done({ ...RECEIPT, outcome: 'written', bytes: 1 });
          done.add(index);
          const passed = names.findIndex((_, place) => !done.has(place));
          const whole = passed < 0 ? count : passed;
          expect(watermark.value).toBe(whole === 0 ? undefined : names[whole - 1]);
          // What finished behind an unfinished one is told with that one.
          expect(watermark.tally.items.written).toBeGreaterThanOrEqual(0);
          expect(watermark.total().items.written).toBe(done.size * parts);
          if (passed < 0 || whole === done.size) expect(watermark.tally.bytes).toBe(whole * parts);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('CRC32C', () => {
  it('of parts, in any cut, combines to that of the whole', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.nat(300), { maxLength: 6 }), (bytes, cuts) => {
        const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
        const sum = places.slice(1).reduce((all, end, index) => {
          const part = bytes.subarray(places[index], end);
          return combineCrc32c(all, crc32c(part), part.length);
        }, EMPTY_CRC32C);
        expect(sum).toBe(crc32c(bytes));
      }),
      { numRuns: 500 },
    );
  });
});

describe('interpolation', () => {
  const name = fc.stringMatching(/^[A-Z][A-Z0-9_]{0,6}$/).filter((one) => !/PAT$|PASS$|AUTH$|TOKEN|PWD/.test(one));
  const literal = fc.string().filter((text) => !text.includes('$'));

  it('puts values in as they are, once, and leaves everything else alone', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(literal, name, fc.string({ minLength: 1 })), { maxLength: 5 }),
        literal,
        (parts, last) => {
          const values = new Map(parts.map(([, variable, value]) => [variable, value]));
          const problems: string[] = [];
          const text = parts.map(([before, variable]) => `${before}\${${variable}}`).join('') + last;
          const filled = interpolate(text, Object.fromEntries(values), (message) => void problems.push(message));
          expect(problems).toEqual([]);
          expect(filled).toBe(parts.map(([before, variable]) => before + values.get(variable)).join('') + last);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('of a text without references is that text', () => {
    fc.assert(
      fc.property(literal, (text) => {
        expect(interpolate(text, {}, () => {})).toBe(text);
      }),
    );
  });
});

describe('lines', () => {
  it('are the same, however the bytes come in pieces', async () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'é', '\u2028', '\r', '\n', '\u{1f600}'), maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(text, fc.array(fc.integer({ min: 1, max: 7 })), async (whole, sizes) => {
        const bytes = Buffer.from(whole);
        const pieces: Buffer[] = [];
        for (let at = 0, n = 0; at < bytes.length; n++) {
          const size = sizes[n] ?? 11;
          pieces.push(bytes.subarray(at, at + size));
          at += size;
        }
        const lines = await Array.fromAsync(
          linesOf(
            (async function* () {
              yield* pieces;
            })(),
            { name: 't' },
          ),
        );
        const expected = whole
          .split('\n')
          .map((line, index) => [index + 1, line.replace(/\r$/, '')] as const)
          .filter(([, line]) => line.trim() !== '');
        expect(lines.map(({ number, text: line }) => [number, line])).toEqual(expected);
        for (const { start, end, text: line } of lines)
          expect(bytes.subarray(start, end).toString().replace(/\r$/, '')).toBe(line);
      }),
      { numRuns: 300 },
    );
  });
});
