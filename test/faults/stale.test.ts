import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Report } from '../../core/engine/report.ts';
import { LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { isthmus, json } from './command.ts';
import { type World, world } from './world.ts';

// What becomes of a decision when the world has moved on since it was made.

const DENIED = { kind: 'answer', status: 403, body: '<Error><Code>AccessDenied</Code></Error>' } as const;
const ALWAYS = Number.POSITIVE_INFINITY;
const deadLetters = { use: 's3', with: { bucket: 'state', prefix: 'dead/', region: 'eu-west-1' } };
const sinkAt = (prefix: string) => ({ use: 's3', with: { bucket: 'lake', region: 'eu-west-1', prefix } });

async function planned(w: World, top: object = {}): Promise<string> {
  const plan = join(w.folder, 'plan.jsonl');
  await isthmus(w, 'plan', await w.write({ top }), '--out', plan, '--json');
  return plan;
}

async function applied(w: World, plan: string, ...more: string[]): Promise<Report> {
  return json(await isthmus(w, 'apply', plan, ...more, '--json')) as Report;
}

/** Carries out the dead letters of a run. */
async function again(w: World, { deadLetters: kept }: Report, options: object): Promise<Report> {
  return applied(w, kept?.location ?? 'none', '--pipeline', await w.write(options));
}

describe('a move', () => {
  async function movable(): Promise<World> {
    const w = await world();
    w.bucket.writers.add(LOCAL_SERVICE_ACCOUNT);
    return w;
  }

  it('leaves in the source what the sink has lost since the plan was made', async () => {
    await using w = await movable();
    w.bucket.put('a', 'precious');
    await w.carry();
    const plan = await planned(w, { move: true });
    w.lake.remove('a');
    expect(await applied(w, plan)).toMatchObject({ failures: [{ key: 'a', code: 'conflict' }] });
    expect(w.bucket.get('a')).toBeDefined();
  });

  it('is not made of a plan that says nothing of it', async () => {
    await using w = await movable();
    w.bucket.put('a', 'precious');
    const plan = await planned(w);
    await w.write({ top: { move: true } });
    expect(await applied(w, plan)).toMatchObject({ outcome: 'failed', error: { code: 'invalid_plan' } });
    expect(w.bucket.get('a')).toBeDefined();
    const { out } = await isthmus(w, 'plan', await w.write({ top: { move: true } }));
    expect(out.at(-1)).toContain('deleted in its source');
  });

  it('leaves in the source what the sink has lost since it was listed', async () => {
    await using w = await movable();
    w.bucket.put('a', 'precious');
    await w.carry();
    const lost = await w.carry({
      top: { move: true },
      through: ({ job }) => {
        const [sink] = job.sinks;
        if (sink?.stat === undefined) throw new Error('a sink that can be asked');
        const stat = sink.stat.bind(sink);
        // The last look before the source is touched.
        Object.assign(sink, {
          stat: (...args: Parameters<typeof stat>) => {
            w.lake.remove('a');
            return stat(...args);
          },
        });
        return job;
      },
    });
    expect(lost).toMatchObject({ items: { unchanged: 1 }, moved: 0 });
    expect(w.bucket.get('a')).toBeDefined();
  });

  it('of what one of two sinks has refused waits until both have the very same version', async () => {
    await using w = await movable();
    w.bucket.put('a', 'version 1');
    const top = { move: true, sink: [sinkAt('one/'), sinkAt('two/')], deadLetters };
    w.cloud.s3.faults.add('PUT /lake/two/a', DENIED, ALWAYS);
    const report = await w.carry({ top });
    expect(report).toMatchObject({ items: { written: 1, failed: 1 }, moved: 0 });
    w.cloud.s3.faults.clear();
    w.bucket.put('a', 'version 2');
    expect(await again(w, report, { top })).toMatchObject({ items: { written: 1 }, moved: 0 });
    expect(w.bucket.get('a')).toBeDefined();
    expect(await w.carry({ top })).toMatchObject({ outcome: 'complete', moved: 1 });
    expect(['one/a', 'two/a'].map((key) => w.lake.bytes(key)?.toString())).toEqual(['version 2', 'version 2']);
  });
});

describe('a plan that is applied', () => {
  it('of which one object may not be looked at any more carries the others, and names it', async () => {
    await using w = await world();
    for (const key of ['a', 'b', 'c']) w.bucket.put(key, key);
    const plan = await planned(w);
    w.cloud.gcs.faults.add('/o/b?', { kind: 'answer', status: 403, body: '{"error":{"message":"no"}}' }, ALWAYS);
    const report = await applied(w, plan);
    expect(report).toMatchObject({ outcome: 'partial', items: { written: 2 }, failures: [{ key: 'b' }] });
    const [failure] = report.failures;
    expect(failure).toMatchObject({ code: 'permission_denied', hint: expect.stringContaining('storage.objects.get') });
    expect(failure?.message).toContain('gs://exports/b');
    expect(w.lake.keys()).toEqual(['a', 'c']);
  });

  it('deletes nothing when something else of it went wrong', async () => {
    await using w = await world();
    for (let n = 0; n < 10; n++) w.bucket.put(`k${n}`, 'x');
    w.bucket.put('old-name', 'precious');
    await w.carry();
    w.bucket.delete('old-name');
    w.bucket.put('new-name', 'precious');
    const plan = await planned(w, { delete: { extras: true } });
    w.cloud.s3.faults.add('PUT /lake/new-name', DENIED, ALWAYS);
    expect(await applied(w, plan)).toMatchObject({ outcome: 'partial', items: { failed: 1, deleted: 0 } });
    expect(w.lake.objects.has('old-name')).toBe(true);
    w.cloud.s3.faults.clear();
    expect(await applied(w, plan)).toMatchObject({ outcome: 'complete', items: { written: 1, deleted: 1 } });
  });

  it('of a move may be applied again when it was stopped: what is moved already is no failure', async () => {
    await using w = await world();
    w.bucket.writers.add(LOCAL_SERVICE_ACCOUNT);
    for (const key of ['a', 'b']) w.bucket.put(key, key);
    const plan = await planned(w, { move: true });
    w.cloud.s3.faults.add('PUT /lake/b', DENIED, ALWAYS);
    expect(await applied(w, plan)).toMatchObject({ items: { written: 1, failed: 1 }, moved: 1 });
    w.cloud.s3.faults.clear();
    expect(await applied(w, plan)).toMatchObject({ outcome: 'complete', items: { written: 1, skipped: 1 }, moved: 1 });
    // Gone from its source, and not in the sink: that is no move.
    w.lake.remove('a');
    expect(await applied(w, plan)).toMatchObject({ failures: [{ key: 'a', code: 'source_gone' }] });
  });

  it('carries no version that nobody has approved, also when it is replaced after the last look', async () => {
    await using w = await world();
    const { generation } = w.bucket.put('a', 'approved');
    const plan = await planned(w);
    const replace = ({ target }: { target: string }): boolean => {
      if (target.includes('alt=media') && w.bucket.get('a')?.generation === generation) w.bucket.put('a', 'new');
      return false;
    };
    w.cloud.gcs.faults.add(replace, { kind: 'reset-before' });
    expect(await applied(w, plan)).toMatchObject({ failures: [{ key: 'a', code: 'source_changed' }] });
    expect(w.lake.objects.has('a')).toBe(false);
  });
});

describe('dead letters that are applied', () => {
  it('follow the rules of the pipeline: a key that is taken stays taken, a marker that is refused stays refused', async () => {
    await using w = await world();
    w.bucket.put('d1/x', 'first');
    w.bucket.put('d2/x', 'second');
    const taken = { top: { key: { template: '{name}' }, deadLetters } };
    expect(await again(w, await w.carry(taken), taken)).toMatchObject({
      failures: [{ key: 'x', code: 'key_collision' }],
    });
    expect(w.lake.bytes('x')?.toString()).toBe('first');
    w.bucket.put('logs/', '');
    const refused = { top: { folderMarkers: 'refuse', key: { template: 'copy/{key}' }, deadLetters } };
    expect(await again(w, await w.carry(refused), refused)).toMatchObject({ items: { written: 0, refused: 1 } });
    expect(w.lake.keys().filter((key) => key.endsWith('logs/'))).toEqual([]);
  });

  it('of a generation that a list has named carry that one only', async () => {
    await using w = await world();
    w.bucket.put('a', 'live one');
    await writeFile(join(w.folder, 'list.csv'), 'a,7\n');
    const options = { source: { manifest: 'list.csv' }, top: { deadLetters } };
    const report = await w.carry(options);
    expect(await again(w, report, options)).toMatchObject({ failures: [{ key: 'a', code: 'source_gone' }] });
    expect(w.lake.objects.size).toBe(0);
  });

  it('are none for deletes: what could not be deleted, the next run finds', async () => {
    await using w = await world();
    for (let n = 0; n < 20; n++) w.bucket.put(`k${n}`, 'x');
    const top = { delete: { extras: true }, deadLetters };
    await w.carry({ top });
    w.bucket.delete('k7');
    w.cloud.s3.faults.add('DELETE /lake/k7', DENIED, ALWAYS);
    const report = await w.carry({ top });
    expect(report).toMatchObject({ outcome: 'partial', items: { failed: 1 } });
    expect(report.deadLetters).toBeUndefined();
    w.cloud.s3.faults.clear();
    // Nor for one that `apply` has refused since it was changed.
    const plan = await planned(w, top);
    const other = w.lake.objects.get('k1');
    if (other !== undefined) w.lake.store({ ...other, key: 'k7', etag: '"changed"' });
    const refused = await applied(w, plan);
    expect(refused).toMatchObject({ items: { refused: 1 } });
    expect(refused.deadLetters).toBeUndefined();
    expect(await w.carry({ top })).toMatchObject({ outcome: 'complete', items: { deleted: 1 } });
  });
});

describe('a run of one key', () => {
  it('whose template may give it to others, too, is refused: whose the key is takes all of them to tell', async () => {
    await using w = await world();
    w.bucket.put('d1/x', 'first');
    w.bucket.put('d2/x', 'second');
    const top = { key: { template: '{name}' } };
    await w.carry({ top });
    const report = await w.carry({ top, run: { only: { key: 'd2/x' } } });
    expect(report.failures).toMatchObject([{ code: 'key_collision' }]);
    expect(w.lake.bytes('x')?.toString()).toBe('first');
  });
});

describe('deleting', () => {
  it('leaves what has come to be in the source after it was listed', async () => {
    await using w = await world();
    for (let n = 0; n < 20; n++) w.bucket.put(`k${String(n).padStart(2, '0')}`, 'x');
    await w.carry();
    w.bucket.delete('k19');
    w.bucket.put('z', 'x');
    await w.carry({ run: { only: { key: 'z' } } });
    w.bucket.delete('z');
    // The listings know nothing of it; another run has carried it meanwhile.
    const back = ({ target }: { target: string }): boolean => {
      if (target.includes('/o/z?')) w.bucket.put('z', 'it is back');
      return false;
    };
    w.cloud.gcs.faults.add(back, { kind: 'reset-before' });
    const report = await w.carry({ top: { delete: { extras: true }, concurrency: 1 } });
    expect(report).toMatchObject({ items: { deleted: 1 } });
    expect(w.lake.objects.has('k19')).toBe(false);
    expect(w.lake.objects.has('z')).toBe(true);
  });

  it('whose answer was lost is not called a failure', async () => {
    await using w = await world();
    for (let n = 0; n < 20; n++) w.bucket.put(`k${n}`, 'x');
    const top = { delete: { extras: true } };
    await w.carry({ top });
    w.bucket.delete('k7');
    w.cloud.s3.faults.add('DELETE /lake/k7', { kind: 'reset-after' });
    expect(await w.carry({ top })).toMatchObject({ outcome: 'complete', items: { deleted: 1 } });
  });

  it('leaves the folder that somebody has made in the console for the prefix', async () => {
    await using w = await world();
    for (let n = 0; n < 20; n++) w.bucket.put(`k${n}`, 'x');
    const options = { top: { delete: { extras: true }, folderMarkers: 'skip' }, sink: { prefix: 'raw/' } };
    w.bucket.put('made/', '');
    await w.carry({ sink: options.sink });
    const made = w.lake.objects.get('raw/made/');
    if (made === undefined) throw new Error('a marker was carried');
    w.lake.store({ ...made, key: 'raw/' });
    expect(await w.carry(options)).toMatchObject({ items: { deleted: 0 } });
    expect(w.lake.objects.has('raw/')).toBe(true);
  });

  it.each([
    ['receipts', { receipts: sinkAt('receipts/') }],
    ['deadLetters', { deadLetters: sinkAt('dead/') }],
    ['state', { state: sinkAt('state/') }],
    ['sink', { sink: [sinkAt(''), sinkAt('backup/')] }],
    // Whether a filter leaves out what is kept depends on names that are not known yet.
    ['receipts', { receipts: sinkAt('receipts/'), filter: { include: ['**.jsonl'] } }],
  ])('is refused where the %s would be what no source has', async (name, top) => {
    await using w = await world();
    const file = await w.write({ top: { delete: { extras: true }, ...top } });
    const { code, out, err } = await isthmus(w, 'validate', file);
    expect(code).toBe(2);
    expect([...out, ...err].join('\n')).toContain(`delete: sink s3://lake/ and ${name} s3://lake/`);
    expect((await isthmus(w, 'validate', await w.write({ top }))).code).toBe(0);
  });

  it.each([
    ['beside what is kept', { sink: sinkAt('faults/'), state: sinkAt(''), receipts: sinkAt('receipts/') }],
    ['above what its keys never are', { state: sinkAt('state/'), key: { template: 'data/{key}' } }],
  ])('is allowed %s', async (_name, top) => {
    await using w = await world();
    const { code, err } = await isthmus(w, 'validate', await w.write({ top: { delete: { extras: true }, ...top } }));
    expect([code, err]).toEqual([0, []]);
  });
});

describe('a comparison by time', () => {
  it('that cannot be made after the write is a failure of the item, with its receipt', async () => {
    await using w = await world();
    w.bucket.put('a', 'one!');
    w.bucket.put('b', 'fine');
    const replace = ({ method, target }: { method: string; target: string }): boolean => {
      if (method === 'PUT' && target.startsWith('/lake/a')) w.bucket.put('a', 'two!');
      return false;
    };
    w.cloud.s3.faults.add(replace, { kind: 'reset-before' });
    w.cloud.s3.faults.add('HEAD /lake/a', { kind: 'answer', status: 403 }, ALWAYS);
    const receipts = { use: 'file', with: { path: 'receipts' } };
    const report = await w.carry({ top: { compare: 'modified', receipts } });
    expect(report).toMatchObject({ outcome: 'partial', items: { written: 1, failed: 1 }, receipts: { lines: 2 } });
  });

  it('sees what was replaced while it was written', async () => {
    await using w = await world();
    w.bucket.put('a', 'one!');
    const replace = ({ method, target }: { method: string; target: string }): boolean => {
      if (method === 'PUT' && target.startsWith('/lake/a')) w.bucket.put('a', 'two!');
      return false;
    };
    w.cloud.s3.faults.add(replace, { kind: 'reset-before' });
    await w.carry({ top: { compare: 'modified' } });
    w.cloud.s3.faults.clear();
    await w.carry({ top: { compare: 'modified' } });
    expect(w.lake.bytes('a')?.toString()).toBe('two!');
  });
});
