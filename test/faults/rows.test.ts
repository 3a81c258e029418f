import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { BrokerError, type Item, type Source } from '../../core/api/index.ts';
import { CachedCredential } from '../../core/auth/cached.ts';
import { run } from '../../core/engine/run.ts';
import { FileState } from '../../core/state/file.ts';
import { MemoryState } from '../../core/state/memory.ts';
import { GoogleClient } from '../../plugins/google/http.ts';
import { GcsListing } from '../../plugins/google/storage/listing.ts';
import { GcsReader } from '../../plugins/google/storage/reader.ts';
import { Staging } from '../../plugins/google/storage/staging.ts';
import { s3Failure } from '../../plugins/s3/errors.ts';
import { job, numbered, sinkThat, sourceOf } from '../core/job.ts';
import { temporaryFolder, testRuntime, testTransport } from '../support.ts';
import { LASTING, type World, world } from './world.ts';

const MIB = 2 ** 20;
const MEDIA = 'alt=media';
const COMPLETE = /POST .*uploadId=/;
const xml = (code: string, message = ''): string => `<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
const reads = (w: World): number => w.cloud.gcs.requests.filter(({ target }) => target.includes(MEDIA)).length;

/** Without a token, by the transport of the tests. */
const plain = (w: World) => ({ endpoint: w.cloud.gcs.url, token: undefined, transport: testTransport() });

describe('clearing a staging folder', () => {
  it('fails when one of its objects cannot be deleted, whichever it is', async () => {
    await using w = await world();
    w.bucket.readers.add('allUsers');
    w.bucket.writers.add('allUsers');
    const folder = `${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}/`;
    for (let n = 0; n < 40; n++) w.bucket.put(`p/${folder}${n}`, 'x');
    w.cloud.gcs.faults.add(/^DELETE .*%2F3\?/, { kind: 'answer', status: 403, body: '{}' }, Number.POSITIVE_INFINITY);
    const client = new GoogleClient({ ...plain(w), now: Date.now });
    using staging = new Staging(client, { bucket: 'exports', prefix: 'p/', identity: 'nobody' });
    await expect(staging.clear(folder, new AbortController().signal)).rejects.toMatchObject({
      code: 'permission_denied',
    });
  });
});

describe('reading', () => {
  it('a body that is longer than announced is used by nobody, and tried twice', async () => {
    await using w = await world();
    w.bucket.put('a', 'x'.repeat(1000));
    w.cloud.gcs.faults.add(MEDIA, { kind: 'answer', status: 200, body: 'x'.repeat(2000) }, Number.POSITIVE_INFINITY);
    expect(await w.carry()).toMatchObject({ failures: [{ code: 'too_long' }] });
    expect(reads(w)).toBe(2);
    expect(w.lake.objects.size + w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('wrong bytes are read once more from the beginning, and no third time', async () => {
    await using w = await world();
    w.bucket.put('a', 'x'.repeat(1000));
    w.cloud.gcs.faults.add(MEDIA, { kind: 'corrupt-body', at: 10 }, Number.POSITIVE_INFINITY);
    expect(await w.carry()).toMatchObject({ failures: [{ code: 'checksum_mismatch' }] });
    expect(reads(w)).toBe(2);
  });

  it('a drip of single bytes is taken for what it is', async () => {
    await using w = await world();
    w.bucket.put('a', 'x'.repeat(5000));
    w.bucket.readers.add('allUsers');
    w.cloud.gcs.faults.add(MEDIA, { kind: 'drip-body', ms: 2 });
    using client = new GoogleClient({
      ...plain(w),
      idleMs: 5000,
      dripMs: 50,
      now: Date.now,
    });
    const response = await client.get({
      path: '/storage/v1/b/exports/o/a?alt=media',
      signal: new AbortController().signal,
    });
    await expect(Array.fromAsync(response.body)).rejects.toMatchObject({
      code: 'timeout',
      message: expect.stringContaining('drip'),
    });
  });

  it('a token that is refused while many items are in flight is renewed once for all of them', async () => {
    await using w = await world();
    for (let n = 0; n < 40; n++) w.bucket.put(`k${n}`, 'x');
    let calls = 0;
    const revoke = ({ target }: { readonly target: string }): boolean => {
      if (target.includes(MEDIA) && ++calls === 5) w.cloud.googleSts.tokens.clear();
      return false;
    };
    w.cloud.gcs.faults.add(revoke, { kind: 'delay', ms: 0 }, Number.POSITIVE_INFINITY);
    expect(await w.carry({ top: { concurrency: 8 } })).toMatchObject({ outcome: 'complete', items: { written: 40 } });
    expect(w.cloud.googleSts.requests).toHaveLength(2);
  });

  it('an object that is replaced after it was listed is carried in its new version, once', async () => {
    await using w = await world();
    w.bucket.put('a', 'old');
    let done = false;
    const replace = ({ target }: { readonly target: string }): boolean => {
      if (target.includes(MEDIA) && !done) {
        done = true;
        w.bucket.put('a', 'newer');
      }
      return false;
    };
    w.cloud.gcs.faults.add(replace, { kind: 'delay', ms: 0 }, Number.POSITIVE_INFINITY);
    expect(await w.carry()).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(w.lake.bytes('a')?.toString()).toBe('newer');
  });

  it('an object that is replaced in the middle of its reading leaves nothing that is mixed', async () => {
    await using w = await world();
    const [old, newer] = [randomBytes(11 * MIB), randomBytes(11 * MIB)];
    w.bucket.put('a', old);
    let count = 0;
    const replace = ({ target }: { readonly target: string }): boolean => {
      if (target.includes(MEDIA) && ++count === 2) w.bucket.put('a', newer);
      return false;
    };
    w.cloud.gcs.faults.add(replace, { kind: 'delay', ms: 0 }, Number.POSITIVE_INFINITY);
    expect(await w.carry({ sink: { partConcurrency: 1 } })).toMatchObject({ outcome: 'complete' });
    expect(w.lake.bytes('a')?.equals(newer)).toBe(true);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it.each([
    ['fail', 'partial', { failed: 1, skipped: 0 }],
    ['skip', 'complete', { failed: 0, skipped: 1 }],
  ] as const)(
    'an object that vanishes between its listing and its reading: missing: %s',
    async (missing, outcome, items) => {
      await using w = await world();
      w.bucket.put('a', 'x');
      w.bucket.put('b', 'x');
      const vanish = ({ target }: { readonly target: string }): boolean => {
        if (target.includes('/o/b?')) w.bucket.delete('b');
        return false;
      };
      w.cloud.gcs.faults.add(vanish, { kind: 'delay', ms: 0 }, Number.POSITIVE_INFINITY);
      expect(await w.carry({ top: { missing } })).toMatchObject({ outcome, items: { written: 1, ...items } });
    },
  );

  it('an object of which no CRC32C is published is refused: nothing would prove the copy', async () => {
    await using w = await world();
    w.bucket.put('a', 'x', { crc32c: false });
    w.bucket.put('b', 'x');
    w.cloud.gcs.faults.add(MEDIA, { kind: 'corrupt-body', at: 0 }, 1);
    expect(await w.carry()).toMatchObject({
      items: { written: 1, refused: 1 },
      failures: [{ key: 'a', code: 'unverifiable' }],
    });
    expect(w.lake.keys()).toEqual(['b']);
  });

  it('an object of which a listing shows no CRC32C, and that may not be looked at, is refused for that', async () => {
    await using w = await world();
    w.bucket.put('a', 'x', { crc32c: false });
    w.bucket.put('b', 'x');
    w.cloud.gcs.faults.add('/o/a?', { kind: 'answer', status: 403, body: '{}' }, Number.POSITIVE_INFINITY);
    expect(await w.carry()).toMatchObject({
      items: { written: 1, refused: 1 },
      failures: [{ key: 'a', code: 'permission_denied' }],
    });
  });

  it.each([
    ['that the source names', { source: { object: 'a' } }],
    ['of a list', { source: { manifest: 'list.csv' } }],
    ['of an event', { run: { only: { key: 'a' } } }],
  ])('an object %s of which no CRC32C is published is refused just so', async (_name, options) => {
    await using w = await world();
    w.bucket.put('a', 'x', { crc32c: false });
    await writeFile(join(w.folder, 'list.csv'), 'a\n');
    expect((await w.carry(options)).failures).toMatchObject([{ key: 'a', code: 'unverifiable' }]);
    expect(w.lake.objects.size).toBe(0);
  });

  it.each([
    ['a KMS key that may not be used', 403, 'Permission denied on Cloud KMS key.', 'cloudkms.cryptoKeyDecrypter'],
    ['a KMS key that is disabled', 400, 'Cloud KMS key projects/p is disabled', 'Enable the KMS key'],
    [
      'a perimeter',
      403,
      "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: UNIQUE-ID",
      'administrator',
    ],
  ])('%s is named, with what to do, and not tried again', async (_name, status, message, hint) => {
    await using w = await world();
    w.bucket.put('a', 'x');
    w.cloud.gcs.faults.add(
      MEDIA,
      { kind: 'answer', status, body: JSON.stringify({ error: { message } }) },
      Number.POSITIVE_INFINITY,
    );
    const { failures } = await w.carry();
    expect(failures[0]?.hint).toContain(hint);
    expect(failures[0]?.message).toContain(message);
    expect(reads(w)).toBe(1);
  });
});

describe('a stall', () => {
  it('in the middle of a body is gone on from at the next byte', async () => {
    await using w = await world();
    const bytes = randomBytes(2 * MIB);
    const { generation } = w.bucket.put('a', bytes);
    w.bucket.readers.add('allUsers');
    w.cloud.gcs.faults.add(MEDIA, { kind: 'stall-body', at: MIB });
    const place = { bucket: 'exports', prefix: '', identity: 'nobody' };
    using client = new GoogleClient({ ...plain(w), idleMs: 100, now: Date.now });
    const listing = new GcsListing(client, place);
    const signal = new AbortController().signal;
    const [item] = await Array.fromAsync(listing.items(undefined, signal));
    if (item === undefined) throw new Error('nothing is listed');
    const stream = await new GcsReader(client, place, listing).open(item, { signal });
    const got: Uint8Array[] = [];
    for await (const chunk of stream) {
      // Whoever reads slowly is no server that stalls.
      if (got.length === 0) await new Promise((resolve) => setTimeout(resolve, 150));
      got.push(Buffer.from(chunk));
    }
    expect(Buffer.concat(got).equals(bytes)).toBe(true);
    expect(
      w.cloud.gcs.requests
        .filter(({ target }) => target.includes(`generation=${generation}`))
        .map(({ status }) => status),
    ).toEqual([200, 206]);
  });
});

describe('a server that decompresses', () => {
  it('although it was asked not to is noticed: the bytes would not be those that are stored', async () => {
    await using w = await world();
    w.bucket.put('a', 'stored as gzip', { contentEncoding: 'gzip' });
    const headers = { 'x-goog-stored-content-encoding': 'gzip' };
    w.cloud.gcs.faults.add(
      MEDIA,
      { kind: 'answer', status: 200, headers, body: 'decompressed!!' },
      Number.POSITIVE_INFINITY,
    );
    expect(await w.carry()).toMatchObject({ outcome: 'failed', error: { code: 'bad_response' } });
    expect(w.lake.objects.size).toBe(0);
  });
});

describe('listing', () => {
  it('a loop of page tokens ends the run', async () => {
    await using w = await world();
    const page = (token: string) =>
      ({ kind: 'answer', status: 200, body: JSON.stringify({ nextPageToken: token }) }) as const;
    w.cloud.gcs.faults.add(/o\?(?!.*pageToken)/, page('A'), Number.POSITIVE_INFINITY);
    w.cloud.gcs.faults.add('pageToken=A', page('B'), Number.POSITIVE_INFINITY);
    w.cloud.gcs.faults.add('pageToken=B', page('A'), Number.POSITIVE_INFINITY);
    expect(await w.carry()).toMatchObject({ outcome: 'failed', error: { code: 'list_order' } });
  });

  it('empty pages with a token are passed over', async () => {
    await using w = await world();
    w.bucket.put('a', 'x');
    const token = Buffer.from('').toString('base64url') || 'AA';
    w.cloud.gcs.faults.add('/o?', { kind: 'answer', status: 200, body: JSON.stringify({ nextPageToken: token }) });
    expect(await w.carry()).toMatchObject({ outcome: 'complete', items: { written: 1 } });
  });

  it('of a sink that repeats its token ends the run', async () => {
    await using w = await world();
    w.bucket.put('a', 'x');
    const body =
      '<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>T</NextContinuationToken></ListBucketResult>';
    w.cloud.s3.faults.add('list-type=2', { kind: 'answer', status: 200, body }, Number.POSITIVE_INFINITY);
    expect(await w.carry()).toMatchObject({ outcome: 'failed', error: { code: 'list_order' } });
  });

  it.each([
    ['in the middle', '<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents>'],
    ['before its first object', '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>lake</Name>'],
  ])('of a sink that ends %s is no listing: what is missing in it is not there for anybody', async (_name, body) => {
    await using w = await world();
    w.bucket.put('a', 'x');
    w.cloud.s3.faults.add('list-type=2', { kind: 'answer', status: 200, body }, Number.POSITIVE_INFINITY);
    expect(await w.carry()).toMatchObject({ error: { code: 'bad_response', message: /cut off/ as never } });
    expect(w.lake.objects.size).toBe(0);
  });

  it('what comes and goes between pages is neither carried twice nor lost for the next run', async () => {
    await using w = await world();
    for (let n = 0; n < 1500; n++) w.bucket.put(`k${String(n).padStart(4, '0')}`, 'x');
    const change = ({ target }: { readonly target: string }): boolean => {
      if (target.includes('pageToken=')) {
        w.bucket.put('k0000-late', 'behind');
        w.bucket.put('k1400-late', 'ahead');
        w.bucket.delete('k1450');
      }
      return false;
    };
    w.cloud.gcs.faults.add(change, { kind: 'delay', ms: 0 }, 1);
    expect(await w.carry({ top: { concurrency: 32 } })).toMatchObject({
      outcome: 'complete',
      items: { written: 1500 },
    });
    w.cloud.gcs.faults.clear();
    expect(await w.carry()).toMatchObject({ outcome: 'complete', items: { written: 1, unchanged: 1500 } });
    expect(w.lake.objects.has('k0000-late')).toBe(true);
  });
});

describe('writing', () => {
  it.each([
    ['once', 1, 'complete'],
    ['for ever', Number.POSITIVE_INFINITY, 'failed'],
  ] as const)('credentials that S3 says have ended, %s', async (_name, times, outcome) => {
    await using w = await world();
    w.bucket.put('a', randomBytes(11 * MIB));
    w.cloud.s3.faults.add('partNumber=2', { kind: 'answer', status: 400, body: xml('ExpiredToken') }, times);
    expect(await w.carry()).toMatchObject({ outcome });
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it.each([
    ['blanks, and was carried out', { after: true as const }],
    ['blanks, and was not carried out', {}],
  ])('a Complete that answers %s', async (_name, more) => {
    await using w = await world();
    const bytes = randomBytes(11 * MIB);
    w.bucket.put('a', bytes);
    w.cloud.s3.faults.add(COMPLETE, { kind: 'answer', status: 200, body: '   \n', ...more });
    expect(await w.carry()).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(w.lake.bytes('a')?.equals(bytes)).toBe(true);
    expect(
      w.cloud.s3.requests.filter(({ target, status }) => target.includes('uploads') && status === 200).length,
    ).toBe(1);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('a Complete whose answer was lost, and that S3 then knows nothing of, is looked for before it is said to have failed', async () => {
    await using w = await world();
    const bytes = randomBytes(11 * MIB);
    w.bucket.put('a', bytes);
    w.cloud.s3.faults.add(COMPLETE, { kind: 'reset-after' });
    w.cloud.s3.faults.add(COMPLETE, { kind: 'answer', status: 404, body: xml('NoSuchUpload') });
    expect(await w.carry()).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(
      w.cloud.s3.requests.filter(({ method, target }) => method === 'POST' && target.includes('uploads')).length,
    ).toBe(1);
  });

  it('the same bytes that somebody else has written meanwhile are success', async () => {
    await using w = await world();
    w.bucket.put('a', 'same');
    w.cloud.s3.faults.add('PUT /lake/a', { kind: 'answer', status: 412, body: xml('PreconditionFailed'), after: true });
    expect(await w.carry()).toMatchObject({ outcome: 'complete' });
  });

  it('a conflict of two conditional PUTs is tried again', async () => {
    await using w = await world();
    w.bucket.put('a', 'x');
    w.cloud.s3.faults.add('PUT /lake/a', { kind: 'answer', status: 409, body: xml('ConditionalRequestConflict') });
    expect(await w.carry()).toMatchObject({ outcome: 'complete', items: { written: 1 } });
  });

  it('503 SlowDown on a PUT is tried again', async () => {
    await using w = await world();
    w.bucket.put('a', 'x');
    w.cloud.s3.faults.add('PUT /lake/a', { kind: 'answer', status: 503, body: xml('SlowDown') }, 2);
    expect(await w.carry()).toMatchObject({ outcome: 'complete' });
  });

  it('an upload that cannot be aborted is tried twice, and told of', async () => {
    await using w = await world();
    w.bucket.put('a', randomBytes(11 * MIB));
    w.cloud.s3.faults.add(
      'partNumber=2',
      { kind: 'answer', status: 403, body: xml('AccessDenied') },
      Number.POSITIVE_INFINITY,
    );
    w.cloud.s3.faults.add(/DELETE .*uploadId/, { kind: 'answer', status: 400, body: xml('InternalError') }, 1);
    await w.carry();
    expect(w.cloud.s3.pendingUploads()).toBe(0);
    w.cloud.s3.faults.add(
      /DELETE .*uploadId/,
      { kind: 'answer', status: 403, body: xml('AccessDenied') },
      Number.POSITIVE_INFINITY,
    );
    await w.carry();
    expect(w.lines.join('\n')).toContain('an upload was left behind');
    expect(w.lines.join('\n')).toContain('lifecycle rule');
  });

  it.each([
    ['a lock on the object', xml('AccessDenied', 'Access Denied because object protected by object lock.'), 'locked'],
    [
      'a policy that demands encryption',
      xml('AccessDenied', 'with an explicit deny in a resource-based policy'),
      'encryption',
    ],
    ['a KMS key that is disabled', xml('KMS.DisabledException', 'arn:aws:kms:x is disabled.'), 'KMS key'],
  ])('%s is named, with what to do, and not tried again', async (_name, body, hint) => {
    await using w = await world();
    w.bucket.put('a', 'x');
    const status = body.includes('KMS.') ? 400 : 403;
    w.cloud.s3.faults.add('PUT /lake/a', { kind: 'answer', status, body }, Number.POSITIVE_INFINITY);
    const { failures } = await w.carry();
    expect(failures).toMatchObject([{ code: 'permission_denied', hint: expect.stringContaining(hint) }]);
    expect(
      w.cloud.s3.requests.filter(({ method, target }) => method === 'PUT' && target.startsWith('/lake/a')).length,
    ).toBe(1);
  });

  it('a source that ends early without an error stores nothing', async () => {
    const item: Item = { id: 's:a#1', key: 'a', size: 10, ref: null };
    const source: Source = {
      location: 's:',
      async *list() {
        yield item;
      },
      open: async () =>
        (async function* () {
          yield Buffer.from('short');
        })(),
    };
    const sink = sinkThat(async () => {});
    const report = await run(job({ sources: [source], sinks: [sink] }), { runtime: testRuntime() });
    expect(report.failures).toMatchObject([{ code: 'truncated' }]);
    expect(sink.inner.objects.size).toBe(0);
  });

  it('names of every kind go through both clouds and back exactly', async () => {
    await using w = await world();
    const names = [
      'nfc-\u00e9',
      'nfd-e\u0301',
      'cr\rlf\n',
      'tab\t',
      'one\u0001',
      'not a character \ufffe',
      '%2F',
      '%252F',
      'a?b#c',
      '"quotes\'',
      'a+b c',
      '<&>',
      '..',
      './x',
      'a/../b',
      '/lead',
      'a//b',
      'trail/x/',
      'back\\slash',
      '\u{1f600}',
    ];
    for (const name of names) w.bucket.put(name, `of ${name}`);
    expect(await w.carry()).toMatchObject({ outcome: 'complete', items: { written: names.length } });
    for (const name of names) expect(w.lake.bytes(name)?.toString()).toBe(`of ${name}`);
    expect(await w.carry()).toMatchObject({ items: { unchanged: names.length, written: 0 } });
  });

  it('an object at the limits of parts is cut so that 10,000 hold it, and one beyond those of S3 is refused', async () => {
    const { partRanges, partSizeOf, growingPartSize } = await import('../../plugins/s3/parts.ts');
    for (const size of [80_000 * MIB, 80_000 * MIB + 1, 48 * 2 ** 40]) {
      const partSize = partSizeOf(size, { partSize: 8 * MIB }, 'streamed');
      expect(Math.ceil(size / partSize)).toBeLessThanOrEqual(10_000);
    }
    expect([...partRanges(80_000 * MIB, 8 * MIB)].length).toBe(10_000);
    expect(growingPartSize(1, {}, 2 ** 40)).toBe(8 * MIB);
    let total = 0;
    for (let number = 1; number <= 10_000; number++) total += growingPartSize(number, {}, 2 ** 40);
    expect(total).toBeGreaterThan(50 * 1000 ** 4);
    expect(() => growingPartSize(10_001, {}, 2 ** 40)).toThrow(BrokerError);
    const { s3Refusal } = await import('../../plugins/s3/headers.ts');
    const { s3Config } = await import('../../plugins/s3/config.ts');
    const item = { id: 'x', key: 'x', size: 51 * 1000 ** 4, ref: null };
    expect(s3Refusal(item, s3Config.parse({ bucket: 'lake' }))).toMatchObject({ code: 'too_large' });
  });
});

describe('two runs at once', () => {
  it('of one pipeline on record: the second says who is under way, and touches nothing', async () => {
    await using w = await world();
    const bytes = randomBytes(11 * MIB);
    w.bucket.put('a', bytes);
    const held = Promise.withResolvers<void>();
    let begun = false;
    const holdFirst = ({ target }: { readonly target: string }): boolean => {
      if (target.includes('partNumber=') && !begun) {
        begun = true;
        w.cloud.s3.hold = held.promise;
      }
      return false;
    };
    w.cloud.s3.faults.add(holdFirst, { kind: 'delay', ms: 0 });
    const first = w.carry({ top: LASTING });
    await vi.waitUntil(() => begun, { timeout: 10_000, interval: 1 });
    w.cloud.s3.hold = undefined;
    await expect(w.carry({ top: LASTING })).rejects.toMatchObject({
      code: 'busy',
      message: expect.stringContaining('is under way'),
    });
    held.resolve();
    expect(await first).toMatchObject({ outcome: 'complete' });
    expect(w.lake.bytes('a')?.equals(bytes)).toBe(true);
  });

  it('that are too short to be on record do the same work twice, and harm nothing', async () => {
    await using w = await world();
    for (let n = 0; n < 20; n++) w.bucket.put(`k${n}`, `value ${n}`);
    const reports = await Promise.all([w.carry(), w.carry()]);
    for (const { outcome, failures } of reports) expect([outcome, failures]).toEqual(['complete', []]);
    for (let n = 0; n < 20; n++) expect(w.lake.bytes(`k${n}`)?.toString()).toBe(`value ${n}`);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });
});

describe('clocks', () => {
  it('that are set back in a run give no negative time, and the paused run goes on', async () => {
    const state = new MemoryState();
    const stop = new AbortController();
    let at = Date.now();
    let seen = 0;
    const sources = [sourceOf(numbered(20))];
    const observer = {
      receipt: () => {
        if (++seen === 5) at -= 3_600_000;
        if (seen === 8) stop.abort();
      },
    };
    const options = { state, sources, concurrency: 1 };
    const paused = await run(job(options), { runtime: testRuntime({ now: () => at, stop: stop.signal }), observer });
    expect(paused.outcome).toBe('paused');
    expect(paused.durationMs).toBeGreaterThanOrEqual(0);
    expect(await run(job(options), { runtime: testRuntime({ now: () => at }) })).toMatchObject({ outcome: 'complete' });
  });

  it('that are set back do not keep a credential from being fetched', async () => {
    let now = 10_000_000_000;
    const cached = new CachedCredential<string>(() => now);
    const fail = async () => {
      throw new BrokerError('network', 'down');
    };
    await expect(cached.get(fail)).rejects.toMatchObject({ code: 'network' });
    now -= 3_600_000;
    expect(await cached.get(async () => ({ value: 'token', expiresAt: now + 3_600_000 }))).toBe('token');
  });
});

describe('the machine', () => {
  it('has no space: the file state says so, leaves no lock, and keeps what it had', async () => {
    await using folder = await temporaryFolder();
    const script = `
      import { FileState } from ${JSON.stringify(new URL('../../core/state/file.ts', import.meta.url).href)};
      const state = new FileState(${JSON.stringify(join(folder.path, 'state'))});
      const signal = new AbortController().signal;
      const revision = await state.save('p', 'small', undefined, { signal });
      try { await state.save('p', 'x'.repeat(5_000_000), revision, { signal }); console.log('saved'); }
      catch (error) { console.log(error.code); }
    `;
    const file = join(folder.path, 'fill.ts');
    await writeFile(file, script);
    // A limit on the size of files stands for a disk that is full: EFBIG here, ENOSPC there.
    const { stdout } = await promisify(execFile)('sh', [
      '-c',
      `ulimit -f 2000; exec "${process.execPath}" "${file}"`,
    ]).catch((error: { stdout: string }) => error);
    expect(stdout.trim()).not.toBe('saved');
    expect(await readdir(join(folder.path, 'state'))).toEqual(['p.json']);
    const state = new FileState(join(folder.path, 'state'));
    expect((await state.load('p'))?.value).toBe('small');
  });

  it('has no space for a plan: that is told, also when only its end has none, and no part of it is left', async () => {
    await using w = await world();
    for (let n = 0; n < 60; n++) w.bucket.put(`k${n}`, 'x');
    const plan = join(w.folder, 'plan.jsonl');
    const file = await w.write();
    const main = join(import.meta.dirname, '../../config/main-cli.ts');
    // Files of at most 8 blocks; the stream holds back more than that until its end.
    const limited = `ulimit -f 8; exec "${process.execPath}" "${main}" plan "${file}" --out "${plan}"`;
    const env = { ...process.env, ...w.cloud.environment };
    await expect(promisify(execFile)('sh', ['-c', limited], { env })).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('plan.jsonl: EFBIG'),
    });
    expect((await readdir(w.folder)).filter((name) => name.startsWith('plan'))).toEqual([]);
  });

  it('allows no more open files: that is named, with what to do', () => {
    const error = Object.assign(new Error('too many open files'), { code: 'EMFILE' });
    const config = { bucket: 'lake', prefix: '', region: 'eu-west-1' } as never;
    expect(s3Failure(error, 'write s3://lake/a', 's3:PutObject', config)).toMatchObject({
      code: 'machine_limit',
      hint: expect.stringContaining('ulimit -n'),
    });
  });

  it.each([
    'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
    'CERT_HAS_EXPIRED',
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'ERR_TLS_CERT_ALTNAME_INVALID',
    'ENOTFOUND',
  ])('%s is told with the host', (code) => {
    const error = Object.assign(new Error('no'), { code });
    const config = { bucket: 'lake', prefix: '', region: 'eu-west-1' } as never;
    expect(s3Failure(error, 'write s3://lake/a', 's3:PutObject', config)).toMatchObject({
      code: 'network',
      message: `write s3://lake/a: s3.eu-west-1.amazonaws.com: ${code}`,
    });
  });

  it('closes the standard output: what is under way goes on, and the exit code tells', async () => {
    await using w = await world();
    for (let n = 0; n < 5; n++) w.bucket.put(`k${n}`, 'x');
    const file = await w.write();
    const main = new URL('../../config/main-cli.ts', import.meta.url).pathname;
    const env = { ...process.env, ...w.cloud.environment };
    const command = `"${process.execPath}" "${main}" run "${file}" --json; echo "code $?" >&2`;
    const { stderr } = await promisify(execFile)('bash', ['-c', `{ ${command}; } | true`], { env });
    expect(w.lake.objects.size).toBe(5);
    expect(stderr).toMatch(/could not be written: EPIPE[\s\S]*code 1|code 0/);
  });
});

