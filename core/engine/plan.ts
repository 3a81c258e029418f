import type { ErrorCode } from '../api/error-codes.ts';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Item, StoredObject } from '../api/item.ts';
import type { Sink } from '../api/sink.ts';
import type { RunContext, Selection, Source } from '../api/source.ts';
import { type Compare, compare } from './compare.ts';
import { ascending, type Listed, merged } from './order.ts';
import { listed } from './select.ts';
import { indexOf, type SinkIndex } from './sink-index.ts';

/** One line of a plan: what must happen to one item in one sink. Plain data. */
export interface Action {
  readonly action: 'create' | 'update' | 'skip' | 'refuse';
  readonly reason: string;
  readonly item: Item;
  /** Places in the pipeline's lists, from 0. */
  readonly source: number;
  readonly sink: number;
  /** What the plan saw in the sink: a write is conditional on it. Absent when nobody looked. */
  readonly stored?: StoredObject;
  readonly looked: boolean;
  /** Of an update: nothing proves that it is needed, and nothing that it is not. */
  readonly unproved?: true;
  /** Of a refusal. */
  readonly code?: ErrorCode;
  readonly hint?: string;
}

export interface PlanOptions {
  readonly sources: readonly Source[];
  readonly sinks: readonly Sink[];
  readonly compare: Compare;
  /** Of each source, by its place. */
  readonly run: (source: number) => RunContext;
  readonly signal: AbortSignal;
  /** List what is written last, and not the items. */
  readonly last?: boolean;
  readonly after?: string | undefined;
  /** Plan for this part of the sources only. */
  readonly only?: Selection | undefined;
}

/** Lists, merges and compares; yields the actions of one item, one for each sink, at a time, in key order. */
export async function* plan(options: PlanOptions): AsyncGenerator<readonly Action[]> {
  const { sources, sinks, signal, run, last = false, after, only } = options;
  const wanted = { signal, ...(after === undefined ? {} : { after }), ...(only === undefined ? {} : { only }) };
  const listings = sources.map((source, number) => {
    const all = { ...wanted, run: run(number) };
    return ascending(last ? (source.last?.(all) ?? nothing()) : listed(source, all), source.location);
  });
  const one = only !== undefined && 'key' in only;
  const indexes = options.compare === 'always' ? [] : sinks.map((sink) => indexOf(sink, signal, one));
  try {
    for await (const group of merged(listings)) {
      const actions: Action[] = [];
      for (const listed of group) {
        for (const [number, sink] of sinks.entries()) {
          actions.push(
            refusal(listed, group, number, sink, sources) ??
              (await decide(listed, number, sink, indexes[number], options)),
          );
        }
      }
      yield actions;
    }
  } finally {
    await Promise.allSettled(indexes.map((index) => index[Symbol.asyncDispose]()));
  }
}

function refusal(
  { item, source }: Listed,
  group: readonly Listed[],
  number: number,
  sink: Sink,
  sources: readonly Source[],
): Action | undefined {
  const base = { action: 'refuse', item, source, sink: number, looked: false } as const;
  if (group.length > 1) {
    const all = group.map((other) => sources[other.source]?.location ?? '').join(' and ');
    const error = new BrokerError('key_collision', `"${item.key}" is in ${all}`);
    return { ...base, reason: error.message, code: error.code, hint: error.hint };
  }
  const refused = sink.refuses?.(item);
  if (refused === undefined) return undefined;
  // Through the error class, which makes names safe to show.
  const error = new BrokerError(refused.code, refused.message, { hint: refused.hint });
  return { ...base, reason: error.message, code: error.code, hint: error.hint };
}

async function decide(
  { item, source }: Listed,
  number: number,
  sink: Sink,
  index: SinkIndex | undefined,
  options: PlanOptions,
): Promise<Action> {
  const stored = await index?.find(item.key);
  const base = { item, source, sink: number, looked: index !== undefined };
  if (index === undefined) return { ...base, action: 'update', reason: 'compare: always' };
  let latest = stored;
  try {
    const verdict = await compare(item, stored, options.compare, async () => {
      latest =
        (await sink.stat?.(item.key, { signal: options.signal })) ?? (sink.stat === undefined ? stored : undefined);
      return latest;
    });
    return { ...base, ...verdict, ...(latest === undefined ? {} : { stored: latest }) };
  } catch (thrown) {
    // One object that cannot be looked at is one refusal, not the end of the plan.
    const error = asBrokerError(thrown);
    if (error.next === 'run' || error.next === 'wait') throw error;
    return { ...base, action: 'refuse', reason: error.message, code: error.code, hint: error.hint };
  }
}

async function* nothing(): AsyncGenerator<never> {}
