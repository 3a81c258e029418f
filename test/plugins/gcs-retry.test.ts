import { describe, expect, it } from 'vitest';
import type { Fault } from '../cloud/faults.ts';
import { type World, world } from '../faults/world.ts';

/**
 * The scenarios that Google publishes for clients of Cloud Storage, as far as they are about what is done here: reads,
 * listings, and deletes with a precondition.
 * Source: https://github.com/googleapis/conformance-tests/blob/main/storage/v1/retry_tests.json
 */
const KIB = 1024;
const answer = (status: number): Fault => ({ kind: 'answer', status, body: '{}' });
const reset: Fault = { kind: 'reset-before' };
const PASSING: readonly (readonly [string, readonly Fault[]])[] = [
  ['return-503, return-503', [answer(503), answer(503)]],
  ['return-reset-connection, return-reset-connection', [reset, reset]],
  ['return-reset-connection, return-503', [reset, answer(503)]],
];

const METHODS: readonly (readonly [string, RegExp])[] = [
  ['storage.objects.list', /^GET .*\/o\?/],
  ['storage.objects.get (metadata)', /^GET .*\/o\/a\?(?!.*alt=media)/],
  ['storage.objects.get (media)', /^GET .*alt=media/],
  ['storage.objects.delete with ifGenerationMatch', /^DELETE .*ifGenerationMatch/],
];

async function carried(w: World): Promise<Awaited<ReturnType<World['carry']>>> {
  w.bucket.writers.add('exports-reader@acme.iam.gserviceaccount.com');
  // One object by its name asks for its metadata; a move deletes.
  const listing = await w.carry();
  w.lake.objects.clear();
  return listing.outcome === 'complete' ? await w.carry({ source: { object: 'a' }, top: { move: true } }) : listing;
}

const requestsOf = (w: World, method: RegExp): number =>
  w.cloud.gcs.requests.filter(({ method: verb, target }) => method.test(`${verb} ${target}`)).length;

describe.each(METHODS)('%s', (_name, method) => {
  it.each(PASSING)('is tried again after %s', async (_faults, faults) => {
    await using w = await world();
    w.bucket.put('a', 'x'.repeat(100));
    for (const fault of faults) w.cloud.gcs.faults.add(method, fault);
    expect(await carried(w)).toMatchObject({ outcome: 'complete' });
    expect(requestsOf(w, method)).toBeGreaterThanOrEqual(faults.length + 1);
  });

  it('is not tried again after 400, and once more after 401, with another token', async () => {
    for (const [status, tries] of [
      [400, 1],
      [401, 2],
    ] as const) {
      await using w = await world();
      w.bucket.put('a', 'x'.repeat(100));
      w.cloud.gcs.faults.add(method, answer(status), Number.POSITIVE_INFINITY);
      expect((await carried(w)).outcome).toBe('failed');
      expect(requestsOf(w, method)).toBe(tries);
    }
  });

  it('gives up after 400 that follows 503', async () => {
    await using w = await world();
    w.bucket.put('a', 'x'.repeat(100));
    w.cloud.gcs.faults.add(method, answer(503));
    w.cloud.gcs.faults.add(method, answer(400), Number.POSITIVE_INFINITY);
    expect((await carried(w)).outcome).toBe('failed');
    expect(requestsOf(w, method)).toBe(2);
  });
});

describe('a download', () => {
  it.each([
    [
      'return-broken-stream, return-broken-stream',
      [
        { kind: 'cut-body', at: 0 },
        { kind: 'cut-body', at: 0 },
      ],
    ],
    ['return-broken-stream-after-256K', [{ kind: 'cut-body', at: 256 * KIB }]],
    ['return-reset after 256K, then 503', [{ kind: 'reset-body', at: 256 * KIB }, answer(503)]],
  ] as const)('goes on after %s', async (_name, faults) => {
    await using w = await world();
    const bytes = Buffer.alloc(512 * KIB, 'isthmus ');
    const { generation } = w.bucket.put('a', bytes);
    for (const fault of faults) w.cloud.gcs.faults.add('alt=media', fault);
    expect(await w.carry()).toMatchObject({ outcome: 'complete' });
    expect(w.lake.bytes('a')?.equals(bytes)).toBe(true);
    const reads = w.cloud.gcs.requests.filter(({ target }) => target.includes('alt=media'));
    expect(reads.every(({ target }) => target.includes(`generation=${generation}`))).toBe(true);
  });
});
