import type { Item, StoredObject } from '../api/item.ts';

/** How a plan decides whether an item must be written. */
export type Compare = 'checksum' | 'size' | 'always';

/** What must be done with an item, and why, in words for people. */
export interface Verdict {
  readonly action: 'create' | 'update' | 'skip';
  readonly reason: string;
  /** It must be written only since nothing proves that it need not. */
  readonly unproved?: true;
}

const skip = (reason: string): Verdict => ({ action: 'skip', reason });
const update = (reason: string): Verdict => ({ action: 'update', reason });
const unproved = (reason: string): Verdict => ({ action: 'update', reason, unproved: true });

/**
 * Compares an item with what a sink holds, from metadata alone.
 *
 * @param ask fetches all that the sink knows of the object; called only where the listing leaves a doubt.
 */
export async function compare(
  item: Item,
  stored: StoredObject | undefined,
  mode: Compare,
  ask: () => Promise<StoredObject | undefined>,
): Promise<Verdict> {
  if (stored === undefined) return { action: 'create', reason: 'not in the sink' };
  if (mode === 'always') return update('compare: always');
  if (item.size === undefined) return unproved('the size of the source is not known');
  if (item.size !== stored.size) return update(`size differs: ${item.size} and ${stored.size} bytes`);
  if (mode === 'size') return skip('same size');
  const listed = byChecksum(item, stored);
  // Equal decides; different may be an ETag that only looks like an MD5 (SSE-KMS).
  if (listed?.action === 'skip' || stored.complete === true) return listed ?? unproved('no checksum in common');
  const asked = await ask();
  if (asked === undefined) return { action: 'create', reason: 'not in the sink' };
  return byChecksum(item, asked) ?? unproved('no checksum in common');
}

function byChecksum(item: Item, stored: StoredObject): Verdict | undefined {
  for (const name of ['crc32c', 'md5'] as const) {
    const ours = item.checksums?.[name];
    const theirs = stored.checksums?.[name];
    if (ours === undefined || theirs === undefined) continue;
    const label = name === 'md5' ? 'MD5' : 'CRC32C';
    return ours === theirs ? skip(`same ${label}`) : update(`${label} differs`);
  }
  return undefined;
}
