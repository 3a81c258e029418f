import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Crash } from './crash.ts';
import { oracle } from './soak-oracle.ts';
import { LASTING, type World, world } from './world.ts';

const PART = 5 * 2 ** 20;

/** One process that may die, and others until the run is complete. */
async function live(w: World, crash: Crash, top: object): Promise<string[]> {
  const servers = [w.cloud.gcs, w.cloud.s3, w.cloud.awsSts, w.cloud.googleSts, w.cloud.iamCredentials];
  const options = { top: { ...top, retry: { attempts: 1 }, concurrency: 2 }, run: { leaseMs: 0 } };
  const ends: string[] = [];
  crash.watch(servers);
  ends.push(
    await w.carry({ ...options, runtime: { signal: crash.signal } }).then(
      ({ outcome }) => outcome,
      () => 'died',
    ),
  );
  for (const server of servers) server.faults.clear();
  for (let left = 4; left > 0 && ends.at(-1) !== 'complete'; left--) ends.push((await w.carry(options)).outcome);
  return ends;
}

describe('a process that dies at any of its requests', () => {
  const receipts = { receipts: { use: 's3', with: { bucket: 'state', prefix: 'receipts/', region: 'eu-west-1' } } };

  const top = { ...LASTING, ...receipts, delete: { extras: true, maxPercent: 100 } };

  it('copies and deletes all the same: before and after each, the next one ends what it began', async () => {
    const large = randomBytes(2 * PART);
    const fill = (w: World): void => {
      w.bucket.put('large', large);
      w.bucket.put('small', 'x');
    };
    const counting = new Crash(Number.POSITIVE_INFINITY, true);
    {
      await using w = await world();
      fill(w);
      expect(await live(w, counting, top)).toEqual(['complete']);
    }
    expect(counting.steps).toBeGreaterThan(12);
    for (let step = 1; step <= counting.steps; step++)
      for (const happens of [false, true]) {
        await using w = await world();
        fill(w);
        const crash = new Crash(step, happens);
        const ends = await live(w, crash, top);
        expect([step, happens, ends.at(-1)]).toEqual([step, happens, 'complete']);
        const left = (await oracle(w, true)).filter((wrong) => !wrong.includes('receipts/'));
        expect([step, happens, left]).toEqual([step, happens, []]);
      }
  }, 120_000);
});
