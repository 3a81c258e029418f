import { describe, expect, it } from 'vitest';
import { patternBody } from '../cloud/body.ts';
import type { Fault } from '../cloud/faults.ts';
import { testFunction } from '../lambda/function.ts';
import { arn, distributed, drive, type Json, linesIn, manifestOf } from './driver.ts';

const MIB = 2 ** 20;
const REFUSED: Fault = { kind: 'answer', status: 403, body: '{"error":{"code":403,"message":"denied"}}' };
const name = (index: number): string => String(index).padStart(3, '0');

async function filled(count: number, shares: Json = {}, more: Json = {}) {
  const fn = await testFunction(distributed(more, shares));
  for (let index = 0; index < count; index++) fn.source.put(`2026/${name(index)}`, `item ${index}`);
  return fn;
}

describe('what can go wrong with a distributed run', () => {
  it('a child that comes twice, one after the other or at once, does its work once', async () => {
    await using fn = await filled(20);
    const { finished, children } = await drive(fn, {
      child: async (_, carry, place) => {
        if (place > 0) return (await Promise.all([carry(), carry()]))[0];
        await carry();
        return await carry({ retry: 1 });
      },
    });
    expect(children).toHaveLength(2);
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 20 } });
  });

  it('a child that never says what became of its items makes them failures, and they are carried again', async () => {
    await using fn = await filled(30);
    const first = await drive(fn, {
      child: async (_, carry, place) => (place === 1 ? undefined : await carry()),
    }).catch((error: Error) => error);
    expect(first).toMatchObject({ name: 'Isthmus.partial' });
    expect((first as Error).message).toContain('20 written, 10 failed');
    expect((first as Error).message).toContain('nobody has told what became of its items');
    const second = await drive(fn, { input: { again: true } });
    expect(second.gathered).toMatchObject({ shards: 1, items: 10 });
    expect(second.finished).toMatchObject({ outcome: 'complete', items: { written: 30, failed: 0 } });
  });

  it('a child that dies after its last part leaves nothing that is carried twice', async () => {
    await using fn = await filled(20);
    // What became of it cannot be written down: as if it had died a moment before.
    fn.cloud.s3.faults.add(/PUT \/state\/distributed.*done-1/, { kind: 'answer', status: 403 }, 1);
    const { finished } = await drive(fn, {
      child: async (_, carry, place) => (place === 0 ? await carry().catch(() => carry({ retry: 1 })) : await carry()),
    });
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 10, unchanged: 10 } });
    expect(fn.sink.objects.size).toBe(20);
  });

  it('one item that fails does not fail its child, and only what failed is carried again', async () => {
    await using fn = await filled(30);
    fn.cloud.gcs.faults.add('2026%2F015?', REFUSED, Number.POSITIVE_INFINITY);
    const first = await drive(fn).catch((error: Error) => error);
    expect((first as Error).message).toContain('29 written, 1 failed');
    expect((first as Error).message).toContain('015: permission_denied');
    fn.cloud.gcs.faults.clear();
    const second = await drive(fn, { input: { again: true } });
    expect(second.gathered).toMatchObject({ shards: 1 });
    expect(second.finished).toMatchObject({ outcome: 'complete', items: { written: 30, unchanged: 0, failed: 0 } });
  });

  it('one object that may not be looked at is one refusal, also where a child is tried again', async () => {
    await using fn = await filled(30);
    fn.cloud.gcs.faults.add('2026%2F015?', REFUSED, Number.POSITIVE_INFINITY);
    const first = await drive(fn, { child: async (_, carry) => await carry({ retry: 1 }) }).catch(
      (error: Error) => error,
    );
    expect((first as Error).message).toContain('29 written, 1 refused');
    expect((first as Error).message).toContain('015: permission_denied');
    const second = await drive(fn, { input: { again: true } }).catch((error: Error) => error);
    expect((second as Error).message).toContain('29 written, 1 refused');
  });

  it('a shard of which all is refused is no child that failed: the others go on', async () => {
    const sink = { use: 's3', with: { bucket: 'lake', prefix: 'a-longer-prefix/', region: 'eu-west-1' } };
    await using fn = await testFunction(distributed({ sink }));
    for (let index = 0; index < 10; index++)
      fn.source.put(`2026/${'k'.repeat(1016)}${index}`, 'too long with its prefix');
    fn.source.put('2026/z', 'fits');
    const outcomes: unknown[] = [];
    const first = await drive(fn, {
      child: async (_, carry) => {
        const answer = await carry();
        outcomes.push(answer.outcome);
        return answer;
      },
    }).catch((error: Error) => error);
    expect(outcomes).toEqual(['partial', 'complete']);
    expect((first as Error).message).toContain('1 written, 10 refused');
    expect(fn.sink.objects.size).toBe(1);
  });

  it('every phase that comes twice finds what it did', async () => {
    await using fn = await filled(30);
    const ask = (event: Json) => fn.invoke({ distributed: event });
    const twice: Json[] = [];
    const { execution, plan, gathered, finished } = await drive(fn, {
      between: async (phase, { run, attempt }) => {
        if (phase !== 'list') return;
        twice.push(...(await Promise.all([1, 2].map(() => ask({ phase: 'gather', run, attempt })))));
      },
    });
    const { run } = plan;
    expect(twice).toEqual([gathered, gathered]);
    const again = await ask({ phase: 'finish', execution, plan });
    expect(again).toMatchObject({ outcome: 'complete', runId: finished.runId, items: finished.items });
    expect(linesIn(fn.state, `distributed/exports/${run}/report-1.json`)).toHaveLength(1);
  });

  it('a plan that comes twice goes on with the same run and the same ranges', async () => {
    await using fn = await filled(3);
    const execution = arn();
    const event = { distributed: { phase: 'plan', execution, input: {} } };
    const [one, two] = [await fn.invoke(event), await fn.invoke(event)];
    expect(two).toEqual(one);
  });

  it('a newer execution supersedes one that was ended: what comes late of it changes nothing', async () => {
    await using fn = await filled(20);
    const old = await fn.invoke({ distributed: { phase: 'plan', execution: arn(), input: {} } });
    const { finished } = await drive(fn);
    expect(finished).toMatchObject({ outcome: 'complete' });
    await expect(
      fn.invoke({ distributed: { phase: 'list', run: old.run, attempt: 1, range: 0 } }),
    ).rejects.toMatchObject({ name: 'Isthmus.superseded' });
  });

  it('a manifest or a shard that was deleted or changed is refused by name', async () => {
    await using fn = await filled(20);
    const run = drive(fn, {
      between: (phase) => {
        if (phase !== 'gather') return;
        const [shard] = [...fn.state.objects.values()].filter(({ key }) => key.includes('/shards/'));
        if (shard === undefined) throw new Error('no shard');
        const text = Buffer.concat(shard.chunks).toString().replace('item', 'ITEM').replace('"000"', '"001"');
        fn.state.store({ ...shard, chunks: [Buffer.from(text)], size: text.length });
      },
    });
    await expect(run).rejects.toThrow('it is not what was planned');
    expect(fn.sink.objects.size).toBeLessThan(20);

    await using other = await filled(20);
    const gone = drive(other, {
      between: (phase) => {
        if (phase !== 'transfer') return;
        for (const key of [...other.state.objects.keys()]) if (key.includes('manifest-1')) other.state.remove(key);
      },
    });
    await expect(gone).rejects.toThrow(/manifest-1\.jsonl does not exist/);
  });

  it('a pipeline that was changed between the phases is not carried half in the old way', async () => {
    await using fn = await filled(20);
    const { functionOn } = await import('../lambda/function.ts');
    const changed = functionOn(
      fn.cloud,
      distributed({ sink: { use: 's3', with: { bucket: 'lake', prefix: 'other/', region: 'eu-west-1' } } }),
    );
    let next: Pick<typeof fn, 'invoke' | 'state'> = fn;
    const run = drive(
      { state: fn.state, invoke: (event) => next.invoke(event) },
      {
        between: (phase) => {
          if (phase === 'gather') next = changed;
        },
      },
    );
    await expect(run).rejects.toThrow('the pipeline was changed after this run was planned');
    expect(fn.sink.objects.size).toBe(0);
  });

  it('nothing to do, and nothing at all in the source, are complete runs', async () => {
    await using fn = await testFunction(distributed());
    const { gathered, finished } = await drive(fn);
    expect(gathered).toMatchObject({ shards: 0 });
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 0 } });
  });

  it('a plan that cannot be made has a report too', async () => {
    await using fn = await filled(5);
    fn.cloud.gcs.faults.add('GET /storage/v1/b/exports/o?', REFUSED, Number.POSITIVE_INFINITY);
    await expect(drive(fn)).rejects.toMatchObject({ name: 'Isthmus.unauthenticated' });
    const reports = [...fn.state.objects.keys()].filter((key) => key.endsWith('report-1.json'));
    expect(reports).toHaveLength(1);
    expect(JSON.parse(linesIn(fn.state, reports[0] ?? '')[0] ?? '')).toMatchObject({ outcome: 'failed' });
  });

  it('keys of 1024 bytes, of any characters, fit: no payload holds one', async () => {
    await using fn = await testFunction(
      distributed({
        sink: { use: 's3', with: { bucket: 'lake', region: 'eu-west-1' } },
        source: { use: 'gcs', with: { bucket: 'exports', identity: 'reader' } },
      }),
    );
    const keys = ['\u{1f600}'.repeat(256), '\u0001"\\'.repeat(341), `${'日'.repeat(341)}a`, 'plain'];
    for (const key of keys) fn.source.put(key, 'x');
    const { finished, plan, gathered, children } = await drive(fn);
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 4 } });
    expect([...fn.sink.objects.keys()].sort()).toEqual([...keys].sort());
    for (const answer of [plan, gathered, ...children, ...manifestOf(fn, plan)])
      expect(JSON.stringify(answer).length).toBeLessThan(1000);
  });

  it('an event or an input that is not understood begins nothing', async () => {
    await using fn = await filled(1);
    await expect(fn.invoke({ distributed: { phase: 'nothing' } })).rejects.toMatchObject({
      name: 'Isthmus.invalid_event',
    });
    await expect(drive(fn, { input: { prefix: '2026/' } })).rejects.toThrow('none that is understood');
    await expect(drive(fn, { input: { again: true } })).rejects.toThrow('only the last one can be');
    expect(fn.sink.objects.size).toBe(0);
  });

  it('what is extra is deleted behind the guard, and only when everything else went well', async () => {
    const deletes = { delete: { extras: true, maxPercent: 50, maxCount: 100 } };
    await using fn = await filled(20, {}, deletes);
    await drive(fn);
    for (let index = 0; index < 5; index++) fn.source.delete(`2026/${name(index)}`);
    fn.source.put('2026/new', 'new');
    fn.cloud.gcs.faults.add('2026%2Fnew?', REFUSED, Number.POSITIVE_INFINITY);
    await expect(drive(fn)).rejects.toThrow('1 failed');
    expect(fn.sink.objects.size).toBe(20);
    fn.cloud.gcs.faults.clear();
    expect((await drive(fn, { input: { again: true } })).finished).toMatchObject({
      outcome: 'complete',
      items: { written: 1, deleted: 5, unchanged: 15 },
    });
    expect(fn.sink.objects.size).toBe(16);
    for (let index = 5; index < 18; index++) fn.source.delete(`2026/${name(index)}`);
    await expect(drive(fn)).rejects.toMatchObject({ name: 'Isthmus.delete_guard' });
    expect(fn.sink.objects.size).toBe(16);
  });
});

