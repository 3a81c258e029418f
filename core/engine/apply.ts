import { ahead } from '../api/ahead.ts';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Item } from '../api/item.ts';
import { linesOf } from '../api/lines.ts';
import type { RunContext } from '../api/source.ts';
import { compareAsked, compareListed } from './compare.ts';
import { guard } from './extras.ts';
import type { Job } from './job.ts';
import { refusal } from './naming.ts';
import type { Action, Step } from './plan.ts';
import { isEnd, type PlanEnd, type PlanHeader, PlanReader } from './plan-file.ts';
import { listed } from './select.ts';

/** A file of actions, wherever it is. */
export interface PlanFile {
  /** For messages. */
  readonly name: string;
  open(signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** Its last bytes; undefined where a file is whole if it is there at all. */
  tail?(): Promise<Uint8Array>;
}

const CHECKED_AT_ONCE = 32;
const LONGEST_LINE = 256 * 1024;

export interface ApplyOptions {
  readonly job: Job;
  readonly files: readonly PlanFile[];
  readonly signal: AbortSignal;
  readonly run: (source: number) => RunContext;
}

/** The first line of a plan. @throws BrokerError `invalid_plan` */
export async function planHeaderOf(file: PlanFile, signal: AbortSignal): Promise<PlanHeader> {
  const reader = new PlanReader(file.name);
  for await (const { text, number } of linesOf(await file.open(signal), { name: file.name, longest: LONGEST_LINE }))
    return reader.header(text, number);
  throw new BrokerError('invalid_plan', `${file.name} is empty`);
}

/**
 * The actions of plans that were made before, each looked at again: what has changed since in its source or its sink is
 * refused, what is there already is left. What dead letters name is compared anew.
 *
 * @throws BrokerError `invalid_plan` for a file that is not whole, or of another pipeline; before anything is carried.
 */
export async function* appliedSteps(options: ApplyOptions): AsyncGenerator<Step> {
  const ends: (PlanEnd | undefined)[] = [];
  for (const file of options.files) ends.push(await checked(file, options));
  for (const [number, file] of options.files.entries()) {
    const groups = grouped(actionsIn(file, ends[number], options.signal));
    yield* ahead(groups, CHECKED_AT_ONCE, async ({ kind, actions }): Promise<Step> => {
      const now = new Recheck(options, kind);
      const key = actions[0]?.item.key ?? '';
      return { key, actions: await Promise.all(actions.map((action) => now.action(action))) };
    });
  }
}

/** Whether a plan is one of this pipeline, and whole. */
async function checked(file: PlanFile, { job, signal }: ApplyOptions): Promise<PlanEnd | undefined> {
  const { isthmus, pipeline, fingerprint, sources, sinks } = await planHeaderOf(file, signal);
  const wrong = (why: string): BrokerError => new BrokerError('invalid_plan', `${file.name}: ${why}`);
  if (pipeline !== job.pipeline) throw wrong(`it is of the pipeline "${pipeline}", not of "${job.pipeline}"`);
  const same = (locations: readonly string[], endpoints: readonly { readonly location: string }[]): boolean =>
    locations.join('\n') === endpoints.map(({ location }) => location).join('\n');
  if (!same(sources, job.sources) || !same(sinks, job.sinks))
    throw wrong('the pipeline has other sources or sinks now');
  if (isthmus === 'plan' && fingerprint !== job.fingerprint)
    throw wrong('the sources, the sinks or the filters of the pipeline were changed since it was made');
  const tail = await file.tail?.();
  if (tail === undefined) return undefined;
  const last = Buffer.from(tail).toString('utf8').trimEnd().split('\n').at(-1) ?? '';
  const end = endOf(last, file.name);
  if (end === undefined) throw wrong('it was cut off: its last line is missing');
  guardDeletes(end, job);
  return end;
}

function endOf(line: string, name: string): PlanEnd | undefined {
  try {
    const found = new PlanReader(name).next(line, 0);
    return isEnd(found) ? found : undefined;
  } catch {
    return undefined;
  }
}

function guardDeletes({ extras = [] }: PlanEnd, job: Job): void {
  for (const [number, count] of extras.entries()) {
    if (count.found === 0) continue;
    const location = job.sinks[number]?.location ?? '';
    if (job.deletes === undefined)
      throw new BrokerError(
        'invalid_plan',
        `the plan deletes in ${location}, and the pipeline does not say \`delete\``,
      );
    guard(job.deletes, count, location);
  }
}

interface Read {
  readonly kind: PlanHeader['isthmus'];
  readonly action: Action;
}

async function* actionsIn(file: PlanFile, end: PlanEnd | undefined, signal: AbortSignal): AsyncGenerator<Read> {
  const reader = new PlanReader(file.name);
  const wrong = (why: string): BrokerError => new BrokerError('invalid_plan', `${file.name}: ${why}`);
  let header: PlanHeader | undefined;
  let last: PlanEnd | undefined;
  let count = 0;
  for await (const { text, number } of linesOf(await file.open(signal), { name: file.name, longest: LONGEST_LINE })) {
    if (last !== undefined) throw wrong(`line ${number} comes after its end`);
    if (header === undefined) {
      header = reader.header(text, number);
      continue;
    }
    const line = reader.next(text, number);
    if (isEnd(line)) last = line;
    else {
      count++;
      yield { kind: header.isthmus, action: line };
    }
  }
  if (last === undefined || last.end !== count || (end !== undefined && end.end !== count))
    throw wrong(`it holds ${count} actions, and says ${last?.end ?? 'nothing of its end'}`);
}

/** Actions of one item stand one after the other, one for each sink. */
async function* grouped(
  actions: AsyncIterable<Read>,
): AsyncGenerator<{ readonly kind: Read['kind']; readonly actions: readonly Action[] }> {
  let group: Read[] = [];
  for await (const read of actions) {
    const [first] = group;
    if (
      first !== undefined &&
      (first.action.item.id !== read.action.item.id || first.action.sink >= read.action.sink)
    ) {
      yield { kind: first.kind, actions: group.map(({ action }) => action) };
      group = [];
    }
    group.push(read);
  }
  const [first] = group;
  if (first !== undefined) yield { kind: first.kind, actions: group.map(({ action }) => action) };
}

/** Looks at both sides again before an action is carried out. */
class Recheck {
  readonly #options: ApplyOptions;
  readonly #kind: PlanHeader['isthmus'];

