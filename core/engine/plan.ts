import { ahead } from '../api/ahead.ts';
import type { ErrorCode } from '../api/error-codes.ts';
import { asBrokerError } from '../api/errors.ts';
import type { Item, StoredObject } from '../api/item.ts';
import type { Sink } from '../api/sink.ts';
import type { RunContext, Selection, Source } from '../api/source.ts';
import { type Compare, compareAsked, compareListed, type Overwrite, type Verdict } from './compare.ts';
import type { Filter } from './filter.ts';
import type { KeyMap } from './key-map.ts';
import { type Decision, type FolderMarkers, type Named, Naming, refusal } from './naming.ts';
import { isBeyond, type Listed, type Listing, merged } from './order.ts';
import { Rivals } from './rivals.ts';
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
  /** What becomes of an item that is not there any more. */
  readonly missing?: 'fail' | 'skip';
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
  /** The last key, if it is there. */
  readonly until?: string | undefined;
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
export function plan(options: PlanOptions): AsyncGenerator<Step> {
  const { sources, sinks, signal, run, last = false, only, since } = options;
  // What is written last is named and chosen by its source.
  const rules: Rules = last ? { compare: options.compare } : options;
  // Which keys are taken is known only from the beginning on.
  const after = rules.keys?.unique === false ? undefined : options.after;
  const wanted = { signal, ...(after === undefined ? {} : { after }), ...(only === undefined ? {} : { only }) };
  const listings = sources.map((source, number): Listing => {
    const all = { ...wanted, run: run(number) };
    return { items: last ? (source.last?.(all) ?? nothing()) : listed(source, all), location: source.location };
  });
  const asks = (only !== undefined && 'key' in only) || rules.keys?.ordered === false;
  // Of one item by itself nobody knows whether its key is another's: then it must be looked for in any case.
  const isBlind = only !== undefined && rules.keys?.unique === false;
  const compare = isBlind && rules.compare === 'always' ? 'checksum' : rules.compare;
  const indexes = compare === 'always' ? [] : sinks.map((sink) => indexOf(sink, signal, asks));
  const rivals = isBlind && rules.keys ? new Rivals({ ...rules, ...options, keys: rules.keys }) : undefined;
  const planner = new Planner({ ...rules, compare, sinks, signal, rivals }, indexes);
  const naming = new Naming({ ...rules, sources, ...(since === undefined ? {} : { since }) });
  return ahead(planner.found(merged(listings), naming, options), ASKED_AT_ONCE, (group) => planner.decided(group));
}

type Seen = StoredObject | undefined;

/** What each sink shows under the key of an item: a promise where it is asked. */
interface Found {
  readonly named: Named;
  readonly stored: readonly (Seen | Promise<Seen>)[];
}

interface FoundGroup {
  readonly key: string;
  readonly entries: readonly Found[];
}

interface PlannerOptions extends Pick<PlanOptions, 'sinks' | 'signal' | 'compare' | 'overwrite'> {
  /** Of a run that does not see all keys: what is there under one may be of another item. */
  readonly rivals: Rivals | undefined;
}

class Planner {
  readonly #options: PlannerOptions;
  readonly #indexes: readonly SinkIndex[];

  constructor(options: PlannerOptions, indexes: readonly SinkIndex[]) {
    this.#options = options;
    this.#indexes = indexes;
  }

