import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compose } from '../../config/composition.ts';
import { tokens } from '../../config/tokens.ts';
import { LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { type World, world } from '../faults/world.ts';
import { SILENT } from '../support.ts';

/** Runs the pipeline over a list of objects that lies beside it. */
async function listed(w: World, name: string, text: string | Buffer, source: object = {}) {
  await writeFile(join(w.folder, name), text);
  return w.carry({ source: { manifest: name, ...source } });
}

describe('a list of objects', () => {
  it.each([
    ['CSV', 'list.csv', 'b\na\n'],
    [
      'CSV with a header, quotes, a byte order mark, CRLF and blank lines',
      'list.csv',
      '\ufeffname,generation\r\n\r\n"b"\r\na,\r\n\r\n',
    ],
    ['JSON lines', 'list.jsonl', '{"name":"b"}\n\n{"name":"a"}'],
  ])('of %s is carried, in whatever order, and nothing else', async (_name, file, text) => {
    await using w = await world();
    for (const key of ['a', 'b', 'c']) w.bucket.put(key, key);
    expect(await listed(w, file, text)).toMatchObject({ outcome: 'complete', items: { written: 2 } });
    expect(w.lake.keys()).toEqual(['a', 'b']);
  });

  it('names odd keys exactly', async () => {
    await using w = await world();
    const keys = ['a,b', 'quote"d', ' led', 'trail ', 'line\u2028separator', 'ä/é'];
    for (const key of keys) w.bucket.put(key, key);
    const csv = keys.map((key) => `"${key.replaceAll('"', '""')}"`).join('\n');
    expect(await listed(w, 'list.csv', csv)).toMatchObject({ outcome: 'complete', items: { written: keys.length } });
    w.lake.objects.clear();
    const jsonl = keys.map((name) => JSON.stringify({ name })).join('\n');
    expect(await listed(w, 'list.ndjson', jsonl)).toMatchObject({
      outcome: 'complete',
      items: { written: keys.length },
    });
  });

  it('may name a generation: that one is carried, or refused by name', async () => {
    await using w = await world();
    w.bucket.versioned = true;
    const { generation } = w.bucket.put('a', 'first');
    w.bucket.put('a', 'second');
    expect(await listed(w, 'list.csv', `a,${generation}\n`)).toMatchObject({ outcome: 'complete' });
    expect(w.lake.bytes('a')?.toString()).toBe('first');
    const report = await listed(w, 'list.jsonl', `{"name":"a","generation":"7"}\n{"name":"none"}`);
    expect(report.failures).toMatchObject([
      { key: 'a', code: 'source_gone', message: expect.stringContaining('list.jsonl:1') },
      { key: 'none', code: 'source_gone', message: expect.stringContaining('list.jsonl:2') },
    ]);
  });

  it('of which one may not be looked at carries the others, and names it', async () => {
    await using w = await world();
    for (const key of ['a', 'b']) w.bucket.put(key, key);
    w.cloud.gcs.faults.add('/o/a?', { kind: 'answer', status: 403, body: '{}' }, Number.POSITIVE_INFINITY);
    const report = await listed(w, 'list.csv', 'a\nb\n');
    expect(report).toMatchObject({ outcome: 'partial', items: { written: 1, refused: 1 } });
    expect(report.failures).toMatchObject([{ key: 'a', code: 'permission_denied' }]);
  });

  it('with a generation is about that one: when it is replaced while it is read, no other takes its place', async () => {
    await using w = await world();
    const { generation } = w.bucket.put('a', 'first!');
    const replace = ({ target }: { target: string }): boolean => {
      if (target.includes('alt=media') && w.bucket.get('a')?.generation === generation) w.bucket.put('a', 'second');
      return false;
    };
    w.cloud.gcs.faults.add(replace, { kind: 'reset-before' });
    const report = await listed(w, 'list.csv', `a,${generation}\n`);
    expect(report.items).toMatchObject({ written: 0, failed: 1 });
    expect(w.lake.objects.size).toBe(0);
  });

  it('is asked for one of them when only that one is wanted', async () => {
    await using w = await world();
    for (const key of ['a', 'b', 'c']) w.bucket.put(key, key);
    await writeFile(join(w.folder, 'list.csv'), 'a\nb\nc\n');
    expect(await w.carry({ source: { manifest: 'list.csv' }, run: { only: { key: 'b' } } })).toMatchObject({
      items: { written: 1 },
    });
    const asked = w.cloud.gcs.requests.filter(({ target }) => /\/o\/\w\?.*fields=/.test(target));
    expect(asked.length).toBe(1);
  });

  it('that was moved before is left out, and not refused, with missing: skip', async () => {
    await using w = await world();
    w.bucket.put('b', 'x');
    await writeFile(join(w.folder, 'list.csv'), 'a\nb\n');
    const report = await w.carry({ source: { manifest: 'list.csv' }, top: { missing: 'skip' } });
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 1, skipped: 1, refused: 0 } });
  });

  it('moves a generation that it names only where that is the current one', async () => {
    await using w = await world();
    w.bucket.writers.add(LOCAL_SERVICE_ACCOUNT);
    w.bucket.versioned = true;
    const { generation: old } = w.bucket.put('a', 'first');
    const { generation: live } = w.bucket.put('a', 'second');
    await writeFile(join(w.folder, 'list.csv'), `a,${old}\n`);
    const options = { source: { manifest: 'list.csv' }, top: { move: true } };
    expect(await w.carry(options)).toMatchObject({ moved: 0, failures: [{ key: 'a', code: 'source_changed' }] });
    expect(w.lake.bytes('a')?.toString()).toBe('first');
    expect(w.bucket.get('a')?.generation).toBe(live);
    // Without a live version a delete finds nothing, which is not the same as having deleted the one that is named.
    w.bucket.delete('a');
    expect(await w.carry(options)).toMatchObject({ moved: 0, failures: [{ key: 'a', code: 'source_changed' }] });
    const { generation: newest } = w.bucket.put('a', 'third');
    await writeFile(join(w.folder, 'list.csv'), `a,${newest}\n`);
    expect(await w.carry(options)).toMatchObject({ moved: 1 });
    expect(w.bucket.get('a')).toBeUndefined();
  });

  it('may lie in Cloud Storage', async () => {
    await using w = await world();
    w.bucket.put('2026/a', 'x');
    w.bucket.put('lists/today.csv', '2026/a\n');
    const report = await w.carry({ source: { prefix: '2026/', manifest: 'gs://exports/lists/today.csv' } });
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(w.lake.keys()).toEqual(['a']);
  });

  it.each([
    ['a line that is no JSON', 'l.jsonl', '{"name":"a"}\n{oops\n', 'l.jsonl:2: not JSON'],
    ['an entry without a name', 'l.jsonl', '{"key":"a"}', 'l.jsonl:1: name: must be the name of an object'],
    ['a generation that is none', 'l.csv', 'a,abc', 'l.csv:1: generation: must be a generation'],
    ['a generation beyond 2^63', 'l.csv', 'a,9999999999999999999', 'l.csv:1: generation: must be a generation'],
    ['a name twice', 'l.csv', 'a\nb\na\n', 'l.csv:3: "a" is there twice'],
    ['JSON', 'l.csv', '{"name":"a"}', 'l.csv:1: a line of JSON'],
    ['columns that it does not know', 'l.csv', 'name,size\na,3', 'l.csv:1: columns can be name and generation'],
    ['too many fields', 'l.csv', 'a,1,2', 'l.csv:1: expected name,generation; found 3 fields'],
    ['a quote that is not closed', 'l.csv', '"a', 'l.csv:1: a quote is not closed'],
    ['bytes that are not UTF-8', 'l.csv', Buffer.from([0x61, 0x0a, 0xe9, 0x0a]), 'l.csv:2: not valid UTF-8'],
    ['a line of 300 kB', 'l.csv', `a\n${'x'.repeat(300_000)}`, 'l.csv:2: the line is longer than 262144 bytes'],
    ['a name outside of the prefix', 'l.csv', 'b', '"b" is not below the prefix "a/"', { prefix: 'a/' }],
  ])('with %s ends the run and names the line', async (_name, file, text, why, source: object = {}) => {
    await using w = await world();
    w.bucket.put('a', 'x');
    w.bucket.put('b', 'x');
    expect(await listed(w, file, text, source)).toMatchObject({
      outcome: 'failed',
      error: { message: expect.stringContaining(why) },
    });
  });

  it('that is not there ends the run', async () => {
    await using w = await world();
    expect(await w.carry({ source: { manifest: 'none.csv' } })).toMatchObject({ error: { code: 'invalid_config' } });
    expect(await w.carry({ source: { manifest: 'gs://exports/none.csv' } })).toMatchObject({
      error: { code: 'invalid_config' },
    });
  });

  it('goes on where it stopped', async () => {
    await using w = await world();
    const names = Array.from({ length: 30 }, (_, n) => `k${n}`);
    for (const name of names) w.bucket.put(name, name);
    const stop = new AbortController();
    let puts = 0;
    const tenth = ({ method, target }: { method: string; target: string }): boolean => {
      if (method === 'PUT' && target.startsWith('/lake/') && ++puts === 10) stop.abort();
      return false;
    };
    w.cloud.s3.faults.add(tenth, { kind: 'delay', ms: 0 }, Number.POSITIVE_INFINITY);
    await writeFile(join(w.folder, 'list.csv'), names.join('\n'));
    const top = { state: { use: 'file', with: { path: 'state' } } };
    const options = { source: { manifest: 'list.csv' }, top };
    expect(await w.carry({ ...options, runtime: { stop: stop.signal } })).toMatchObject({ outcome: 'paused' });
    expect(await w.carry(options)).toMatchObject({ outcome: 'complete', items: { written: 30 } });
    expect(puts).toBe(30);
  });
});

