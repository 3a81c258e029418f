import { describe, expect, it } from 'vitest';
import { checkReceipts } from '../../core/engine/receipts.ts';
import { s3 } from '../../plugins/s3/index.ts';
import { patternBody } from '../cloud/body.ts';
import { testFunction } from '../lambda/function.ts';
import { pluginContext } from '../support.ts';
import { distributed, drive, type Json, linesIn, manifestOf } from './driver.ts';

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

  it('keeps a receipt for each item, in files that are each a chain, and says in its report where', async () => {
    const receipts = { use: 's3', with: { bucket: 'state', prefix: 'receipts/', region: 'eu-west-1' } };
    await using fn = await testFunction(distributed({ receipts }));
    for (let index = 0; index < 25; index++) fn.source.put(`2026/${index}`, `item ${index}`);
    fn.source.put('2026/large', patternBody(40 * MIB));
    const { plan } = await drive(fn);
    const report = JSON.parse(linesIn(fn.state, `distributed/exports/${plan.run}/report-1.json`)[0] ?? '{}');
    expect(report.receipts).toEqual({ location: `s3://state/receipts/exports/${plan.run}/`, lines: 26 });
    const files = [...fn.state.objects.keys()].filter((key) => key.startsWith(`receipts/exports/${plan.run}/`));
    const lines = files.flatMap((key) => linesIn(fn.state, key).map((line) => JSON.parse(line) as Json));
    expect(lines.filter(({ outcome }) => outcome === 'written')).toHaveLength(26);
    const { AWS_ACCESS_KEY_ID = '', AWS_SECRET_ACCESS_KEY = '', AWS_SESSION_TOKEN = '' } = fn.cloud.environment;
    const credentials = {
      accessKeyId: AWS_ACCESS_KEY_ID,
      secretAccessKey: AWS_SECRET_ACCESS_KEY,
      sessionToken: AWS_SESSION_TOKEN,
    };
    const context = pluginContext({ endpoints: { s3: fn.cloud.s3.url }, credentials });
    const sink = s3.create(s3.config.parse(receipts.with), context);
    let counted = 0;
    for await (const { broken, lines: many } of checkReceipts(
      sink,
      `exports/${plan.run}/`,
      AbortSignal.timeout(10_000),
    )) {
      expect(broken).toBeUndefined();
      counted += many;
    }
    expect(counted).toBe(26);
    await sink[Symbol.asyncDispose]?.();
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
