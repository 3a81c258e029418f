import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { isthmus, json } from '../faults/command.ts';
import { LASTING, type World, world } from '../faults/world.ts';

describe('a plan on file', () => {
  it('holds every action with its reason, says what it takes, and is carried out as it is', async () => {
    await using w = await world();
    w.bucket.put('new', 'n');
    w.bucket.put('same', 's');
    w.bucket.put('changed', 'old');
    await w.carry();
    w.lake.remove('new');
    w.bucket.put('changed', 'newer');
    w.bucket.put('large', Buffer.alloc(11 * 2 ** 20, 1));
    w.bucket.put('k'.repeat(1024), 'too long with a prefix');
    w.lake.remove('large');
    const file = await w.write({ sink: {} });
    const plan = join(w.folder, 'plan.jsonl');
    const made = await isthmus(w, 'plan', file, '--out', plan, '--json');
    expect(made.code).toBe(0);
    expect(json(made)).toMatchObject({
      pipeline: 'faults',
      actions: { create: 3, update: 1, skip: 1, refuse: 0, delete: 0 },
      requests: { 'storage.objects.get': 6, 's3:PutObject': 3, 's3:UploadPart': 3, 's3:CreateMultipartUpload': 1 },
      costUsd: expect.closeTo(0.0013, 3),
    });
    const lines = (await readFile(plan, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(lines).toHaveLength(7);
    expect(lines[0]).toMatchObject({ isthmus: 'plan', version: 1, file: 'pipeline.yaml' });
    expect(lines).toContainEqual(
      expect.objectContaining({ action: 'update', reason: expect.stringContaining('size differs') }),
    );
    expect(lines.at(-1)).toEqual({ end: 5 });
    const applied = await isthmus(w, 'apply', plan, '--json');
    expect(applied.code).toBe(0);
    expect(json(applied)).toMatchObject({ outcome: 'complete', items: { written: 4, unchanged: 1 } });
    expect(w.lake.bytes('changed')?.toString()).toBe('newer');
    // The same plan once more finds everything there.
    const again = await isthmus(w, 'apply', plan, '--json');
    expect(json(again)).toMatchObject({ outcome: 'complete', items: { written: 0, unchanged: 5 } });
  });

  it('is refused where its source or its sink has moved since, and carried out for the rest', async () => {
    await using w = await world();
    // A bucket that keeps versions: the planned one could still be read.
    w.bucket.versioned = true;
    for (const name of ['fine', 'replaced', 'deleted', 'written', 'overwritten']) w.bucket.put(name, `${name} 1`);
    w.lake.store({ ...(await stored(w, 'overwritten', 'x')) });
    const file = await w.write();
    const plan = join(w.folder, 'plan.jsonl');
    expect((await isthmus(w, 'plan', file, '--out', plan)).code).toBe(0);
    w.bucket.put('replaced', 'replaced 2');
    w.bucket.delete('deleted');
    w.lake.store(await stored(w, 'written', 'by somebody else'));
    w.lake.store(await stored(w, 'overwritten', 'by somebody else'));
    const answer = await isthmus(w, 'apply', plan, '--json');
    expect(answer.code).toBe(3);
    const { failures, items } = json(answer) as { failures: { key: string; code: string }[]; items: object };
    expect(items).toMatchObject({ written: 1, refused: 4 });
    expect(Object.fromEntries(failures.map(({ key, code }) => [key, code]))).toEqual({
      replaced: 'source_changed',
      deleted: 'source_gone',
      written: 'conflict',
      overwritten: 'conflict',
    });
    expect(w.lake.bytes('written')?.toString()).toBe('by somebody else');
    expect(w.lake.objects.has('replaced')).toBe(false);
  });

  it('is carried by several processes, each its part, and what it deletes by one that carries all of it', async () => {
    await using w = await world();
    for (let index = 0; index < 10; index++) w.bucket.put(`item ${index}`, `${index}`);
    w.lake.store(await stored(w, 'extra', 'x'));
    const top = { delete: { extras: true, maxPercent: 100 } };
    const file = await w.write({ top });
    const plan = join(w.folder, 'plan.jsonl');
    await isthmus(w, 'plan', file, '--out', plan);
    const parts = ['0/3', '1/3', '2/3'].map((shard) => () => isthmus(w, 'apply', plan, '--shard', shard, '--json'));
    const counts: number[] = [];
    for (const part of parts) {
      const { items, part: which } = json(await part()) as { items: { written: number }; part: object };
      expect(which).toEqual({ index: counts.length, of: 3 });
      counts.push(items.written);
    }
    expect(counts).toEqual([4, 3, 3]);
    expect(w.lake.bytes('extra')?.toString()).toBe('x');
    const rest = await isthmus(w, 'apply', plan, '--json');
    expect(json(rest)).toMatchObject({ outcome: 'complete', items: { written: 0, unchanged: 10, deleted: 1 } });
    expect((await isthmus(w, 'apply', plan, '--shard', '3/3')).error).toMatchObject({ code: 'invalid_config' });
  });

  it('of deletes is looked at again before each, and guarded as a whole', async () => {
    await using w = await world();
    for (const name of ['a', 'b', 'c', 'd']) w.bucket.put(name, name);
    await w.carry();
    for (const name of ['b', 'c', 'd']) w.bucket.delete(name);
    const top = { delete: { extras: true, maxPercent: 80 } };
    const file = await w.write({ top });
    const plan = join(w.folder, 'plan.jsonl');
    const made = await isthmus(w, 'plan', file, '--out', plan, '--json');
    expect(json(made)).toMatchObject({ actions: { skip: 1, delete: 3 } });
    w.bucket.put('c', 'it is back');
    w.lake.store(await stored(w, 'd', 'changed'));
    const answer = await isthmus(w, 'apply', plan, '--json');
    expect(json(answer)).toMatchObject({ outcome: 'partial', items: { deleted: 1, unchanged: 1, refused: 2 } });
    expect([...w.lake.keys()]).toEqual(['a', 'c', 'd']);
    await w.write({ top: { delete: { extras: true, maxPercent: 70 } } });
    expect((await isthmus(w, 'apply', plan, '--json')).out[0]).toContain('delete_guard');
    await w.write();
    expect((await isthmus(w, 'apply', plan, '--json')).out[0]).toContain('invalid_plan');
  });

  it('tells that a run would stop before its first delete', async () => {
    await using w = await world();
    w.lake.store(await stored(w, 'theirs', 'x'));
    const file = await w.write({ top: { delete: { extras: true } } });
    const answer = await isthmus(w, 'plan', file);
    expect(answer.code).toBe(3);
    expect(answer.out.join('\n')).toMatch(
      /delete +1 B {2}theirs[\s\S]*would stop before the first delete: 1 of 1 objects/,
    );
  });

  it.each([
    ['an empty file', '', 'is empty'],
    ['another text', 'hello', ':1: not JSON'],
    ['another document', '{"a":1}', ':1: a plan begins with'],
    ['a newer version', '{"isthmus":"plan","version":2}', 'version 2 is newer than this release'],
  ])('that is %s is refused before anything is carried', async (_name, text, why) => {
    await using w = await world();
    const [file, plan] = [await w.write(), join(w.folder, 'plan.jsonl')];
    await writeFile(plan, text);
    const { error, out } = await isthmus(w, 'apply', plan, '--pipeline', file);
    expect(error?.message ?? out.join()).toContain(why);
  });

  it.each([
    ['cut off', (lines: string[]) => lines.slice(0, -1), 'it was cut off'],
    ['shortened', (lines: string[]) => [...lines.slice(0, 1), ...lines.slice(2)], 'holds 1 actions, and says 2'],
    ['lengthened', (lines: string[]) => [...lines, lines[1] ?? ''], 'comes after its end'],
    ['damaged', (lines: string[]) => lines.map((line) => line.replace('"key":"b"', '"key":7')), ':3: item.key'],
    [
      'of another pipeline',
      (lines: string[]) => lines.map((line) => line.replace('"faults"', '"other"')),
      'of the pipeline "other"',
    ],
    [
      'of another sink',
      (lines: string[]) => lines.map((line) => line.replace('s3://lake/', 's3://moat/')),
      'other sources or sinks',
    ],
  ])('that was %s is refused', async (_name, change, why) => {
    await using w = await world();
    w.bucket.put('a', '1');
    w.bucket.put('b', '2');
    const [file, plan] = [await w.write(), join(w.folder, 'plan.jsonl')];
    await isthmus(w, 'plan', file, '--out', plan);
    const lines = (await readFile(plan, 'utf8')).trim().split('\n');
    await writeFile(plan, `${change(lines).join('\n')}\n`);
    const answer = await isthmus(w, 'apply', plan, '--json');
    expect(answer.code).toBe(2);
    expect(json(answer)).toMatchObject({
      outcome: 'failed',
      error: { code: 'invalid_plan', message: expect.stringContaining(why) },
    });
  });

  it('is refused when filters or keys of the pipeline are others now', async () => {
    await using w = await world();
    w.bucket.put('a', '1');
    const [file, plan] = [await w.write(), join(w.folder, 'plan.jsonl')];
    await isthmus(w, 'plan', file, '--out', plan);
    await w.write({ top: { filter: { exclude: ['b'] } } });
    expect((await isthmus(w, 'apply', plan, '--json')).out.join()).toContain('were changed since it was made');
  });

  it('is made whole or not at all', async () => {
    await using w = await world();
    w.bucket.put('a', '1');
    const file = await w.write();
    const { error } = await isthmus(w, 'plan', file, '--out', join(w.folder, 'none', 'plan.jsonl'));
    expect(error).toMatchObject({ code: 'invalid_config', hint: expect.stringContaining('--out') });
  });
});

describe('dead letters', () => {
  const top = { deadLetters: { use: 's3', with: { bucket: 'state', prefix: 'dead/', region: 'eu-west-1' } } };

  it('of what a run could not carry are kept, and carried by apply when it can be', async () => {
    await using w = await world();
    for (const name of ['a', 'b', 'c']) w.bucket.put(name, name);
    const denied = { kind: 'answer', status: 403, body: '<Error><Code>AccessDenied</Code></Error>' } as const;
    w.cloud.s3.faults.add('PUT /lake/b', denied, Number.POSITIVE_INFINITY);
    const report = await w.carry({ top });
    expect(report).toMatchObject({
      outcome: 'partial',
      deadLetters: { location: expect.stringMatching(/^s3:\/\/state\/dead\/faults\//), lines: 1 },
    });
    const location = report.deadLetters?.location ?? '';
    // Still denied: it stays where it is, and is kept again.
    const file = await w.write({ top });
    const first = await isthmus(w, 'apply', location, '--pipeline', file, '--json');
    expect(json(first)).toMatchObject({ outcome: 'failed', items: { failed: 1 }, deadLetters: { lines: 1 } });
    w.cloud.s3.faults.clear();
    // It may even be another version by now.
    w.bucket.put('b', 'newer');
    const second = await isthmus(w, 'apply', location, '--pipeline', file, '--json');
    expect(json(second)).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(w.lake.bytes('b')?.toString()).toBe('newer');
    const third = await isthmus(w, 'apply', location, '--pipeline', file, '--json');
    expect(json(third)).toMatchObject({ outcome: 'complete', items: { unchanged: 1 } });
  });

  it('replace nothing that is of another item, where a key does not tell whose it is', async () => {
    await using w = await world();
    w.bucket.put('b/x', 'of b');
    const denied = { kind: 'answer', status: 403, body: '<Error><Code>AccessDenied</Code></Error>' } as const;
    w.cloud.s3.faults.add('PUT /lake/x', denied, Number.POSITIVE_INFINITY);
    const options = { top: { ...top, key: { template: '{name}' } } };
    const report = await w.carry(options);
    w.cloud.s3.faults.clear();
    // Meanwhile another one has got the name.
    w.bucket.put('a/x', 'of a');
    await w.carry(options);
    const location = report.deadLetters?.location ?? '';
    const again = await isthmus(w, 'apply', location, '--pipeline', await w.write(options), '--json');
    expect(json(again)).toMatchObject({ items: { written: 0 }, failures: [{ code: 'key_collision' }] });
    expect(w.lake.bytes('x')?.toString()).toBe('of a');
  });

  it('are no file when there are none', async () => {
    await using w = await world();
    w.bucket.put('a', 'x');
    expect(await w.carry({ top })).not.toHaveProperty('deadLetters');
    expect(w.cloud.s3.buckets.get('state')?.objects.size).toBe(0);
  });

  it('go to a folder, and are applied from there', async () => {
    await using w = await world();
    w.bucket.put('a', 'x');
    const folder = join(w.folder, 'failed');
    const kept = { deadLetters: { use: 'file', with: { path: 'failed' } } };
    w.cloud.s3.faults.add(
      'PUT /lake/a',
      { kind: 'answer', status: 403, body: '<Error><Code>AccessDenied</Code></Error>' },
      1,
    );
    const { runId } = await w.carry({ top: kept });
    const file = await w.write({ top: kept });
    // The place that the pipeline names, with the runs in it.
    const answer = await isthmus(w, 'apply', folder, '--pipeline', file, '--json');
    expect(json(answer)).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    const unnamed = await isthmus(w, 'apply', join(folder, 'faults', runId));
    expect(unnamed.error).toMatchObject({ hint: expect.stringContaining('--pipeline') });
  });
});

describe('receipts', () => {
  const top = { ...LASTING, receipts: { use: 'file', with: { path: 'receipts' } } };

  it('have a line for each item, each bound to the one before: a change is seen', async () => {
    await using w = await world();
    w.bucket.put('a', 'one');
    const { generation } = w.bucket.put('b', 'two');
    w.lake.versioned = true;
    const { runId, receipts } = await w.carry({ top });
    expect(receipts).toMatchObject({ lines: 2, head: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const file = await w.write({ top });
    const whole = await isthmus(w, 'receipts', file, '--json');
    expect(json(whole)).toMatchObject({ files: 1, lines: 2, broken: [] });
    const folder = join(w.folder, 'receipts', 'faults', runId);
    const { readdir } = await import('node:fs/promises');
    const [name = ''] = await readdir(folder);
    const text = await readFile(join(folder, name), 'utf8');
    const lines = text.trim().split('\n');
    const second = lines.map((line) => JSON.parse(line) as { key?: string }).find(({ key }) => key === 'b');
    expect(second).toMatchObject({
      outcome: 'written',
      id: `gs://exports/b#${generation}`,
      bytes: 3,
      attempts: 1,
      checksums: { crc32c: w.bucket.get('b')?.crc32c },
      version: expect.any(String),
      location: 's3://lake/b',
      sink: 's3://lake/',
    });
    for (const [broken, why] of [
      [text.replace('"bytes":3', '"bytes":4'), 'line 2, or one before it, was changed'],
      [[...lines.slice(0, 1), ...lines.slice(2)].join('\n'), 'line 2, or one before it, was changed'],
      [lines.slice(0, -1).join('\n'), 'its end is missing'],
      [`${text}${lines[1]}\n`, 'was changed, added or taken away'],
    ] as const) {
      await writeFile(join(folder, name), broken);
      const answer = await isthmus(w, 'receipts', file);
      expect(answer.code).toBe(3);
      expect(answer.out.join('\n')).toContain(why);
    }
  });

  it('go on from the process before: a file that is taken away is missed', async () => {
    await using w = await world();
    for (let n = 0; n < 6; n++) w.bucket.put(`k${n}`, `${n}`);
    const stop = new AbortController();
    let written = 0;
    const third = ({ method, target }: { method: string; target: string }): boolean => {
      if (method === 'PUT' && target.startsWith('/lake/') && ++written === 3) stop.abort();
      return false;
    };
    w.cloud.s3.faults.add(third, { kind: 'delay', ms: 0 });
    const paused = await w.carry({ top: { ...top, concurrency: 1 }, runtime: { stop: stop.signal } });
    expect(paused).toMatchObject({ outcome: 'paused' });
    const report = await w.carry({ top: { ...top, concurrency: 1 } });
    expect(report).toMatchObject({ outcome: 'complete', runId: paused.runId });
    const file = await w.write({ top });
    expect(json(await isthmus(w, 'receipts', file, '--run', report.runId, '--json'))).toMatchObject({
      files: 2,
      lines: 6,
      broken: [],
    });
    const { readdir, rm } = await import('node:fs/promises');
    const folder = join(w.folder, 'receipts', 'faults', report.runId);
    const [first = ''] = (await readdir(folder)).sort();
    await rm(join(folder, first));
    expect((await isthmus(w, 'receipts', file)).out.join()).toContain('the file that it goes on from is missing');
  });

  it('in files whose names are not in order hold together: clocks are set back', async () => {
    await using w = await world();
    for (let n = 0; n < 4; n++) w.bucket.put(`k${n}`, `${n}`);
    const stop = new AbortController();
    const second = ({ method, target }: { method: string; target: string }): boolean => {
      if (method === 'PUT' && target.startsWith('/lake/k1')) stop.abort();
      return false;
    };
    w.cloud.s3.faults.add(second, { kind: 'delay', ms: 0 });
    const serial = { ...top, concurrency: 1 };
    await w.carry({ top: serial, runtime: { stop: stop.signal } });
    const { runId } = await w.carry({ top: serial, runtime: { now: () => Date.now() - 3_600_000 } });
    const answer = await isthmus(w, 'receipts', await w.write({ top }), '--run', runId, '--json');
    expect(json(answer)).toMatchObject({ files: 2, lines: 4, broken: [] });
  });

  it('may lie in the same place as dead letters: each keeps its own, and is read for itself', async () => {
    await using w = await world();
    for (const key of ['a', 'b']) w.bucket.put(key, key);
    const place = { use: 'file', with: { path: 'kept' } };
    const both = { ...LASTING, receipts: place, deadLetters: place };
    const denied = { kind: 'answer', status: 403, body: '<Error><Code>AccessDenied</Code></Error>' } as const;
    w.cloud.s3.faults.add('PUT /lake/a', denied);
    const clock = Date.now();
    expect(await w.carry({ top: both, runtime: { now: () => clock } })).toMatchObject({
      receipts: { lines: 2 },
      deadLetters: { lines: 1 },
    });
    const file = await w.write({ top: both });
    expect(json(await isthmus(w, 'receipts', file, '--json'))).toMatchObject({ files: 1, lines: 2, broken: [] });
    const again = await isthmus(w, 'apply', join(w.folder, 'kept'), '--pipeline', file, '--json');
    expect(json(again)).toMatchObject({ outcome: 'complete', items: { written: 1 } });
  });

  it('that end too early, or are gone altogether, are missed: the history knows the last', async () => {
    await using w = await world();
    w.bucket.put('a', 'x');
    const remembered = { ...top, history: 5 };
    const { runId } = await w.carry({ top: remembered });
    const { rm } = await import('node:fs/promises');
    await rm(join(w.folder, 'receipts'), { recursive: true });
    const answer = await isthmus(w, 'receipts', await w.write({ top: remembered }));
    expect(answer.code).toBe(3);
    expect(answer.out.join()).toContain(`/faults/${runId}/: the history names`);
    // Without a history nothing is known of them; that is not the same as finding them in order.
    const unknown = await isthmus(w, 'receipts', await w.write({ top }), '--run', 'none');
    expect(unknown.error).toMatchObject({ code: 'invalid_config', message: /there are no receipts/ as never });
  });

  it('tell of what is deleted before it is: a process that dies then leaves no gap', async () => {
    await using w = await world();
    w.bucket.writers.add(LOCAL_SERVICE_ACCOUNT);
    for (const key of ['a', 'b', 'c', 'd', 'e']) w.bucket.put(key, key);
    await w.carry();
    w.bucket.delete('a');
    const intents = (): string[] => {
      const kept = w.cloud.s3.buckets.get('state');
      const text =
        kept
          ?.keys()
          .map((key) => kept.bytes(key)?.toString())
          .join('') ?? '';
      return [...text.matchAll(/"intent":"(\w+)".*?"key":"(\w+)"/g)].map(([, what, key]) => `${what} ${key}`);
    };
    const gaps: string[] = [];
    const look = (pattern: RegExp, what: string) => (request: { method: string; target: string }) => {
      const key = pattern.exec(`${request.method} ${request.target}`)?.[1];
      if (key !== undefined && !intents().includes(`${what} ${key}`)) gaps.push(key);
      return false;
    };
    w.cloud.gcs.faults.add(look(/^DELETE .*\/o\/(\w+)/, 'move'), { kind: 'reset-before' });
    w.cloud.s3.faults.add(look(/^DELETE \/lake\/(\w+)/, 'delete'), { kind: 'reset-before' });
    const kept = { receipts: { use: 's3', with: { bucket: 'state', region: 'eu-west-1' } } };
    expect(await w.carry({ top: { ...kept, delete: { extras: true } } })).toMatchObject({ items: { deleted: 1 } });
    expect(await w.carry({ top: { ...kept, move: true } })).toMatchObject({ moved: 4 });
    expect(gaps).toEqual([]);
    expect(intents().sort()).toEqual(['delete a', 'move b', 'move c', 'move d', 'move e']);
    const whole = await isthmus(w, 'receipts', await w.write({ top: kept }), '--json');
    expect(json(whole)).toMatchObject({ broken: [] });
  });

  it('are durable before the record passes the items that they tell of', async () => {
    await using w = await world();
    for (let n = 0; n < 4; n++) w.bucket.put(`k${n}`, `${n}`);
    const kept = { ...LASTING, receipts: { use: 's3', with: { bucket: 'receipts', region: 'eu-west-1' } } };
    // The bucket for them is not there: nothing may count as done.
    const report = await w.carry({ top: kept });
    expect(report).toMatchObject({ outcome: 'failed', error: { code: 'bucket_missing' } });
    w.cloud.s3.bucket('receipts');
    expect(await w.carry({ top: kept })).toMatchObject({ outcome: 'complete', receipts: { lines: 4 } });
  });
});

describe('the history', () => {
  it('holds the reports of the last runs, the newest first', async () => {
    await using w = await world();
    const top = { ...LASTING, history: 2 };
    for (const name of ['a', 'b', 'c']) {
      w.bucket.put(name, name);
      await w.carry({ top });
    }
    const file = await w.write({ top });
    const answer = json(await isthmus(w, 'history', file, '--json')) as { runs: object[] };
    expect(answer.runs).toMatchObject([
      { outcome: 'complete', items: { written: 1, unchanged: 2 } },
      { outcome: 'complete', items: { written: 1, unchanged: 1 } },
    ]);
    expect((await isthmus(w, 'history', file)).out[1]).toMatch(/complete +1 written, 2 unchanged/);
  });

  it('that cannot be read is told, and fails no run', async () => {
    await using w = await world();
    w.bucket.put('a', 'x');
    await w.carry({ top: LASTING });
    const state = w.cloud.s3.buckets.get('state');
    const [key = ''] = state?.keys() ?? [];
    const object = state?.objects.get(key);
    if (state === undefined || object === undefined) throw new Error('there is no history');
    state.store({ ...object, chunks: [Buffer.from('{"savedBy":"x","value":{"version":9}}')] });
    expect(await w.carry({ top: LASTING })).toMatchObject({ outcome: 'complete' });
    expect(w.lines.join('\n')).toContain('could not be put into the history');
    const answer = await isthmus(w, 'history', await w.write({ top: LASTING }));
    expect(answer.error?.code).toBe('state_unreadable');
  });
});

/** An object of S3 as somebody else would have written it. */
async function stored(w: World, key: string, text: string) {
  const { createHash } = await import('node:crypto');
  const bytes = Buffer.from(text);
  const etag = `"${createHash('md5').update(bytes).digest('hex')}"`;
  const model = { headers: {}, tags: undefined, checksums: {}, checksumType: 'FULL_OBJECT', parts: undefined } as const;
  w.lake.remove(key);
  return { ...model, key, size: bytes.length, etag, lastModified: new Date(), version: undefined, chunks: [bytes] };
}
