import { hash } from 'node:crypto';
import { ahead } from '../api/ahead.ts';
import { BrokerError } from '../api/errors.ts';
import { linesOf } from '../api/lines.ts';
import { guard } from './extras.ts';
import type { Job } from './job.ts';
import type { Action, Step } from './plan.ts';
import { isEnd, type PlanEnd, type PlanHeader, type PlanKind, PlanReader, planRules } from './plan-file.ts';
import { Recheck, type RecheckOptions } from './recheck.ts';
import type { MadePlan } from './run-options.ts';

/** A file of actions, wherever it is. */
export interface PlanFile {
  /** For messages. */
  readonly name: string;
  open(signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

const CHECKED_AT_ONCE = 32;
const LONGEST_LINE = 256 * 1024;

/** The first line of a plan. @throws BrokerError `invalid_plan` */
export async function planHeaderOf(file: PlanFile, signal: AbortSignal): Promise<PlanHeader> {
  const reader = new PlanReader(file.name);
  for await (const { text, number } of linesOf(await file.open(signal), { name: file.name, longest: LONGEST_LINE }))
    return reader.header(text, number);
  throw new BrokerError('invalid_plan', `${file.name} is empty`);
}

/** One process of several that carry a plan out together. */
export interface Share {
  /** From 0. */
  readonly index: number;
  readonly of: number;
}

/**
 * Plans that were made before, to be carried out. All files are read to their ends before anything is carried: each must
 * be whole, of this pipeline, and delete no more than may be deleted. Then each action is looked at again: what has
 * changed since in its source or its sink is refused, what is there already is left; what dead letters name is compared
 * anew. Deletes come last; one process of several deletes nothing, since it does not know whether the others did well.
 *
 * @param plan as it was named: the same plan goes on where it was.
 */
export function appliedPlan(plan: string, job: Job, files: readonly PlanFile[], share?: Share): MadePlan {
  const names = JSON.stringify([plan, files.map((file) => file.name)]);
  const shown = share === undefined ? '' : ` ${share.index}/${share.of}`;
  return {
    name: `apply ${hash('sha256', names)}${shown}`,
    kind: 'saved',
    part: share,
    async *steps(context) {
      for (const file of files) await check(file, job, context.signal);
      for (const file of files) yield* rechecked(file, { job, ...context }, (action) => action !== 'delete', share);
    },
    async *deletes(context) {
      for (const file of files) {
        const steps = rechecked(file, { job, ...context }, (action) => action === 'delete', share);
        if (share === undefined) yield* steps;
        else for await (const { key, actions } of steps) yield { key, actions: actions.map(leftForLater) };
      }
    },
  };
}

async function* rechecked(
  file: PlanFile,
  options: RecheckOptions,
  wanted: (action: Action['action']) => boolean,
  share: Share | undefined,
): AsyncGenerator<Step> {
  const { isthmus } = await planHeaderOf(file, options.signal);
  const now = new Recheck(options, isthmus);
  const all = grouped(wantedOf(file, options.signal, wanted));
  const groups = share === undefined ? all : shareOf(all, share);
  yield* ahead(groups, CHECKED_AT_ONCE, async (actions): Promise<Step> => {
    const key = actions[0]?.item.key ?? '';
    return { key, actions: await Promise.all(actions.map((action) => now.action(action))) };
  });
}

/** Every so-manieth item, so that each process has as many. */
async function* shareOf<T>(groups: AsyncIterable<T>, { index, of }: Share): AsyncGenerator<T> {
  let place = 0;
  for await (const group of groups) if (place++ % of === index) yield group;
}

const leftForLater = (action: Action): Action =>
  action.action === 'delete'
    ? {
        ...action,
        action: 'skip',
        left: true,
        reason: 'to be deleted by `isthmus apply` without --shard, when all are done',
      }
    : action;

/** Reads a file to its end. @throws BrokerError for one that must not be carried out. */
async function check(file: PlanFile, job: Job, signal: AbortSignal): Promise<void> {
  const header = await planHeaderOf(file, signal);
  const wrong = (why: string): BrokerError => new BrokerError('invalid_plan', `${file.name}: ${why}`);
  checkHeader(header, job, wrong);
  const deletes = job.sinks.map(() => 0);
  let count = 0;
  let end: PlanEnd | undefined;
  for await (const { line, number } of readLines(file, signal)) {
    if (end !== undefined) throw wrong(`line ${number} comes after its end`);
    if (isEnd(line)) end = line;
    else {
      count++;
      if (job.sinks[line.sink] === undefined)
        throw wrong(`line ${number} names a sink that the pipeline does not have`);
      if (line.action === 'delete') deletes[line.sink] = (deletes[line.sink] ?? 0) + 1;
      else if (job.sources[line.source] === undefined)
        throw wrong(`line ${number} names a source that the pipeline does not have`);
    }
  }
  if (end === undefined) throw wrong('it was cut off: its last line is missing');
  if (end.end !== count) throw wrong(`it holds ${count} actions, and says ${end.end}`);
  for (const [number, found] of deletes.entries())
    if (found > 0) guardDeletes(job, number, found, header.isthmus, end, wrong);
}

function checkHeader(header: PlanHeader, job: Job, wrong: (why: string) => BrokerError): void {
  const { isthmus, pipeline, fingerprint, sources, sinks, rules } = header;
  if (pipeline !== job.pipeline) throw wrong(`it is of the pipeline "${pipeline}", not of "${job.pipeline}"`);
  const same = (locations: readonly string[], endpoints: readonly { readonly location: string }[]): boolean =>
    locations.join('\n') === endpoints.map(({ location }) => location).join('\n');
  if (!same(sources, job.sources) || !same(sinks, job.sinks))
    throw wrong('the pipeline has other sources or sinks now');
  if (isthmus === 'plan' && fingerprint !== job.fingerprint)
    throw wrong('the sources, the sinks or the filters of the pipeline were changed since it was made');
  const now = planRules(job);
  if (isthmus === 'plan' && (rules.move !== now.move || rules.overwrite !== now.overwrite))
    throw wrong('`move` or `overwrite` of the pipeline was changed since it was made');
}

function guardDeletes(
  job: Job,
  sink: number,
  found: number,
  kind: PlanKind,
  { extras = [] }: PlanEnd,
  wrong: (why: string) => BrokerError,
): void {
  const location = job.sinks[sink]?.location ?? '';
  const told = extras[sink];
  if (kind !== 'plan' || told?.found !== found) throw wrong(`it deletes in ${location}, and does not say of how much`);
  if (job.deletes === undefined) throw wrong(`it deletes in ${location}, and the pipeline does not say \`delete\``);
  guard(job.deletes, told, location);
}

/** The lines after the first. */
async function* readLines(
  file: PlanFile,
  signal: AbortSignal,
): AsyncGenerator<{ readonly line: Action | PlanEnd; readonly number: number }> {
  const reader = new PlanReader(file.name);
  let first = true;
  for await (const { text, number } of linesOf(await file.open(signal), { name: file.name, longest: LONGEST_LINE })) {
    if (!first) yield { line: reader.next(text, number), number };
    first = false;
  }
}

async function* wantedOf(
  file: PlanFile,
  signal: AbortSignal,
  wanted: (action: Action['action']) => boolean,
): AsyncGenerator<Action> {
  for await (const { line } of readLines(file, signal)) if (!isEnd(line) && wanted(line.action)) yield line;
}

/** Actions of one item stand one after the other, one for each sink. */
export async function* grouped(actions: AsyncIterable<Action>): AsyncGenerator<readonly Action[]> {
  let group: Action[] = [];
  for await (const action of actions) {
    const last = group.at(-1);
    if (last !== undefined && (last.item.id !== action.item.id || last.sink >= action.sink)) {
      yield group;
      group = [];
    }
    group.push(action);
  }
  if (group.length > 0) yield group;
}
