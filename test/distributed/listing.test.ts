import { describe, expect, it } from 'vitest';
import { functionOn, testFunction } from '../lambda/function.ts';
import { arn, distributed, drive, type Json, linesIn, manifestOf } from './driver.ts';

const name = (index: number): string => `2026/${String(index).padStart(5, '0')}`;

describe('listing for a distributed run', () => {
  it('of a large bucket is cut into ranges, which are listed each by itself, and every key is found once', async () => {
    await using fn = await testFunction(distributed({}, { shardItems: 1000 }));
    // More than one range is worth: what lies in the source counts, not what has to be carried.
    for (let index = 0; index < 300_000; index += 1) fn.source.put(name(index), '');
    const execution = arn();
    const plan = await fn.invoke({ distributed: { phase: 'plan', execution, input: {} } }, 120_000);
    const { run, attempt, ranges } = plan as { run: string; attempt: number; ranges: number[] };
    expect(ranges.length).toBeGreaterThan(1);
    await Promise.all(
      ranges.map((range) => fn.invoke({ distributed: { phase: 'list', run, attempt, range } }, 120_000)),
    );
    const gathered = await fn.invoke({ distributed: { phase: 'gather', run, attempt } }, 120_000);
    expect(gathered).toMatchObject({ items: 300_000 });
    const keys = new Set<string>();
    for (const { shard } of manifestOf(fn, plan))
      for (const line of linesIn(fn.state, `distributed/exports/${run}/shards/${shard}.jsonl`)) {
        const { item } = JSON.parse(line) as { item?: { key: string } };
        if (item !== undefined) keys.add(item.key);
      }
    expect(keys.size).toBe(300_000);
  }, 120_000);

  it('that does not fit into one invocation goes on in the next, where it was', async () => {
    await using fn = await testFunction(distributed({}, { shardItems: 100 }));
    for (let index = 0; index < 3000; index++) fn.source.put(name(index), `${index}`);
    // Each page takes a while: there is no time for all of them.
    fn.cloud.gcs.faults.add('GET /storage/v1/b/exports/o?', { kind: 'delay', ms: 400 }, Number.POSITIVE_INFINITY);
    const { run, attempt } = await fn.invoke({ distributed: { phase: 'plan', execution: arn(), input: {} } });
    const list = { distributed: { phase: 'list', run, attempt, range: 0 } };
    let hops = 0;
    let answer: Json;
    do {
      answer = await fn.invoke(list, 1500);
      hops++;
    } while (answer.outcome === 'paused' && hops < 50);
    expect(answer.outcome).toBe('planned');
    expect(hops).toBeGreaterThan(1);
    fn.cloud.gcs.faults.clear();
    expect(await fn.invoke({ distributed: { phase: 'gather', run, attempt } })).toMatchObject({ items: 3000 });
  });

  it('by two processes at once comes to one plan: one of them gives up', async () => {
    await using fn = await testFunction(distributed());
    for (let index = 0; index < 500; index++) fn.source.put(name(index), `${index}`);
    const { run, attempt } = await fn.invoke({ distributed: { phase: 'plan', execution: arn(), input: {} } });
    const other = functionOn(fn.cloud, distributed());
    const list = { distributed: { phase: 'list', run, attempt, range: 0 } };
    const both = await Promise.allSettled([fn.invoke(list), other.invoke(list)]);
    for (const one of both) if (one.status === 'rejected') expect(one.reason).toMatchObject({ name: 'Isthmus.busy' });
    expect(both.some(({ status }) => status === 'fulfilled')).toBe(true);
    expect(await fn.invoke({ distributed: { phase: 'gather', run, attempt } })).toMatchObject({
      items: 500,
      shards: 50,
    });
  });

  it('that dies in the middle is begun again where it was on record, and what it had not recorded counts for nothing', async () => {
    await using fn = await testFunction(distributed());
    for (let index = 0; index < 100; index++) fn.source.put(name(index), `${index}`);
    // The record of it cannot be saved: its shards are there, and belong to nothing.
    fn.cloud.s3.faults.add(/PUT \/state\/exports\.list/, { kind: 'answer', status: 403 }, 1);
    const { run, attempt } = await fn.invoke({ distributed: { phase: 'plan', execution: arn(), input: {} } });
    const list = { distributed: { phase: 'list', run, attempt, range: 0 } };
    await expect(fn.invoke(list)).rejects.toMatchObject({ name: expect.stringContaining('Isthmus.') });
    expect(await fn.invoke(list)).toMatchObject({ outcome: 'planned' });
    expect(await fn.invoke({ distributed: { phase: 'gather', run, attempt } })).toMatchObject({
      items: 100,
      shards: 10,
    });
    const { finished } = await drive(fn);
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 100 } });
  });

  it('needs a state that every child finds', async () => {
    await using fn = await testFunction(distributed({ state: { use: 'memory' } }));
    await expect(fn.invoke({ distributed: { phase: 'plan', execution: arn(), input: {} } })).rejects.toThrow(
      'needs a `state` that every child finds',
    );
  });
});
