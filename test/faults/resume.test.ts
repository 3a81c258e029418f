import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { S3Upload } from '../cloud/s3-objects.ts';
import { LASTING, type World, world } from './world.ts';

const MIB = 2 ** 20;
const PART = 5 * MIB;

/** Which parts were sent since, by number. */
const partsSent = (w: World, since: number): number[] =>
  w.cloud.s3.requests
    .slice(since)
    .filter(({ method, target, status }) => method === 'PUT' && target.includes('partNumber=') && status === 200)
    .map(({ target }) => Number(/partNumber=(\d+)/.exec(target)?.[1]))
    .sort((a, b) => a - b);

/** Runs until so many parts are there, and is stopped then as a Lambda is at its end: nothing waits for what is under way. */
async function stopAfter(
  w: World,
  parts: number,
  { refused = 0, ...options }: { readonly refused?: number; readonly top?: object } = {},
): Promise<void> {
  const end = new AbortController();
  let sent = 0;
  w.cloud.s3.faults.add(
    ({ target }) => target.includes('partNumber=') && ++sent > parts,
    { kind: 'delay', ms: 60_000 },
    Number.POSITIVE_INFINITY,
  );
  const report = w.carry({ top: LASTING, sink: { partConcurrency: 1 }, runtime: { signal: end.signal }, ...options });
  while (sent <= parts) await new Promise((resolve) => setImmediate(resolve));
  end.abort();
  expect(await report).toMatchObject({ outcome: 'paused', unfinishedBytes: (parts - refused) * PART });
  w.cloud.s3.faults.clear();
}