  constructor(options: ApplyOptions, kind: PlanHeader['isthmus']) {
    this.#options = options;
    this.#kind = kind;
  }

  async action(action: Action): Promise<Action> {
    try {
      if (this.#kind === 'dead-letters') return await this.#anew(action);
      if (action.action === 'delete') return await this.#deletion(action);
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
    return now === undefined
      ? { ...action, ...refusal('source_gone', `${action.item.id} was deleted after it was planned`) }
      : { ...action, ...refusal('source_changed', `${action.item.id} was replaced by ${now.id} after it was planned`) };
  }

  async #sinkMoved(action: Action): Promise<Action | undefined> {
    const sink = this.#sinkOf(action);
    const { item, stored } = action;
    if (sink.stat === undefined || !action.looked) return undefined;
    const now = await sink.stat(item.key, { signal: this.#options.signal });
    if (now?.revision === stored?.revision) return undefined;
    // A plan that was applied already, or in part, may be applied again.
    const verdict = now && compareListed({ item, stored: now }, 'checksum', 'different');
    if (now !== undefined && verdict?.action === 'skip')
      return { ...action, action: 'skip', reason: `it is there already: ${verdict.reason}`, stored: now };
    const what = now === undefined ? 'was deleted' : stored === undefined ? 'was written' : 'was changed';
    return { ...action, ...refusal('conflict', `${sink.location}${item.key} ${what} after it was planned`) };
  }

  async #deletion(action: Action): Promise<Action> {
    const { job, run, signal } = this.#options;
    const sink = this.#sinkOf(action);
    const { key } = action.item;
    const now = await sink.stat?.(key, { signal });
    if (now === undefined) return { ...action, action: 'skip', reason: 'it is gone already' };
    if (now.revision !== action.stored?.revision)
      return { ...action, ...refusal('conflict', `${sink.location}${key} was changed after it was planned`) };
    const only = { key: job.keys === undefined ? key : (job.keys.sourceKey?.(key) ?? key) };
    for (const [number, source] of job.sources.entries())
      for await (const { id } of listed(source, { only, signal, run: run(number) }))
        return {
          ...action,
          ...refusal('conflict', `${id} was not there when it was planned to be deleted from the sink`),
        };
    return action;
  }

  /** What failed in a run is compared as a run would. */
  async #anew(action: Action): Promise<Action> {
    const { job, signal } = this.#options;
    const [source, sink] = [this.#sourceOf(action), this.#sinkOf(action)];
    const { key } = action.item;
    const { problem: _, ...before } = action.item;
    const found: Item | undefined = source.stat === undefined ? before : await source.stat(action.item, { signal });
    if (found === undefined)
      return { ...action, ...refusal('source_gone', `${action.item.id} does not exist any more`) };
    const item = { ...found, key };
    const stored = await sink.stat?.(key, { signal });
    const refused = item.problem ?? sink.refuses?.(item);
    if (refused !== undefined) return { ...action, item, ...refusal(refused.code, refused.message, refused.hint) };
    const pair = { item, stored };
    const { overwrite = 'different' } = job;
    const verdict = compareListed(pair, job.compare, overwrite) ?? compareAsked(pair, overwrite);
    const { source: from, sink: to } = action;
    const named = { item, source: from, sink: to, ...(action.from === undefined ? {} : { from: action.from }) };
    return { ...named, ...verdict, looked: sink.stat !== undefined, ...(stored === undefined ? {} : { stored }) };
  }
}