  /** Walks the listings of the sinks beside. */
  async *found(
    groups: AsyncIterable<readonly Listed[]>,
    naming: Naming,
    { after, until }: Pick<PlanOptions, 'after' | 'until'>,
  ): AsyncGenerator<FoundGroup> {
    try {
      for await (const group of groups) {
        if (isBeyond(group[0]?.item.key ?? '', until)) return;
        const named = naming.of(group, after);
        if (named === undefined) continue;
        const entries: Found[] = [];
        for (const entry of named.entries) {
          const stored = this.#look(entry);
          entries.push({ named: entry, stored: stored instanceof Promise ? await stored : stored });
        }
        yield { key: named.key, entries };
      }
    } finally {
      await Promise.allSettled(this.#indexes.map((index) => index[Symbol.asyncDispose]()));
    }
  }

  /** What the sinks show; a promise while a listing has to be read on. */
  #look({ item, decided }: Named): Found['stored'] | Promise<Found['stored']> {
    if (decided !== undefined || this.#indexes.length === 0) return NOTHING_SEEN;
    const stored = this.#indexes.map((index, number) => {
      // What is refused is not looked for: its key may be one that no request can hold.
      if (this.#options.sinks[number]?.refuses?.(item) !== undefined) return undefined;
      const one = index.find(item.key);
      if (one instanceof Promise) one.catch(() => undefined); // told where it is waited for
      return one;
    });
    const reads = stored.some((one, number) => one instanceof Promise && this.#indexes[number]?.walks === true);
    if (!reads) return stored;
    return Promise.all(
      stored.map((one, number) => (this.#indexes[number]?.walks === true ? one : { asked: one })),
    ).then((all) => all.map((one) => (one !== undefined && 'asked' in one ? one.asked : one)));
  }

  decided({ key, entries }: FoundGroup): Step | Promise<Step> {
    const actions: (Action | Promise<Action>)[] = [];
    let waits = false;
    for (const entry of entries)
      for (const [number, sink] of this.#options.sinks.entries()) {
        const action = this.#decide(entry, number, sink);
        waits ||= action instanceof Promise;
        actions.push(action);
      }
    if (!waits) return { key, actions: actions as Action[] };
    return Promise.all(actions).then((all) => ({ key, actions: all }));
  }

  #decide({ named, stored }: Found, number: number, sink: Sink): Action | Promise<Action> {
    const { decided } = named;
    if (decided !== undefined) return actionOf(decided, named, number, false);
    const refused = sink.refuses?.(named.item);
    if (refused !== undefined)
      return actionOf(refusal(refused.code, refused.message, refused.hint), named, number, false);
    const seen = stored[number];
    return seen instanceof Promise
      ? seen
          .then((one) => this.#compared(named, one, number, sink))
          .catch((thrown) => cannotBeLookedAt(named, number, thrown))
      : this.#compared(named, seen, number, sink);
  }

  #compared(named: Named, stored: Seen, number: number, sink: Sink): Action | Promise<Action> {
    const { compare, overwrite = 'different', signal, rivals } = this.#options;
    const { item } = named;
    const told = (verdict: Verdict, shown: Seen): Action | Promise<Action> => {
      const action = actionOf(verdict, named, number, compare !== 'always', shown);
      if (rivals === undefined || shown === undefined || verdict.action === 'skip') return action;
      return rivals.refuses(named).then((no) => (no === undefined ? action : actionOf(no, named, number, true)));
    };
    const verdict = compareListed({ item, stored }, compare, overwrite);
    if (verdict !== undefined) return told(verdict, stored);
    if (sink.stat === undefined) return told(compareAsked({ item, stored }, overwrite, compare), stored);
    return sink
      .stat(item.key, { signal })
      .then((asked) => told(compareAsked({ item, stored: asked }, overwrite, compare), asked))
      .catch((thrown) => cannotBeLookedAt(named, number, thrown));
  }
}

const NOTHING_SEEN: Found['stored'] = [];

/** Put together by hand: there may be millions of them. */
function actionOf(
  verdict: Verdict | Decision,
  { item, source, from }: Named,
  sink: number,
  looked: boolean,
  stored?: StoredObject,
): Action {
  const { action, reason, left } = verdict;
  const made: { -readonly [Name in keyof Action]: Action[Name] } = { action, reason, item, source, sink, looked };
  if (from !== undefined) made.from = from;
  if (stored !== undefined) made.stored = stored;
  if (left !== undefined) made.left = left;
  if ('unproved' in verdict && verdict.unproved) made.unproved = true;
  if ('code' in verdict && verdict.code !== undefined) made.code = verdict.code;
  if ('hint' in verdict && verdict.hint !== undefined) made.hint = verdict.hint;
  return made;
}

/** One object that cannot be looked at is one refusal, not the end of the plan. */
function cannotBeLookedAt(named: Named, sink: number, thrown: unknown): Action {
  const error = asBrokerError(thrown);
  if (error.next === 'run' || error.next === 'wait') throw error;
  return actionOf(refusal(error.code, error.message, error.hint), named, sink, true);
}

async function* nothing(): AsyncGenerator<never> {}