describe('an object that was cut off in the middle', () => {
  it.each([1, 2, 3])(
    'goes on after part %i in another process: the parts that S3 has are not sent again',
    async (parts) => {
      await using w = await world();
      const bytes = randomBytes(4 * PART - 7);
      w.bucket.put('large', bytes);
      await stopAfter(w, parts);
      expect(w.cloud.s3.pendingUploads()).toBe(1);
      const before = w.cloud.s3.requests.length;
      const report = await w.carry({ top: LASTING });
      expect(report).toMatchObject({ outcome: 'complete', items: { written: 1 }, bytes: bytes.length });
      expect(partsSent(w, before)).toEqual([1, 2, 3, 4].slice(parts));
      expect(w.lake.bytes('large')?.equals(bytes)).toBe(true);
      expect(w.lake.objects.get('large')?.checksums.crc32c).toBe(w.bucket.get('large')?.crc32c);
      expect(w.cloud.s3.pendingUploads()).toBe(0);
    },
  );

  it('goes on where a server wants a checksum with each part: it is not asked anew whether it does', async () => {
    await using w = await world();
    w.lake.wantsPartSums = 'checksum missing, want "CRC32C", got ""';
    const bytes = randomBytes(4 * PART);
    w.bucket.put('large', bytes);
    await stopAfter(w, 3, { refused: 1 });
    const before = w.cloud.s3.requests.length;
    expect(await w.carry({ top: LASTING })).toMatchObject({ outcome: 'complete' });
    expect(partsSent(w, before)).toEqual([3, 4]);
    expect(w.lake.bytes('large')?.equals(bytes)).toBe(true);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('begins anew, and leaves no upload, when the source was replaced since', async () => {
    await using w = await world();
    w.bucket.put('large', randomBytes(3 * PART));
    await stopAfter(w, 2);
    const bytes = randomBytes(3 * PART);
    w.bucket.put('large', bytes);
    const before = w.cloud.s3.requests.length;
    expect(await w.carry({ top: LASTING })).toMatchObject({ outcome: 'complete', items: { written: 1 } });
    expect(partsSent(w, before)).toEqual([1, 2, 3]);
    expect(w.lake.bytes('large')?.equals(bytes)).toBe(true);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it.each([
    ['by a small one', (w: World) => void w.bucket.put('large', 'small')],
    ['by nothing', (w: World) => void w.bucket.delete('large')],
  ])('leaves no upload when it was replaced %s', async (_name, change) => {
    await using w = await world();
    w.bucket.put('large', randomBytes(2 * PART));
    w.bucket.put('other', 'x');
    await stopAfter(w, 1);
    change(w);
    expect(await w.carry({ top: LASTING })).toMatchObject({ outcome: 'complete' });
    expect(w.lake.objects.has('large')).toBe(w.bucket.get('large') !== undefined);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('sends every part again when parts would be of another size now', async () => {
    await using w = await world();
    const bytes = randomBytes(3 * PART);
    w.bucket.put('large', bytes);
    await stopAfter(w, 2);
    const before = w.cloud.s3.requests.length;
    const sink = { partSize: '6MiB' };
    // A checkpoint is one of these very options: whoever changes them says so.
    await expect(w.carry({ top: LASTING, sink, run: { resetState: true } })).resolves.toMatchObject({
      outcome: 'complete',
    });
    expect(partsSent(w, before)).toEqual([1, 2, 3]);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('begins anew when S3 has forgotten the upload', async () => {
    await using w = await world();
    const bytes = randomBytes(3 * PART);
    w.bucket.put('large', bytes);
    await stopAfter(w, 2);
    w.lake.uploads.clear();
    const before = w.cloud.s3.requests.length;
    expect(await w.carry({ top: LASTING })).toMatchObject({ outcome: 'complete' });
    expect(partsSent(w, before)).toEqual([1, 2, 3]);
  });

  it('sends a part again that S3 holds in another size', async () => {
    await using w = await world();
    const bytes = randomBytes(4 * PART);
    w.bucket.put('large', bytes);
    await stopAfter(w, 3);
    const [upload] = [...w.lake.uploads.values()] as [S3Upload];
    const second = upload.parts.get(2);
    if (second === undefined) throw new Error('there are no parts');
    upload.parts.set(2, { ...second, size: 7, chunks: [Buffer.alloc(7)] });
    const before = w.cloud.s3.requests.length;
    expect(await w.carry({ top: LASTING })).toMatchObject({ outcome: 'complete' });
    expect(partsSent(w, before)).toEqual([2, 4]);
    expect(w.lake.bytes('large')?.equals(bytes)).toBe(true);
  });

  it('is not completed of parts that hold other bytes: the checksum of the whole would not fit', async () => {
    await using w = await world();
    const bytes = randomBytes(3 * PART);
    w.bucket.put('large', bytes);
    await stopAfter(w, 2);
    const [upload] = [...w.lake.uploads.values()] as [S3Upload];
    const second = upload.parts.get(2);
    if (second === undefined) throw new Error('there is no part');
    upload.parts.set(1, second);
    expect(await w.carry({ top: LASTING })).toMatchObject({ outcome: 'complete' });
    expect(w.lake.bytes('large')?.equals(bytes)).toBe(true);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('is none of the uploads of others, which stay', async () => {
    await using w = await world();
    w.bucket.put('large', randomBytes(3 * PART));
    await stopAfter(w, 1);
    const [ours] = [...w.lake.uploads.values()] as [S3Upload];
    w.lake.uploads.set('theirs', { ...ours, id: 'theirs' });
    expect(await w.carry({ top: LASTING })).toMatchObject({ outcome: 'complete' });
    expect([...w.lake.uploads.keys()]).toEqual(['theirs']);
  });

  it.each([
    ['fails by name for a right that is missing', 403, 'AccessDenied', ['permission_denied']],
    ['begins anew after a fault that does not pass', 503, 'SlowDown', []],
  ])('%s when its parts cannot be listed, and leaves no upload', async (_name, status, code, failures) => {
    await using w = await world();
    const bytes = randomBytes(3 * PART);
    w.bucket.put('large', bytes);
    await stopAfter(w, 1);
    const answer = { kind: 'answer', status, body: `<Error><Code>${code}</Code></Error>` } as const;
    w.cloud.s3.faults.add(/^GET \/lake\/large\?.*uploadId/, answer, Number.POSITIVE_INFINITY);
    const report = await w.carry({ top: LASTING });
    expect(report.failures.map((failure) => failure.code)).toEqual(failures);
    expect(w.cloud.s3.pendingUploads()).toBe(0);
    w.cloud.s3.faults.clear();
    expect(await w.carry({ top: LASTING })).toMatchObject({ outcome: 'complete', items: { failed: 0 } });
    expect(w.lake.bytes('large')?.equals(bytes)).toBe(true);
  });

  it('is not forgotten by a run that is cut off after it has seen the object done by somebody else', async () => {
    await using w = await world();
    const top = { ...LASTING, concurrency: 1 };
    for (const key of ['a', 'b']) w.bucket.put(key, randomBytes(3 * PART));
    await stopAfter(w, 1, { top });
    await w.carry();
    w.lake.remove('b');
    // It passes `a`, which is there now, and is cut off in `b`.
    const end = new AbortController();
    let sent = 0;
    const second = ({ target }: { target: string }): boolean => target.includes('partNumber=') && ++sent > 1;
    w.cloud.s3.faults.add(second, { kind: 'delay', ms: 60_000 }, Number.POSITIVE_INFINITY);
    const cut = w.carry({ top, sink: { partConcurrency: 1 }, runtime: { signal: end.signal } });
    while (sent <= 1) await new Promise((resolve) => setImmediate(resolve));
    end.abort();
    expect(await cut).toMatchObject({ outcome: 'paused' });
    w.cloud.s3.faults.clear();
    expect(await w.carry({ top, sink: { partConcurrency: 1 } })).toMatchObject({ outcome: 'complete' });
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('is told of when the pipeline has another sink now: there nobody looks for it', async () => {
    await using w = await world();
    w.cloud.s3.bucket('other');
    w.bucket.put('large', randomBytes(3 * PART));
    await stopAfter(w, 1);
    expect(await w.carry({ top: LASTING, sink: { bucket: 'other' } })).toMatchObject({ outcome: 'complete' });
    const told = w.lines.filter((line) => line.includes('a sink that the pipeline does not have any more'));
    expect(told).toEqual([expect.stringContaining('s3://lake/')]);
    expect(w.cloud.s3.buckets.get('other')?.uploads.size).toBe(0);
  });

  it('is none of this run’s when it was begun minutes before, though nobody knows whether S3 began another', async () => {
    await using w = await world();
    w.bucket.put('large', randomBytes(3 * PART));
    await stopAfter(w, 1);
    const [ours] = [...w.lake.uploads.values()] as [S3Upload];
    w.lake.uploads.clear();
    w.lake.uploads.set('theirs', { ...ours, id: 'theirs', initiated: new Date(Date.now() - 120_000) });
    const busy = { kind: 'answer', status: 503, body: '<Error><Code>SlowDown</Code></Error>' } as const;
    w.cloud.s3.faults.add(/^POST \/lake\/large\?uploads/, busy, 4);
    expect(await w.carry()).toMatchObject({ outcome: 'complete' });
    expect([...w.lake.uploads.keys()]).toEqual(['theirs']);
  });

  it('is aborted at once where no other process would find it: without state that lasts', async () => {
    await using w = await world();
    w.bucket.put('large', randomBytes(3 * PART));
    const end = new AbortController();
    w.cloud.s3.faults.add('partNumber=2', { kind: 'delay', ms: 60_000 });
    const report = w.carry({ runtime: { signal: end.signal } });
    while (!w.cloud.s3.requests.some(({ target }) => target.includes('partNumber=3'))) await new Promise(setImmediate);
    end.abort();
    expect(await report).toMatchObject({ outcome: 'paused' });
    expect(w.cloud.s3.pendingUploads()).toBe(0);
  });

  it('loses one part, and not all, to a passing fault of one part', async () => {
    await using w = await world();
    w.bucket.put('large', randomBytes(4 * PART));
    const body = '<Error><Code>BadDigest</Code></Error>';
    w.cloud.s3.faults.add('partNumber=3', { kind: 'answer', status: 400, body });
    expect(await w.carry()).toMatchObject({ outcome: 'complete' });
    expect(partsSent(w, 0)).toEqual([1, 2, 3, 4]);
  });
});