describe('what can go wrong with an item in pieces', () => {
  const large = async (size = 40 * MIB) => {
    const fn = await testFunction(distributed());
    fn.source.put('2026/large', patternBody(size));
    return fn;
  };

  it('a piece that is missing leaves the item a failure and its upload; only the piece is carried again', async () => {
    await using fn = await large();
    await expect(
      drive(fn, { child: async (_, carry, place) => (place === 1 ? undefined : await carry()) }),
    ).rejects.toThrow('2 of 3 pieces are there');
    expect(fn.sink.uploads.size).toBe(1);
    expect(fn.sink.objects.size).toBe(0);
    const parts = fn.cloud.s3.requests.filter(({ target }) => target.includes('partNumber=')).length;
    const { finished } = await drive(fn, { input: { again: true } });
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 1 }, bytes: 40 * MIB });
    expect(fn.cloud.s3.requests.filter(({ target }) => target.includes('partNumber=')).length - parts).toBe(2);
    expect(fn.sink.objects.get('raw/large')?.checksums.crc32c).toBe(fn.source.get('2026/large')?.crc32c);
    expect(fn.sink.uploads.size).toBe(0);
  });

  it('what a run has left of an item is ended by the next run that begins anew', async () => {
    await using fn = await large();
    await expect(
      drive(fn, { child: async (_, carry, place) => (place === 1 ? undefined : await carry()) }),
    ).rejects.toThrow();
    const { finished } = await drive(fn);
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(fn.sink.uploads.size).toBe(0);
  });

  it('an upload that somebody has aborted is begun anew, and what was lost with it is sent again', async () => {
    await using fn = await large();
    await expect(
      drive(fn, {
        child: async (_, carry, place) => {
          if (place === 1) fn.sink.uploads.clear();
          return await carry();
        },
      }),
    ).rejects.toThrow('not_carried');
    const { finished } = await drive(fn, { input: { again: true } });
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(fn.sink.objects.get('raw/large')?.checksums.crc32c).toBe(fn.source.get('2026/large')?.crc32c);
  });

  it('children that come first at the same moment write to one upload', async () => {
    await using fn = await large();
    const started: Promise<Json>[] = [];
    const { finished } = await drive(fn, {
      child: async (_, carry, place) => {
        started.push(carry());
        if (place === 2) await Promise.all(started);
        return undefined;
      },
    });
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(fn.sink.uploads.size).toBe(0);
  });

  it('the answer to the completion that is lost is no failure, and finishing twice completes once', async () => {
    await using fn = await large();
    fn.cloud.s3.faults.add(/POST \/lake\/raw\/large\?uploadId/, { kind: 'reset-after' }, 1);
    const { finished, execution, plan } = await drive(fn);
    expect(finished).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(await fn.invoke({ distributed: { phase: 'finish', execution, plan } })).toMatchObject({
      outcome: 'complete',
    });
  });

  it('an item of more than 10,000 parts is cut into larger ones, and carried by as many children as it takes', async () => {
    const { pieceRanges, partSizeOf } = await import('../../plugins/s3/parts.ts');
    const size = 10_001 * 64 * MIB;
    const partSize = partSizeOf(size, {}, 'streamed');
    const ranges = pieceRanges(size, partSize, 4 * 1024 * MIB);
    expect(Math.ceil(size / partSize)).toBeLessThanOrEqual(10_000);
    expect(ranges[0]?.start).toBe(0);
    expect(ranges.at(-1)?.end).toBe(size);
    for (const [index, range] of ranges.entries()) {
      expect(range.start % partSize).toBe(0);
      if (index > 0) expect(range.start).toBe(ranges[index - 1]?.end);
      expect(range.end - range.start).toBeLessThanOrEqual(4 * 1024 * MIB);
    }
  });
});
