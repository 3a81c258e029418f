import { describe, expect, it } from 'vitest';
import { patternBody } from '../../cloud/body.ts';
import type { Fault } from '../../cloud/faults.ts';
import { needed } from '../fixtures.ts';
import type { Execution } from './engine.ts';
import { different, fill, summary, type World, world } from './world.ts';

const GIB = 2 ** 30;
const MANY = 20_000;
const PROGRAMS = {
  emulator: needed('COMPAT_RIE'),
  runtimeClient: needed('COMPAT_RIC'),
  python: needed('COMPAT_STEP_FUNCTIONS'),
};
const REFUSED: Fault = { kind: 'answer', status: 403, body: '{"error":{"code":403,"message":"denied"}}' };
const DENIED: Fault = { kind: 'answer', status: 403, body: '<Error><Code>AccessDenied</Code></Error>' };

function expectSame(all: World, count: number): void {
  expect(different(all, count)).toEqual([]);
  expect(all.sink.objects.size).toBe(count);
}

const cause = ({ cause: text = '{}' }: Execution): string => JSON.parse(text).errorMessage;

describe('the state machine on a Step Functions interpreter', () => {
  it(`carries ${MANY} objects with a child killed and another throttled, then what had failed, until both sides are the same`, {
    timeout: 240_000,
  }, async () => {
    await using all = await world(PROGRAMS, { shardItems: 500, maxConcurrency: 8 });
    const { sink, cloud } = all;
    fill(all, MANY);
    // Two that cannot be read.
    cloud.gcs.faults.add(/2026%2F00(?:4321|9999)\?/, REFUSED, Number.POSITIVE_INFINITY);
    let [transfers, killed, throttled] = [0, 0, 0];
    all.meddle = async (event, carry) => {
      if (event.distributed.phase !== 'transfer') return await carry(event);
      const number = ++transfers;
      if (number === 3 || number === 17) {
        throttled++;
        return { throttled: true };
      }
      if (number !== 9) return await carry(event);
      const before = sink.objects.size;
      return await carry(event, async (emulator) => {
        // In the middle of its work.
        while (sink.objects.size < before + 100) await new Promise((resolve) => setImmediate(resolve));
        killed++;
        await emulator.kill();
      });
    };
    const started = Date.now();
    const first = await all.run();
    console.log(`first: ${first.status} ${first.error} in ${Date.now() - started} ms; ${summary(first)}`);
    console.log(`  ${cause(first)}`);
    expect([killed, throttled]).toEqual([1, 2]);
    expect(first).toMatchObject({ status: 'FAILED', error: 'Isthmus.partial', items: { succeeded: 40, failed: 0 } });
    expect(cause(first)).toContain('2 failed');
    expect(sink.objects.size).toBe(MANY - 2);

    cloud.gcs.faults.clear();
    transfers = 100;
    const second = await all.run({ again: true });
    console.log(`second: ${second.status}; ${summary(second)}\n  ${second.output?.message}`);
    expect(second).toMatchObject({ status: 'SUCCEEDED', items: { total: 2, succeeded: 2 } });
    expect(second.output).toMatchObject({ outcome: 'complete', items: { written: MANY, failed: 0 } });
    expectSame(all, MANY);
  });

  it('counts a few failures as a success where they are tolerated, and tells of them all the same', async () => {
    await using all = await world(PROGRAMS, { toleratedItemsPercent: 5 });
    fill(all, 50);
    all.cloud.gcs.faults.add('2026%2F000007?', REFUSED, Number.POSITIVE_INFINITY);
    const execution = await all.run();
    expect(execution.status).toBe('SUCCEEDED');
    expect(execution.output).toMatchObject({
      outcome: 'partial',
      items: { written: 49, failed: 1 },
      failures: [{ key: '000007' }],
    });
  });

  it('stops when more shards fail than are tolerated, with a report, and carries the rest later', async () => {
    await using all = await world(PROGRAMS, { toleratedShardsPercent: 20, maxConcurrency: 1 });
    fill(all, 100);
    all.cloud.s3.faults.add('PUT /lake', DENIED, Number.POSITIVE_INFINITY);
    const execution = await all.run();
    expect(execution).toMatchObject({ status: 'FAILED', error: 'Isthmus.too_many_failed' });
    // Of ten shards three may fail, whatever the percentage.
    expect(execution.items?.failed).toBe(4);
    expect(cause(execution)).toContain('The report is s3://state/distributed/exports/');
    all.cloud.s3.faults.clear();
    const again = await all.run({ again: true });
    expect(again.output).toMatchObject({ outcome: 'complete', items: { written: 100 } });
    expectSame(all, 100);
  });

  it('ends its children when it is stopped; the next execution takes over and carries everything', async () => {
    await using all = await world(PROGRAMS, { maxConcurrency: 1 });
    fill(all, 100);
    let transfers = 0;
    let stopped: Promise<void> | undefined;
    let arn = '';
    all.meddle = async (event, carry) => {
      if (event.distributed.phase === 'transfer' && ++transfers === 4) stopped = all.engine.stop(arn);
      return await carry(event);
    };
    arn = await all.engine.start(all.deployed.definition, {});
    const first = await all.engine.ended(arn);
    await stopped;
    // Moto lets `Catch` see that it was stopped, and calls it FAILED; AWS ends it at once, as ABORTED.
    expect(first.status).not.toBe('SUCCEEDED');
    expect(all.sink.objects.size).toBeLessThan(100);
    all.meddle = (event, carry) => carry(event);
    const next = await all.run();
    expect(next.output).toMatchObject({ outcome: 'complete' });
    expectSame(all, 100);
  });

  it('makes one S3 object of 5 GiB that eight children carry, with the checksum of the whole proved', {
    timeout: 240_000,
  }, async () => {
    await using all = await world(PROGRAMS, { shardBytes: '640MiB', maxConcurrency: 8 });
    all.sink.keep = false;
    all.source.put('2026/large', patternBody(5 * GIB));
    const started = Date.now();
    const execution = await all.run();
    const stored = all.sink.objects.get('raw/large');
    console.log(
      `5 GiB: ${execution.status} in ${Date.now() - started} ms by ${all.deployed.environments} environments; ${JSON.stringify(execution.items)}; CRC32C ${stored?.checksums.crc32c} ${stored?.checksumType}, ${stored?.parts} parts`,
    );
    expect(execution).toMatchObject({ status: 'SUCCEEDED', items: { total: 8, succeeded: 8 } });
    expect(stored).toMatchObject({ size: 5 * GIB, checksumType: 'FULL_OBJECT' });
    expect(stored?.checksums.crc32c).toBe(all.source.get('2026/large')?.crc32c);
    expect(all.sink.uploads.size).toBe(0);
  });
});
