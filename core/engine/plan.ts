import { ahead } from '../api/ahead.ts';
import type { ErrorCode } from '../api/error-codes.ts';
import { asBrokerError } from '../api/errors.ts';
import type { Item, StoredObject } from '../api/item.ts';
import type { Sink } from '../api/sink.ts';
import type { RunContext, Selection, Source } from '../api/source.ts';
import { type Compare, compareAsked, compareListed, type Overwrite } from './compare.ts';
import type { Filter } from './filter.ts';
import type { KeyMap } from './key-map.ts';
import { type FolderMarkers, type Group, type Named, Naming, refusal } from './naming.ts';
import { ascending, merged } from './order.ts';
import { listed } from './select.ts';
import { indexOf, type SinkIndex } from './sink-index.ts';

/** One line of a plan: what must happen to one item in one sink. Plain data. */
export interface Action {
  readonly action: 'create' | 'update' | 'skip' | 'refuse' | 'delete';
  readonly reason: string;
  /** Its key is the one that it has in the sink. */
  readonly item: Item;
  /** The key that it has in its source, where that is another. */
  readonly from?: string;
  /** Places in the pipeline's lists, from 0; what is to be deleted is in no source: -1. */
  readonly source: number;
  readonly sink: number;
  /** What the plan saw in the sink: a write is conditional on it. Absent when nobody looked. */
  readonly stored?: StoredObject;
  readonly looked: boolean;
  /** Of an update: nothing proves that it is needed, and nothing that it is not. */
  readonly unproved?: true;
  /** Of a skip: a rule of the pipeline leaves it out, though it may differ. */
  readonly left?: true;
  /** Of a refusal. */
  readonly code?: ErrorCode;
  readonly hint?: string;
}

/** What of a pipeline decides what happens to an item. */
export interface Rules {
  readonly compare: Compare;
  readonly overwrite?: Overwrite;
  readonly filter?: Filter | undefined;
  readonly folderMarkers?: FolderMarkers;
  /** Under which keys items are written; by default their own. */
  readonly keys?: KeyMap | undefined;
}

export interface PlanOptions extends Rules {
  readonly sources: readonly Source[];
  readonly sinks: readonly Sink[];
  /** Of each source, by its place. */
  readonly run: (source: number) => RunContext;
  readonly signal: AbortSignal;
  /** When the run began; milliseconds since the epoch. */
  readonly since?: number;
  /** List what is written last, and not the items. */
  readonly last?: boolean;
  readonly after?: string | undefined;
  /** Plan for this part of the sources only. */
  readonly only?: Selection | undefined;
}

/** All that one key asks for: an action for each source that has it, and each sink. */
export interface Step {
  /** In the sources: the place that a cursor names. */
  readonly key: string;
  readonly actions: readonly Action[];
}

/** So many objects are asked for at once where listings leave a doubt. */
const ASKED_AT_ONCE = 32;

/** Lists, merges and compares; yields the actions of one key at a time, in key order. */
export async function* plan(options: PlanOptions): AsyncGenerator<Step> {
  const { sources, sinks, signal, run, last = false, only } = options;
  // What is written last is named and chosen by its source.
  const rules: Rules = last ? { compare: options.compare } : options;
  // Which keys are taken is known only from the beginning on.
  const after = rules.keys?.unique === false ? undefined : options.after;
  const wanted = { signal, ...(after === undefined ? {} : { after }), ...(only === undefined ? {} : { only }) };
  const listings = sources.map((source, number) => {
    const all = { ...wanted, run: run(number) };
    return ascending(last ? (source.last?.(all) ?? nothing()) : listed(source, all), source.location);
  });
  const asks = (only !== undefined && 'key' in only) || rules.keys?.ordered === false;
  const indexes = options.compare === 'always' ? [] : sinks.map((sink) => indexOf(sink, signal, asks));
  const planner = new Planner({ ...rules, sinks, signal }, indexes);
  const naming = new Naming({ ...rules, sources, ...(options.since === undefined ? {} : { since: options.since }) });
  try {
    const found = planner.found(naming.of(merged(listings), options.after));
    yield* ahead(found, ASKED_AT_ONCE, (group) => planner.decided(group));
  } finally {
    await Promise.allSettled(indexes.map((index) => index[Symbol.asyncDispose]()));
  }
}

