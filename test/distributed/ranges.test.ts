import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareKeys } from '../../core/api/keys.ts';
import { cutRanges, type KeyRange } from '../../core/distributed/ranges.ts';

const SIZES = { most: 40, few: 2000, looks: 400, atOnce: 16 };

/** Looks into a listing of these keys, and counts how often. */
function listing(keys: readonly string[]) {
  const sorted = [...new Set(keys)].sort(compareKeys);
  let looks = 0;
  const after = (key: string | undefined): number => {
    const index = key === undefined ? 0 : sorted.findIndex((one) => compareKeys(one, key) > 0);
    return index < 0 ? sorted.length : index;
  };
  return {
    look: async (key: string | undefined) => {
      looks++;
      const from = after(key);
      return { keys: sorted.slice(from, from + 1000), isAll: from + 1000 >= sorted.length };
    },
    counts: (ranges: readonly KeyRange[]) =>
      ranges.map((range) => (range.until === undefined ? sorted.length : after(range.until)) - after(range.after)),
    looks: () => looks,
    size: sorted.length,
  };
}

function expectPartition(ranges: readonly KeyRange[]): void {
  expect(ranges[0]?.after).toBeUndefined();
  expect(ranges.at(-1)?.until).toBeUndefined();
  for (const [index, { after, until }] of ranges.entries()) {
    if (index > 0) expect(after).toBe(ranges[index - 1]?.until);
    if (after !== undefined && until !== undefined) expect(compareKeys(after, until)).toBeLessThan(0);
    for (const key of [after, until]) expect(key === undefined || key.isWellFormed()).toBe(true);
  }
}

const MANY = 100_000;
const number = (index: number, width: number): string => String(index).padStart(width, '0');
const SHAPES: Readonly<Record<string, (index: number) => string>> = {
  'numbers in order': (index) => `data/part-${number(index, 8)}`,
  hashes: (index) => createHash('md5').update(String(index)).digest('hex'),
  dates: (index) => `exports/2026/${number(1 + (index % 12), 2)}/${number(1 + (index % 28), 2)}/file-${index}.csv`,
  'nine tenths in one folder': (index) => (index % 10 > 0 ? `logs/app/${number(index, 9)}` : `z/${index}`),
  'numbers without zeros before': (index) => `${index}`,
};

describe('a long listing is cut into ranges of keys', () => {
  it.each(Object.entries(SHAPES))('that hold about as much each: %s', async (_, shape) => {
    const all = listing(Array.from({ length: MANY }, (__, index) => shape(index)));
    const ranges = await cutRanges(all.look, SIZES);
    expectPartition(ranges);
    const counts = all.counts(ranges);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(all.size);
    expect(ranges.length).toBeGreaterThan(20);
    // Were all the same, each would hold a fortieth.
    expect(Math.max(...counts) / all.size).toBeLessThan(0.15);
    expect(all.looks()).toBeLessThan(SIZES.looks + 2);
  });

  it('and a short one is not', async () => {
    const all = listing(Array.from({ length: 900 }, (_, index) => `${index}`));
    expect(await cutRanges(all.look, SIZES)).toEqual([{}]);
    expect(all.looks()).toBe(1);
    expect(await cutRanges(listing([]).look, SIZES)).toEqual([{}]);
  });

  it('whatever the names are: no key is in two ranges, or in none', async () => {
    const key = fc.string({ unit: 'binary', minLength: 0, maxLength: 12 }).filter((text) => text.isWellFormed());
    await fc.assert(
      fc.asyncProperty(
        fc.array(key, { minLength: 20, maxLength: 300 }),
        fc.integer({ min: 2, max: 30 }),
        async (keys, page) => {
          const all = listing(keys);
          const look = async (after: string | undefined) => {
            const { keys: seen } = await all.look(after);
            return { keys: seen.slice(0, page), isAll: seen.length <= page };
          };
          const ranges = await cutRanges(look, { most: 10, few: 1, looks: 60, atOnce: 4 });
          expectPartition(ranges);
          expect(all.counts(ranges).reduce((sum, count) => sum + count, 0)).toBe(all.size);
        },
      ),
      { numRuns: 200 },
    );
  });
});
