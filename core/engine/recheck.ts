import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Item } from '../api/item.ts';
import type { RunContext } from '../api/source.ts';
import { compareAsked, compareListed } from './compare.ts';
import { inSources } from './extras.ts';
import type { Job } from './job.ts';
import { Naming, refusal } from './naming.ts';
import type { Action } from './plan.ts';
import type { PlanKind } from './plan-file.ts';
import { Rivals } from './rivals.ts';

export interface RecheckOptions {
  readonly job: Job;
  readonly signal: AbortSignal;
  readonly run: (source: number) => RunContext;
  /** When the run began. */
  readonly since: number;
}

/** Looks at both sides again before an action is carried out. */
export class Recheck {
  readonly #options: RecheckOptions;
  readonly #kind: PlanKind;

  constructor(options: RecheckOptions, kind: PlanKind) {
    this.#options = options;
    this.#kind = kind;
  }

  async action(action: Action): Promise<Action> {
    try {
      if (this.#kind === 'dead-letters') return await this.#anew(action);
      if (action.action === 'delete') return await this.#deletion(action);
      // What is moved is deleted in its source: that it was the same once is not enough.
      const isMoved = this.#options.job.move === true && action.action === 'skip' && action.left !== true;
      if (isMoved) return (await this.#sourceMoved(action)) ?? (await this.#differs(action)) ?? action;
      if (action.action !== 'create' && action.action !== 'update') return action;
      return (await this.#sourceMoved(action)) ?? (await this.#sinkMoved(action)) ?? action;
    } catch (thrown) {
      const error = asBrokerError(thrown);
      if (error.next === 'run' || error.next === 'wait') throw error;
      return { ...action, ...refusal(error.code, error.message, error.hint) };
    }
  }

  #sourceOf({ source }: Action) {
    const found = this.#options.job.sources[source];
    if (found === undefined)
      throw new BrokerError('invalid_plan', `it names source ${source}, which the pipeline does not have`);
    return found;
  }

  #sinkOf({ sink }: Action) {
    const found = this.#options.job.sinks[sink];
    if (found === undefined)
      throw new BrokerError('invalid_plan', `it names sink ${sink}, which the pipeline does not have`);
    return found;
  }

  async #sourceMoved(action: Action): Promise<Action | undefined> {
    const { signal } = this.#options;
    const source = this.#sourceOf(action);
    if (source.stat === undefined) return undefined;
    const now = await source.stat(action.item, { signal });
    if (now?.id === action.item.id) return undefined;
    if (now === undefined) return this.#sourceGone(action);
    return {
      ...action,
      ...refusal('source_changed', `${action.item.id} was replaced by ${now.id} after it was planned`),
    };
  }

  async #sourceGone(action: Action): Promise<Action> {
    const { job } = this.#options;
    const why = `${action.item.id} does not exist any more`;
    // Moved by an `apply` that did not come to its end.
    if (job.move === true && (await this.#differs(action)) === undefined)
      return { ...action, action: 'skip', left: true, reason: 'it is in the sink, and gone from its source already' };
    if (job.missing === 'skip') return { ...action, action: 'skip', left: true, reason: why };
    return { ...action, ...refusal('source_gone', why) };
  }

  async #sinkMoved(action: Action): Promise<Action | undefined> {
    const sink = this.#sinkOf(action);
    const { item, stored } = action;
    if (sink.stat === undefined || !action.looked) return undefined;
    const now = await sink.stat(item.key, { signal: this.#options.signal });
    if (now?.revision === stored?.revision) return undefined;
    // A plan that was applied already, or in part, may be applied again.
    const pair = now && { item, stored: now };
    const verdict = pair && (compareListed(pair, 'checksum', 'different') ?? compareAsked(pair, 'different'));
    if (now !== undefined && verdict?.action === 'skip')
      return { ...action, action: 'skip', reason: `it is there already: ${verdict.reason}`, stored: now };
    const what = now === undefined ? 'was deleted' : stored === undefined ? 'was written' : 'was changed';
    return { ...action, ...refusal('conflict', `${sink.location}${item.key} ${what} after it was planned`) };
  }

  /** Of what was the same when it was planned: whether it still is, by checksum. */
  async #differs(action: Action): Promise<Action | undefined> {
    const sink = this.#sinkOf(action);
    const { item } = action;
    const stored = await sink.stat?.(item.key, { signal: this.#options.signal });
    const verdict = compareAsked({ item, stored }, 'different');
    if (verdict.action === 'skip') return undefined;
    return {
      ...action,
      ...refusal('conflict', `${sink.location}${item.key} is not the same any more: ${verdict.reason}`),
    };
  }

  async #deletion(action: Action): Promise<Action> {
    const { job, run, signal } = this.#options;
    const sink = this.#sinkOf(action);
    const { key } = action.item;
    const now = await sink.stat?.(key, { signal });
    if (now === undefined) return { ...action, action: 'skip', reason: 'it is gone already' };
    if (now.revision !== action.stored?.revision)
      return { ...action, ...refusal('conflict', `${sink.location}${key} was changed after it was planned`) };
    const id = await inSources({ ...job, run, signal }, key);
    if (id === undefined) return action;
    return { ...action, ...refusal('conflict', `${id} was not there when it was planned to be deleted from the sink`) };
  }

  /** What failed in a run is compared as a run would. */
  async #anew(action: Action): Promise<Action> {
    const { job, signal, since } = this.#options;
    // Whose key it is does not change by asking again, and what a rule left out it leaves out.
    if (action.code === 'key_collision' || (action.action === 'skip' && action.left === true)) return action;
    const [source, sink] = [this.#sourceOf(action), this.#sinkOf(action)];
    const { problem: _, ...before } = action.item;
    const own = { ...before, key: action.from ?? before.key };
    const item: Item | undefined = source.stat === undefined ? own : await source.stat(own, { signal });
    if (item === undefined) return await this.#sourceGone(action);
    const naming = new Naming({ ...job, since });
    const [named] = naming.of([{ item: { ...item, key: own.key }, source: action.source }], undefined)?.entries ?? [];
    if (named === undefined) return action;
    const { decided, ...base } = named;
    const at = { ...base, sink: action.sink, looked: false };
    if (decided !== undefined) return { ...decided, ...at };
    const refused = sink.refuses?.(named.item);
    if (refused !== undefined) return { ...refusal(refused.code, refused.message, refused.hint), ...at };
    const stored = await sink.stat?.(named.item.key, { signal });
    const pair = { item: named.item, stored };
    const { overwrite = 'different' } = job;
    // Whose it is that is there, only a look tells.
    const compare = job.keys?.unique === false && job.compare === 'always' ? 'checksum' : job.compare;
    const verdict = compareListed(pair, compare, overwrite) ?? compareAsked(pair, overwrite, compare);
    if (job.keys?.unique === false && stored !== undefined && verdict.action !== 'skip') {
      const rivals = new Rivals({ ...this.#options, sources: job.sources, filter: job.filter, keys: job.keys });
      const refusal = await rivals.refuses(named);
      if (refusal !== undefined) return { ...refusal, ...at };
    }
    return { ...verdict, ...at, looked: sink.stat !== undefined, ...(stored === undefined ? {} : { stored }) };
  }
}