type Seen = StoredObject | undefined;

/** What each sink shows under the key of an item: a promise where it is asked. */
interface Found extends Named {
  readonly stored: readonly (Seen | Promise<Seen>)[];
}

class Planner {
  readonly #options: Pick<PlanOptions, 'sinks' | 'signal' | 'compare' | 'overwrite'>;
  readonly #indexes: readonly SinkIndex[];

  constructor(options: Pick<PlanOptions, 'sinks' | 'signal' | 'compare' | 'overwrite'>, indexes: readonly SinkIndex[]) {
    this.#options = options;
    this.#indexes = indexes;
  }

  /** Walks the listings of the sinks beside. */
  async *found(groups: AsyncIterable<Group>): AsyncGenerator<{ readonly key: string; readonly entries: Found[] }> {
    for await (const { key, entries } of groups) {
      const found: Found[] = [];
      for (const entry of entries) {
        const stored: (Seen | Promise<Seen>)[] = [];
        for (const [number, index] of this.#indexes.entries()) {
          // What is refused is not looked for: its key may be one that no request can hold.
          const refused = this.#options.sinks[number]?.refuses?.(entry.item) !== undefined;
          const one = entry.decided !== undefined || refused ? undefined : index.find(entry.item.key);
          if (index.walks) stored.push(one instanceof Promise ? await one : one);
          else {
            if (one instanceof Promise) one.catch(() => undefined); // told where it is waited for
            stored.push(one);
          }
        }
        found.push({ ...entry, stored });
      }
      yield { key, entries: found };
    }
  }

  decided({ key, entries }: { readonly key: string; readonly entries: readonly Found[] }): Step | Promise<Step> {
    const actions = entries.flatMap((entry) =>
      this.#options.sinks.map((sink, number) => this.#decide(entry, number, sink)),
    );
    if (!actions.some((action) => action instanceof Promise)) return { key, actions: actions as Action[] };
    return Promise.all(actions).then((all) => ({ key, actions: all }));
  }

  #decide({ item, source, from, decided, stored }: Found, number: number, sink: Sink): Action | Promise<Action> {
    const named = { item, source, sink: number, ...(from === undefined ? {} : { from }) };
    if (decided !== undefined) return { ...decided, ...named, looked: false };
    const refused = sink.refuses?.(item);
    if (refused !== undefined)
      return { ...refusal(refused.code, refused.message, refused.hint), ...named, looked: false };
    const seen = stored[number];
    return seen instanceof Promise
      ? seen.then((one) => this.#compared(named, one, sink)).catch((thrown) => cannotBeLookedAt(named, thrown))
      : this.#compared(named, seen, sink);
  }

  #compared(named: NamedAction, stored: Seen, sink: Sink): Action | Promise<Action> {
    const { compare, overwrite = 'different', signal } = this.#options;
    const { item } = named;
    const verdict = compareListed({ item, stored }, compare, overwrite);
    if (verdict !== undefined) return { ...verdict, ...named, ...looked(stored, compare !== 'always') };
    if (sink.stat === undefined) return { ...compareAsked({ item, stored }, overwrite), ...named, ...looked(stored) };
    return sink
      .stat(item.key, { signal })
      .then((asked): Action => ({ ...compareAsked({ item, stored: asked }, overwrite), ...named, ...looked(asked) }))
      .catch((thrown) => cannotBeLookedAt(named, thrown));
  }
}

type NamedAction = Pick<Action, 'item' | 'source' | 'sink' | 'from'>;

const looked = (stored: Seen, looked = true) => ({ looked, ...(stored === undefined ? {} : { stored }) });

/** One object that cannot be looked at is one refusal, not the end of the plan. */
function cannotBeLookedAt(named: NamedAction, thrown: unknown): Action {
  const error = asBrokerError(thrown);
  if (error.next === 'run' || error.next === 'wait') throw error;
  return { ...refusal(error.code, error.message, error.hint), ...named, looked: true };
}

async function* nothing(): AsyncGenerator<never> {}