describe('what an object has besides its bytes', () => {
  it('goes to the storage class that is meant, with the metadata that is meant, and what is lost is told', async () => {
    await using w = await world();
    w.bucket.put('cold', 'x', { storageClass: 'COLDLINE', metadata: { Owner: 'me', Secret: 's', OLD: 'v' } });
    w.bucket.put('odd', 'x', { storageClass: 'STANDARD', customTime: '2026-01-01T00:00:00Z', temporaryHold: true });
    const metadata = { remove: ['secret'], rename: { old: 'new' }, add: { team: 'data', owner: 'us' } };
    const report = await w.carry({ sink: { storageClass: 'match', metadata, provenance: true } });
    const { headers } = w.lake.objects.get('cold') ?? {};
    expect(headers).toMatchObject({
      'x-amz-storage-class': 'GLACIER_IR',
      'x-amz-meta-owner': 'us',
      'x-amz-meta-new': 'v',
      'x-amz-meta-team': 'data',
      'x-amz-meta-isthmus-source': `gs://exports/cold#${w.bucket.get('cold')?.generation}`,
    });
    expect(headers).not.toHaveProperty('x-amz-meta-secret');
    expect(report.notes).toEqual({
      'customTime is not carried: S3 has no place for it': 1,
      'temporaryHold is not carried: S3 has no place for it': 1,
    });
  });

  it('that is not asked for is told by name and number', async () => {
    await using w = await world();
    for (const key of ['a', 'b', 'c']) w.bucket.put(key, key, { storageClass: 'ARCHIVE' });
    expect((await w.carry()).notes).toEqual({
      'storage class ARCHIVE is not carried: set storageClass on the sink': 3,
    });
    w.lake.objects.clear();
    const mapped = await w.carry({ sink: { storageClass: { ARCHIVE: 'DEEP_ARCHIVE' } } });
    expect(mapped).not.toHaveProperty('notes');
    expect(w.lake.objects.get('a')?.headers['x-amz-storage-class']).toBe('DEEP_ARCHIVE');
  });
});

