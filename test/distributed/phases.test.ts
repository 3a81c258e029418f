import { describe, expect, it } from 'vitest';
import { patternBody } from '../cloud/body.ts';
import { testFunction } from '../lambda/function.ts';
import { distributed, drive, manifestOf } from './driver.ts';

const MIB = 2 ** 20;

describe('a distributed run', () => {
  it('carries every item, in shards of their own children, and reports as one run', async () => {
    await using fn = await testFunction(distributed());
    for (let index = 0; index < 95; index++) fn.source.put(`2026/${String(index).padStart(3, '0')}`, `item ${index}`);
    const { plan, gathered, children, finished } = await drive(fn);
    expect(gathered).toMatchObject({ shards: 10, items: 95, concurrency: 10 });
    expect(children).toHaveLength(10);
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 95, failed: 0 }, runId: plan.run });
    for (let index = 0; index < 95; index++) {
      const key = String(index).padStart(3, '0');
      expect(fn.sink.objects.get(`raw/${key}`)?.checksums.crc32c).toBe(fn.source.get(`2026/${key}`)?.crc32c);
    }
    const again = await drive(fn);
    expect(again.gathered).toMatchObject({ shards: 0 });
    expect(again.finished).toMatchObject({ outcome: 'complete', items: { written: 0, unchanged: 95 } });
  });

  it('carries a large object in pieces of one upload, completed once, with the checksum of the whole', async () => {
    await using fn = await testFunction(distributed());
    fn.source.put('2026/large', patternBody(70 * MIB));
    fn.source.put('2026/small', 'small');
    const { gathered, finished, plan } = await drive(fn);
    expect(gathered).toMatchObject({ shards: 6, items: 2 });
    expect(manifestOf(fn, plan).filter(({ piece }) => piece !== undefined)).toHaveLength(5);
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 2 }, bytes: 70 * MIB + 5 });
    expect(fn.sink.objects.get('raw/large')?.checksums).toMatchObject({ crc32c: fn.source.get('2026/large')?.crc32c });
    expect(fn.sink.uploads.size).toBe(0);
  });
});
