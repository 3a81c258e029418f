import type { Item, Made, StoredObject } from '../api/item.ts';

/** How a plan decides whether an item must be written. */
export type Compare = 'checksum' | 'size' | 'modified' | 'always';

/** What a plan does with what is there and differs. */
export type Overwrite = 'different' | 'never' | 'ifNewer';

/** What must be done with an item, and why, in words for people. */
export interface Verdict {
  readonly action: 'create' | 'update' | 'skip';
  readonly reason: string;
  /** It must be written only since nothing proves that it need not. */
  readonly unproved?: true;
  /** Of a skip: it differs, or may, and a rule of the pipeline leaves it so. */
  readonly left?: true;
}

const skip = (reason: string): Verdict => ({ action: 'skip', reason });
const update = (reason: string): Verdict => ({ action: 'update', reason });
const unproved = (reason: string): Verdict => ({ action: 'update', reason, unproved: true });
const leave = (reason: string): Verdict => ({ action: 'skip', reason, left: true });

const NOT_THERE: Verdict = { action: 'create', reason: 'not in the sink' };

/** An item and what a listing shows of it in the sink. */
export interface Pair {
  readonly item: Item;
  readonly stored: StoredObject | undefined;
}

/**
 * Compares an item with what a sink holds, from the metadata that listings show.
 *
 * @returns undefined where they leave a doubt: then the sink must be asked for all it knows (`compareAsked`).
 */
export function compareListed({ item, stored }: Pair, mode: Compare, overwrite: Overwrite): Verdict | undefined {
  if (mode === 'always') return update('compare: always');
  if (stored === undefined) return NOT_THERE;
  const verdict = judge(item, stored, mode);
  // What is not to be overwritten need not be looked at any closer.
  if (overwrite === 'never') return verdict?.action === 'skip' ? verdict : leave('it is there; overwrite: never');
  return verdict && ruled({ item, stored }, verdict, overwrite);
}

/** Compares an item with all that a sink knows of it. */
export function compareAsked({ item, stored }: Pair, overwrite: Overwrite, mode: Compare = 'checksum'): Verdict {
  if (stored === undefined) return NOT_THERE;
  const verdict =
    item.made === undefined ? byChecksum(item, stored) : askedMade({ ...item, made: item.made }, stored, mode);
  return ruled({ item, stored }, verdict ?? unproved('no checksum in common'), overwrite);
}

function judge(item: Item, stored: StoredObject, mode: Compare): Verdict | undefined {
  if (item.made !== undefined) return judgeMade(item, stored, mode);
  const isKnown = item.checksums?.crc32c !== undefined || item.checksums?.md5 !== undefined;
  if (item.size === undefined && !(mode === 'checksum' && isKnown))
    return unproved('the size of the source is not known');
  if (item.size !== undefined && item.size !== stored.size)
    return update(`size differs: ${item.size} and ${stored.size} bytes`);
  if (mode === 'size') return skip('same size');
  if (mode === 'modified') {
    const order = age(item, stored);
    if (order === undefined) return unproved('the time of the last change is not known');
    return order > 0 ? update('changed in the source since it was written') : skip('same size, not changed since');
  }
  const listed = byChecksum(item, stored);
  // Equal decides; different may be an ETag that only looks like an MD5 (SSE-KMS).
  if (listed?.action === 'skip' || stored.complete === true) return listed ?? unproved('no checksum in common');
  return undefined;
}

/** What steps made of an item has neither its size nor its checksums: the listing decides only what is older. */
function judgeMade(item: Item, stored: StoredObject, mode: Compare): Verdict | undefined {
  const order = mode === 'modified' ? age(item, stored) : undefined;
  return order !== undefined && order > 0 ? update('changed in the source since it was written') : undefined;
}

/** By what it was made of. A sink that does not keep that, as a folder, has the time alone, where that is asked for. */
function askedMade(item: Item & { readonly made: Made }, stored: StoredObject, mode: Compare): Verdict {
  if (mode !== 'modified' || stored.origin !== undefined) return byOrigin(item.made, stored);
  const order = age(item, stored);
  if (order === undefined) return unproved('the time of the last change is not known');
  return order > 0 ? update('changed in the source since it was written') : skip('not changed since it was made');
}

function byOrigin({ origin, by }: Made, stored: StoredObject): Verdict {
  if (stored.origin === undefined) return unproved('the sink does not tell of what it was made');
  return stored.origin === origin
    ? skip('made of the same version by the same steps')
    : update(`made of another version, or by other steps than ${by}`);
}

function ruled(pair: Pair, verdict: Verdict, overwrite: Overwrite): Verdict {
  if (verdict.action !== 'update' || overwrite !== 'ifNewer' || pair.stored === undefined) return verdict;
  const order = age(pair.item, pair.stored);
  if (order === undefined) return leave('which one is newer is not known; overwrite: ifNewer');
  return order > 0 ? verdict : leave('the one in the sink is not older; overwrite: ifNewer');
}

/** Above zero when the item is the newer one; both times are those of their clouds. */
function age(item: Item, stored: StoredObject): number | undefined {
  const order = Date.parse(item.modifiedAt ?? '') - Date.parse(stored.modifiedAt ?? '');
  return Number.isNaN(order) ? undefined : order;
}

const SAME = { crc32c: skip('same CRC32C'), md5: skip('same MD5') } as const;

function byChecksum(item: Item, stored: StoredObject): Verdict | undefined {
  for (const name of ['crc32c', 'md5'] as const) {
    const ours = item.checksums?.[name];
    const theirs = stored.checksums?.[name];
    if (ours === undefined || theirs === undefined) continue;
    const label = name === 'md5' ? 'MD5' : 'CRC32C';
    return ours === theirs ? SAME[name] : update(`${label} differs`);
  }
  return undefined;
}
