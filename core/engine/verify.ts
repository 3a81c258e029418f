import type { Item } from '../api/item.ts';
import { ascending, merged } from './order.ts';
import { type PlanOptions, plan } from './plan.ts';

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

export interface VerifyOptions extends Omit<PlanOptions, 'compare' | 'last' | 'after' | 'only'> {
  /** Look for what no source has, too; that lists everything a second time. */
  readonly extras: boolean;
}

/**
 * Compares both sides by size and checksum, without reading any content, in key order and constant memory.
 *
 * @yields `undefined` for each pair that is the same.
 */
export async function* verify(options: VerifyOptions): AsyncGenerator<Finding | undefined> {
  for await (const actions of plan({ ...options, compare: 'checksum' })) {
    for (const { action, item, source, sink, reason, code, unproved } of actions) {
      if (action === 'skip') yield undefined;
      else {
        const bytes = item.size === undefined ? {} : { bytes: item.size };
        const told = code === undefined ? reason : `${code}: ${reason}`;
        const finding =
          action === 'refuse'
            ? 'refused'
            : action === 'create'
              ? 'missing'
              : unproved === true
                ? 'unproved'
                : 'different';
        yield { finding, key: item.key, sink, source, reason: told, ...bytes };
      }
    }
  }
  if (!options.extras) return;
  for (const sink of options.sinks.keys()) yield* extras(options, sink);
}

async function* extras({ sources, sinks, run, signal }: VerifyOptions, number: number): AsyncGenerator<Finding> {
  const sink = sinks[number];
  if (sink?.list === undefined) return;
  const listings = sources.map((source, place) => ascending(source.list({ signal, run: run(place) }), source.location));
  const stored = ascending(sink.list({ signal }), sink.location);
  const asItems = (async function* (): AsyncGenerator<Item> {
    for await (const { key, size } of stored) yield { id: key, key, size, ref: null };
  })();
  for await (const group of merged([...listings, asItems])) {
    const [{ item, source } = {}] = group;
    if (group.length > 1 || item === undefined || source !== sources.length) continue;
    const { key, size: bytes = 0 } = item;
    yield { finding: 'extra', key, sink: number, reason: 'no source has it', bytes };
  }
}