describe('the state', () => {
  it('that was lost makes the next run look at everything, and skip nothing', async () => {
    await using w = await world();
    for (let n = 0; n < 20; n++) w.bucket.put(`k${String(n).padStart(2, '0')}`, 'x');
    const stop = new AbortController();
    let puts = 0;
    const half = ({ method, target }: { readonly method: string; readonly target: string }): boolean => {
      if (method === 'PUT' && target.startsWith('/lake/') && ++puts === 10) stop.abort();
      return false;
    };
    w.cloud.s3.faults.add(half, { kind: 'delay', ms: 0 }, Number.POSITIVE_INFINITY);
    const top = { ...LASTING, concurrency: 1 };
    expect(await w.carry({ top, runtime: { stop: stop.signal } })).toMatchObject({ outcome: 'paused' });
    w.cloud.s3.buckets.get('state')?.objects.clear();
    const report = await w.carry({ top });
    expect(report).toMatchObject({ outcome: 'complete' });
    expect(report.items.written + report.items.unchanged).toBe(20);
    expect(w.lake.objects.size).toBe(20);
  });

  it.each([
    ['is not JSON', 'oops', 'it is not what was saved there'],
    ['is cut off', '{"savedBy":"x","val', 'it is not what was saved there'],
    ['is of a newer release', '{"savedBy":"x","value":{"version":9}}', 'version 9'],
    [
      'is of another pipeline',
      '{"savedBy":"x","value":{"version":1,"pipeline":"other","fingerprint":"f","runId":"r","tally":{"items":{"written":0,"unchanged":0,"deleted":0,"refused":0,"failed":0},"bytes":0,"durationMs":0,"failures":[],"failuresOmitted":0}}}',
      'other',
    ],
  ])('that %s ends the run, and is never guessed at', async (_name, text, why) => {
    await using w = await world();
    w.bucket.put('a', 'x');
    const state = w.cloud.s3.buckets.get('state');
    const bytes = Buffer.from(text);
    const model = {
      headers: {},
      tags: undefined,
      checksums: {},
      checksumType: 'FULL_OBJECT',
      parts: undefined,
      version: undefined,
    } as const;
    state?.store({
      ...model,
      key: 'faults.json',
      size: bytes.length,
      etag: '"e"',
      lastModified: new Date(),
      chunks: [bytes],
    });
    await expect(w.carry({ top: LASTING })).rejects.toMatchObject({
      code: 'state_unreadable',
      message: expect.stringContaining(why),
      hint: expect.stringContaining('--reset-state'),
    });
    expect(w.lake.objects.size).toBe(0);
    expect(await w.carry({ top: LASTING, run: { resetState: true } })).toMatchObject({ outcome: 'complete' });
  });
});

