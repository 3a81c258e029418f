import { ahead } from '../api/ahead.ts';
import type { ByteStream } from '../api/bytes.ts';
import { asBrokerError } from '../api/errors.ts';
import { compareAsked } from './compare.ts';
import type { Crc32cPool } from './crc32c.ts';
import { withExtras } from './extras.ts';
import { refusal } from './naming.ts';
import { type Action, type PlanOptions, plan } from './plan.ts';

/** What is wrong with one key of one sink. Plain data. */
export interface Finding {
  /** `unproved`: both have it, in the same size, and no checksum in common. `extra`: no source has it. */
  readonly finding: 'missing' | 'different' | 'unproved' | 'refused' | 'extra';
  readonly key: string;
  /** Places in the pipeline's lists, from 0. */
  readonly sink: number;
  readonly source?: number;
  readonly reason: string;
  /** In the source; of an extra one in the sink. */
  readonly bytes?: number;
}

export interface VerifyOptions extends Omit<PlanOptions, 'compare' | 'overwrite' | 'last' | 'after' | 'only'> {
  /** Look for what no source has, too; that lists everything a second time. */
  readonly extras: boolean;
  /** Called for each item that a rule leaves out. */
  readonly left?: () => void;
  /** Read what the sinks hold, so many objects at once; in a source only what publishes no checksum. */
  readonly deep?: { readonly hashers: Crc32cPool; readonly concurrency: number } | undefined;
}

/**
 * Compares both sides, in key order and constant memory: by size and checksum without reading any content, or by
 * reading.
 *
 * @yields `undefined` for each pair that is the same.
 */
export async function* verify(options: VerifyOptions): AsyncGenerator<Finding | undefined> {
  const { deep, extras, sinks } = options;
  // What a run may not overwrite is different all the same.
  const rules = { compare: deep === undefined ? 'checksum' : 'size', overwrite: 'different' } as const;
  const compared = actionsOf({ ...options, ...rules });
  const actions =
    deep === undefined ? compared : ahead(compared, deep.concurrency, (one) => read(one, options, deep.hashers));
  // What a rule leaves out is not to be there.
  for await (const action of actions) {
    if (action.left === true) options.left?.();
    else yield action.action === 'skip' ? undefined : findingOf(action);
  }
  if (!extras) return;
  for (const sink of sinks.keys())
    for await (const { stored, extra } of withExtras(options, sink))
      if (extra) yield { finding: 'extra', key: stored.key, sink, reason: 'no source has it', bytes: stored.size };
}

async function* actionsOf(options: PlanOptions): AsyncGenerator<Action> {
  for await (const { actions } of plan(options)) yield* actions;
}

function findingOf({ action, item, source, sink, reason, code, unproved }: Action): Finding {
  const base = { key: item.key, sink, source, ...(item.size === undefined ? {} : { bytes: item.size }) };
  if (action === 'refuse') return { finding: 'refused', ...base, reason: `${code}: ${reason}` };
  if (action === 'create') return { finding: 'missing', ...base, reason };
  return { finding: unproved === true ? 'unproved' : 'different', ...base, reason };
}

/** An action of a comparison by size, decided by the bytes instead. */
async function read(action: Action, options: VerifyOptions, hashers: Crc32cPool): Promise<Action> {
  const { item, stored, left } = action;
  const [source, sink] = [options.sources[action.source], options.sinks[action.sink]];
  if (stored === undefined || left === true || action.action === 'refuse') return action;
  if (item.size !== undefined && item.size !== stored.size) return action;
  const { signal } = options;
  try {
    if (source === undefined || sink?.read === undefined) return action;
    if (item.made?.once === true) {
      const known = await sink.stat?.(item.key, { signal });
      return { ...action, ...compareAsked({ item, stored: known }, 'different') };
    }
    const theirs = await sumOf(await sink.read(stored, { signal }), hashers, signal);
    const ours = item.checksums?.crc32c ?? (await sumOf(await source.open(item, { signal }), hashers, signal));
    if (ours === theirs) return { ...action, action: 'skip', reason: 'same bytes' };
    return { ...action, action: 'update', reason: `the bytes differ: CRC32C ${ours} and ${theirs}` };
  } catch (thrown) {
    const error = asBrokerError(thrown);
    if (error.next === 'run' || error.next === 'wait') throw error;
    return { ...action, ...refusal(error.code, error.message, error.hint) };
  }
}

async function sumOf(stream: ByteStream, hashers: Crc32cPool, signal: AbortSignal): Promise<string> {
  const hasher = await hashers.take();
  try {
    for await (const chunk of stream) {
      signal.throwIfAborted();
      hasher.update(chunk);
    }
    return hasher.value();
  } finally {
    hasher.release();
  }
}