describe('moving from Cloud Storage', () => {
  it('deletes the very version that was proved, and leaves one that came meanwhile', async () => {
    await using w = await world();
    w.bucket.writers.add('exports-reader@acme.iam.gserviceaccount.com');
    w.bucket.put('a', 'x');
    w.bucket.put('b', 'old');
    let done = false;
    const replace = ({ method, target }: { method: string; target: string }): boolean => {
      if (method === 'DELETE' && target.includes('/o/b') && !done) {
        done = true;
        w.bucket.put('b', 'new');
      }
      return false;
    };
    w.cloud.gcs.faults.add(replace, { kind: 'delay', ms: 0 }, Number.POSITIVE_INFINITY);
    const report = await w.carry({ top: { move: true } });
    expect(report).toMatchObject({ outcome: 'partial', moved: 1, failures: [{ key: 'b', code: 'source_changed' }] });
    expect(w.bucket.get('a')).toBeUndefined();
    expect(w.bucket.get('b')?.size).toBe('3');
    expect(await w.carry({ top: { move: true } })).toMatchObject({ outcome: 'complete', moved: 1 });
    expect(w.lake.bytes('b')?.toString()).toBe('new');
    expect([...w.bucket.from('')]).toEqual([]);
  });

  it('is checked by doctor: whether objects may be deleted, here and in a sink', async () => {
    await using w = await world();
    w.bucket.put('a', 'x');
    const check = async (top: object, mayDelete: boolean) => {
      if (mayDelete) w.bucket.writers.add('exports-reader@acme.iam.gserviceaccount.com');
      const file = await w.write({ top });
      const jobs = compose(w.cloud.environment).get(tokens.jobs);
      await using open = await jobs.open(file, { log: SILENT, now: Date.now });
      const { signal } = new AbortController();
      const checks = [...open.job.sources, ...open.job.sinks].map(async (one) => one.check?.({ signal }));
      return (await Promise.all(checks))
        .flatMap((found) => found ?? [])
        .map(({ name, verdict }) => `${name} ${verdict}`);
    };
    expect(await check({}, false)).toEqual(['list pass', 'read pass', 'list pass', 'write pass']);
    expect(await check({ move: true }, false)).toContain('delete warn');
    expect(await check({ move: true }, true)).toContain('delete pass');
    expect(await check({ delete: { extras: true } }, true)).toContain('delete pass');
    w.cloud.s3.faults.add(/^DELETE .*write-probe$/, {
      kind: 'answer',
      status: 403,
      body: '<Error><Code>AccessDenied</Code></Error>',
    });
    expect(await check({ delete: { extras: true } }, true)).toContain('delete fail');
    expect(w.lake.objects.size).toBe(0);
  });

  it('tells which role is missing', async () => {
    await using w = await world();
    w.bucket.put('a', 'x');
    const report = await w.carry({ top: { move: true } });
    expect(report).toMatchObject({ outcome: 'failed', failures: [{ code: 'permission_denied' }] });
    expect(report.failures[0]?.hint).toContain('roles/storage.objectUser');
    expect(w.lake.keys()).toEqual(['a']);
  });
});