describe('texts', () => {
  it('of a million characters, or that look like a token, are cut and blotted out in errors', () => {
    const error = new BrokerError('internal', `key ${'k'.repeat(1_000_000)}`);
    expect(error.message.length).toBeLessThan(700);
    expect(new BrokerError('internal', 'ya29.secret-token-of-google').message).toBe('[hidden]');
  });
});

describe('a folder', () => {
  it('that was made in the console makes no run partial: the one that the prefix names is left out, and counted', async () => {
    await using w = await world();
    w.bucket.put('2026/', '');
    w.bucket.put('2026/dir/', '');
    w.bucket.put('2026/dir/a', 'x');
    const report = await w.carry({ source: { prefix: '2026/' } });
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 2, skipped: 1 } });
    await mkdir(join(w.folder, 'out'));
    const toFolder = { sink: { use: 'file', with: { path: 'out' } } };
    const skipping = await w.carry({ source: { prefix: '2026/' }, top: { ...toFolder, folderMarkers: 'skip' } });
    expect(skipping).toMatchObject({ outcome: 'complete', items: { written: 1, skipped: 2 } });
    const copying = await w.carry({ source: { prefix: '2026/' }, top: toFolder });
    expect(copying.failures).toMatchObject([{ key: 'dir/', code: 'key_refused' }]);
  });
});
