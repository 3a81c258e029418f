import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { testTransport } from '../support.ts';
import { proxy } from './tcp-proxy.ts';
import { world } from './world.ts';

const MIB = 2 ** 20;
const MEDIA = 'alt=media';

describe('reading', () => {
  it.each([
    ['a reset before the answer', { kind: 'reset-before' }, 1],
    ['a reset in the middle of the body', { kind: 'reset-body', at: 1_000_000 }, 1],
    ['a close in the middle of the body', { kind: 'cut-body', at: 1_000_000 }, 1],
    ['a chunked body that ends early', { kind: 'short-body', at: 1_000_000 }, 1],
    ['two answers of 503', { kind: 'answer', status: 503 }, 2],
    ['429 with Retry-After', { kind: 'answer', status: 429, headers: { 'retry-after': '1' } }, 1],
    ['one wrong byte', { kind: 'corrupt-body', at: 1_000_000 }, 1],
  ] as const)('survives %s', async (_name, fault, times) => {
    await using w = await world();
    const bytes = randomBytes(3 * MIB);
    w.bucket.put('a', bytes);
    w.cloud.gcs.faults.add(MEDIA, fault, times);
    expect(await w.carry()).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(w.lake.bytes('a')?.equals(bytes)).toBe(true);
  });

  it('resumes at the next byte, of the same generation', async () => {
    await using w = await world();
    const object = w.bucket.put('a', randomBytes(3 * MIB));
    w.cloud.gcs.faults.add(MEDIA, { kind: 'reset-body', at: MIB });
    await w.carry();
    const reads = w.cloud.gcs.requests.filter(({ target }) => target.includes(MEDIA));
    expect(reads.map(({ status }) => status)).toEqual([200, 206]);
    expect(reads.every(({ target }) => target.includes(`generation=${object.generation}`))).toBe(true);
  });

  it.each([
    ['bytes that stay wrong', { kind: 'corrupt-body', at: 10 }, 'checksum_mismatch'],
    ['bodies that stay short', { kind: 'short-body', at: 10 }, 'truncated'],
    ['a server that stays down', { kind: 'answer', status: 503 }, 'unavailable'],
    [
      'a permission that is missing',
      { kind: 'answer', status: 403, body: '{"error":{"message":"denied"}}' },
      'permission_denied',
    ],
    ['a redirect', { kind: 'answer', status: 302, headers: { location: 'http://127.0.0.1:1' } }, 'bad_response'],
  ] as const)('gives up on %s and leaves nothing', async (_name, fault, code) => {
    await using w = await world();
    w.bucket.put('a', randomBytes(1000));
    w.bucket.put('large', randomBytes(6 * MIB));
    w.cloud.gcs.faults.add(MEDIA, fault, Number.POSITIVE_INFINITY);
    const report = await w.carry();
    expect(report.outcome).toBe('failed');
    expect([...report.failures, report.error].map((failure) => failure?.code)).toContain(code);
    expect(w.lake.objects.size).toBe(0);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('passes over what comes before a range when a server sends the whole of it', async () => {
    await using w = await world();
    const bytes = randomBytes(3 * MIB);
    const { generation } = w.bucket.put('a', bytes);
    w.cloud.gcs.faults.add(MEDIA, { kind: 'reset-body', at: MIB });
    const headers = { 'x-goog-generation': generation };
    w.cloud.gcs.faults.add(MEDIA, { kind: 'answer', status: 200, headers, body: bytes });
    expect(await w.carry()).toMatchObject({ outcome: 'complete' });
    expect(w.lake.bytes('a')?.equals(bytes)).toBe(true);
  });

  it.each([
    ['the whole of another generation', 200, { 'x-goog-generation': '1' }],
    ['a range that begins elsewhere', 206, { 'content-range': `bytes 5-${3 * MIB - 1}/${3 * MIB}` }],
    ['a range that is longer', 206, { 'content-range': `bytes ${MIB}-${4 * MIB}/${4 * MIB}` }],
  ])('uses no byte of %s', async (_name, status, headers) => {
    await using w = await world();
    w.bucket.put('a', randomBytes(3 * MIB));
    w.cloud.gcs.faults.add(MEDIA, { kind: 'reset-body', at: MIB });
    w.cloud.gcs.faults.add(MEDIA, { kind: 'answer', status, headers, body: 'x'.repeat(100) });
    expect(await w.carry()).toMatchObject({ outcome: 'failed', error: { code: 'bad_response' } });
    expect(w.lake.objects.size).toBe(0);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('renews a token that the server no longer accepts', async () => {
    await using w = await world();
    w.bucket.put('a', 'x');
    w.cloud.gcs.faults.add(MEDIA, { kind: 'answer', status: 401, body: '{}' });
    expect(await w.carry()).toMatchObject({ outcome: 'complete' });
    expect(w.cloud.googleSts.requests).toHaveLength(2);
  });

  it('names the fix for requester-pays buckets and customer-supplied keys', async () => {
    await using w = await world();
    w.bucket.put('a', 'x', { customerKey: true });
    expect((await w.carry()).failures).toMatchObject([{ code: 'source_encrypted' }]);
    w.bucket.requesterPays = true;
    expect(await w.carry()).toMatchObject({
      outcome: 'failed',
      error: { hint: expect.stringContaining('userProject') },
    });
    expect(await w.carry({ source: { userProject: 'payer-project' } })).toMatchObject({
      failures: [{ code: 'source_encrypted' }],
    });
  });

  it('copies gzip objects as they are stored, also those that only say so, and objects without an MD5', async () => {
    await using w = await world();
    w.bucket.put('lies', 'not gzip at all', { contentEncoding: 'gzip', contentType: 'text/plain' });
    w.bucket.put('composed', 'a,b', { composite: true });
    expect(await w.carry()).toMatchObject({ outcome: 'complete', items: { written: 2 } });
    expect(w.lake.bytes('lies')?.toString()).toBe('not gzip at all');
    expect(w.lake.objects.get('lies')?.headers['content-encoding']).toBe('gzip');
    expect(await w.carry()).toMatchObject({ items: { unchanged: 2 } });
  });

  it('survives passing faults of a listing', async () => {
    await using w = await world();
    w.bucket.put('a', 'x');
    w.cloud.gcs.faults.add('/o?', { kind: 'answer', status: 503 });
    w.cloud.gcs.faults.add('/o?', { kind: 'reset-before' });
    expect(await w.carry()).toMatchObject({ outcome: 'complete', items: { written: 1 } });
  });

  it('stops at a listing that repeats its page token', async () => {
    await using w = await world();
    const page = JSON.stringify({ nextPageToken: 'again' });
    w.cloud.gcs.faults.add('/o?', { kind: 'answer', status: 200, body: page }, Number.POSITIVE_INFINITY);
    expect(await w.carry()).toMatchObject({ outcome: 'failed', error: { code: 'list_order' } });
  });

  it('reads with a clock that runs only while it waits for the server', async () => {
    await using w = await world();
    w.bucket.put('a', randomBytes(MIB));
    w.cloud.gcs.faults.add(MEDIA, { kind: 'stall-body', at: 1000 });
    const { GoogleClient } = await import('../../plugins/google/http.ts');
    using client = new GoogleClient({
      endpoint: w.cloud.gcs.url,
      token: undefined,
      transport: testTransport(),
      idleMs: 50,
      now: Date.now,
    });
    w.bucket.readers.add('allUsers');
    const response = await client.get({
      path: '/storage/v1/b/exports/o/a?alt=media',
      signal: new AbortController().signal,
    });
    await expect(Array.fromAsync(response.body)).rejects.toMatchObject({ code: 'timeout' });
  });
});

describe('writing', () => {
  it.each([
    [
      '503 SlowDown on a part',
      'partNumber=2',
      { kind: 'answer', status: 503, body: '<Error><Code>SlowDown</Code></Error>' },
    ],
    ['a reset before a part', 'partNumber=1', { kind: 'reset-before' }],
    ['a part whose answer is lost', 'partNumber=1', { kind: 'reset-after' }],
    ['a Complete whose answer is lost', /POST .*uploadId=/, { kind: 'reset-after' }],
    [
      'a Complete that says 200 and means an error',
      /POST .*uploadId=/,
      {
        kind: 'answer',
        status: 200,
        body: '<?xml version="1.0"?><Error><Code>InternalError</Code><Message>x</Message></Error>',
      },
    ],
    [
      'a conditional request conflict on Complete',
      /POST .*uploadId=/,
      { kind: 'answer', status: 409, body: '<Error><Code>ConditionalRequestConflict</Code></Error>' },
    ],
    [
      'an upload that someone aborted',
      'partNumber=2',
      { kind: 'answer', status: 404, body: '<Error><Code>NoSuchUpload</Code></Error>' },
    ],
  ] as const)('survives %s', async (_name, where, fault) => {
    await using w = await world();
    const bytes = randomBytes(11 * MIB);
    w.bucket.put('large', bytes);
    w.cloud.s3.faults.add(where, fault);
    expect(await w.carry()).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(w.lake.bytes('large')?.equals(bytes)).toBe(true);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('recognises its own write when the answer was lost and the condition then refuses the second try', async () => {
    await using w = await world();
    w.bucket.put('a', 'hello');
    w.cloud.s3.faults.add('PUT /lake/a', { kind: 'reset-after' });
    expect(await w.carry()).toMatchObject({ outcome: 'complete', items: { written: 1 } });
  });

  it('says conflict when what it would replace was deleted in the meantime', async () => {
    await using w = await world();
    w.bucket.put('a', 'old');
    await w.carry();
    w.bucket.put('a', 'newer');
    w.cloud.s3.faults.add('PUT /lake/a', {
      kind: 'answer',
      status: 404,
      body: '<Error><Code>NoSuchKey</Code></Error>',
    });
    expect(await w.carry()).toMatchObject({ failures: [{ code: 'conflict' }] });
  });

  it("leaves another's write alone", async () => {
    await using w = await world();
    w.bucket.put('a', 'ours');
    const body = '<Error><Code>PreconditionFailed</Code></Error>';
    w.cloud.s3.faults.add('PUT /lake/a', { kind: 'answer', status: 412, body });
    expect(await w.carry()).toMatchObject({ outcome: 'failed', failures: [{ key: 'a', code: 'conflict' }] });
    expect(w.lake.objects.size).toBe(0);
  });

  it.each([
    ['one PUT', 100_000, 'BadDigest'],
    // The sums of the parts, which S3 tells, show it before the end.
    ['a multipart upload', 11 * MIB, 'S3 has received CRC32C'],
  ])('stores no byte that was broken on the wire: %s', async (_name, size, told) => {
    await using w = await world();
    w.bucket.put('a', randomBytes(size));
    await using wire = await proxy(w.cloud.s3.url, { corrupt: Number.POSITIVE_INFINITY });
    const report = await w.carry({ s3: wire.url });
    expect(report).toMatchObject({
      outcome: 'failed',
      items: { failed: 1 },
      failures: [{ key: 'a', code: 'checksum_mismatch' }],
    });
    expect(report.failures[0]?.message).toContain(told);
    expect(w.lake.objects.size).toBe(0);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('writes again what was broken on the wire only once', async () => {
    await using w = await world();
    const bytes = randomBytes(100_000);
    w.bucket.put('a', bytes);
    await using wire = await proxy(w.cloud.s3.url, { corrupt: 1 });
    expect(await w.carry({ s3: wire.url })).toMatchObject({ outcome: 'complete' });
    expect(w.lake.bytes('a')?.equals(bytes)).toBe(true);
  });

  it.each([
    ['a bucket that does not exist', { bucket: 'nowhere' }, 'bucket_missing', 'bucket: nowhere'],
    ['a bucket in another region', { region: 'us-east-1' }, 'wrong_region', 'region: eu-west-1'],
    ['a bucket of another owner', { expectedBucketOwner: '999999999999' }, 'permission_denied', '999999999999'],
  ])('names the fix for %s', async (_name, sink, code, hint) => {
    await using w = await world();
    w.bucket.put('a', 'x');
    const report = await w.carry({ sink });
    expect(report.outcome).toBe('failed');
    expect([...report.failures, report.error].find((failure) => failure?.code === code)?.hint).toContain(hint);
  });

  it('notices a sink that is not there although there is nothing to write', async () => {
    await using w = await world();
    expect(await w.carry()).toMatchObject({ outcome: 'complete' });
    expect(await w.carry({ sink: { bucket: 'nowhere' } })).toMatchObject({
      outcome: 'failed',
      error: { code: 'bucket_missing' },
    });
  });

  it('refuses by name what S3 cannot hold, and carries the rest', async () => {
    await using w = await world();
    w.bucket.put('k'.repeat(1024), 'x');
    w.bucket.put('case', 'x', { metadata: { Owner: 'a', owner: 'b' } });
    w.bucket.put('metadata', 'x', { metadata: { note: 'n'.repeat(2049) } });
    w.bucket.put('header', 'x', { contentDisposition: 'attachment; filename="отчёт.pdf"' });
    w.bucket.put('titled', 'x', { metadata: { title: 'naïve' } });
    const report = await w.carry({ sink: { prefix: 'p/' } });
    expect(report).toMatchObject({ outcome: 'partial', items: { written: 1, refused: 4 } });
    expect(report.failures.map(({ code }) => code).sort()).toEqual([
      'key_refused',
      'metadata_refused',
      'metadata_refused',
      'metadata_refused',
    ]);
    expect(w.lake.objects.get('p/titled')?.headers['x-amz-meta-title']).toBe('=?UTF-8?B?bmHDr3Zl?=');
  });
});

describe('several sources and sinks', () => {
  it('gives every item its receipt in every sink', async () => {
    await using w = await world();
    w.bucket.put('a/1', 'one');
    w.cloud.gcs.bucket('more', [LOCAL_SERVICE_ACCOUNT]).put('b/2', 'two');
    w.cloud.s3.bucket('copy');
    const sink = (bucket: string) => ({ use: 's3', with: { bucket, region: 'eu-west-1' } });
    const source = (bucket: string) => ({ use: 'gcs', with: { bucket, identity: 'reader' } });
    const top = { source: [source('exports'), source('more')], sink: [sink('lake'), sink('copy')] };
    w.cloud.s3.faults.add('PUT /copy/b/2', {
      kind: 'answer',
      status: 403,
      body: '<Error><Code>AccessDenied</Code></Error>',
    });
    expect(await w.carry({ top })).toMatchObject({
      outcome: 'partial',
      items: { written: 3, failed: 1 },
      failures: [{ key: 'b/2', sink: 's3://copy/', code: 'permission_denied' }],
    });
    expect(await w.carry({ top })).toMatchObject({ outcome: 'complete', items: { written: 1, unchanged: 3 } });
    for (const bucket of ['lake', 'copy']) expect(w.cloud.s3.buckets.get(bucket)?.keys()).toEqual(['a/1', 'b/2']);
  });
});
