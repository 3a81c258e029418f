import { BrokerError } from '../api/errors.ts';
import type { Sink } from '../api/sink.ts';
import type { RunContext, Selection } from '../api/source.ts';
import type { Carry } from './carry.ts';
import { deleteExtras } from './deletes.ts';
import { type DeleteGuard, type ExtrasCount, guard } from './extras.ts';
import type { Job } from './job.ts';
import { plan } from './plan.ts';
import type { Progress } from './progress.ts';
import { countOf, type Tally } from './report.ts';
import type { Carried, MadeContext, RunOptions } from './run-options.ts';
import type { Watermark } from './watermark.ts';

export interface Phases extends Pick<RunOptions, 'runtime' | 'only' | 'made' | 'carried'> {
  readonly job: Job;
  readonly carry: Carry;
  readonly progress: Progress;
  readonly contexts: readonly RunContext[];
  readonly signal: AbortSignal;
  /** Of what comes after the items: begun anew when the run is stopped meanwhile, so it is no part of the checkpoint. */
  readonly afterwards: Watermark;
}

export interface Ended {
  readonly ended: BrokerError | undefined;
  readonly extras?: ExtrasCount | undefined;
}

/** Items, then what is written last, then what is deleted: each only when all before it went well. */
export async function carryAll(phases: Phases): Promise<Ended> {
  const { job, carry, progress, contexts, signal, runtime, only, made, carried, afterwards } = phases;
  const { watermark, underWay, cursor: after } = progress;
  const stopped = new BrokerError('stopped', 'the run was stopped before its end');
  await underWay.tidy(job.sinks, 'unknown', signal, runtime.log);
  const context = { run: (source: number) => contexts[source] as RunContext, signal, since: runtime.now() };
  const planned = { ...job, ...context, only };
  if (carried === undefined) {
    const made_ = made?.steps({ ...context, after, resumed: progress.resumed });
    // A stop that comes after the last item was begun changes nothing.
    if (!(await carry.all(made_ ?? plan({ ...planned, after }), watermark, isSingle(only)))) return { ended: stopped };
  } else if (carried.ended !== undefined) return { ended: carried.ended };
  await underWay.tidy(job.sinks, 'unused', signal, runtime.log);
  if (only !== undefined) return { ended: undefined };
  const sofar = watermark.total();
  // With nothing to write, a sink that is not there would never be noticed. `always` needs no right to look.
  if (made === undefined && isEmpty(sofar) && job.compare !== 'always')
    await Promise.all(job.sinks.map((sink) => isThere(sink, signal)));
  if (!sofar.clean) {
    if (job.deletes !== undefined) watermark.tally.note('nothing was deleted: not every item is in every sink');
    return { ended: undefined };
  }
  if (made !== undefined)
    return (await carry.all(made.deletes({ ...context, resumed: false }), afterwards))
      ? { ended: undefined }
      : { ended: stopped };
  if (!(await carry.all(plan({ ...planned, last: true }), afterwards))) return { ended: stopped };
  if (job.deletes === undefined) return { ended: undefined };
  const limits = job.deletes;
  if (carried !== undefined) return await deleteCarried(phases, carried, context, limits);
  const { ended, ...extras } = await deleteExtras(job, { ...planned, carry, watermark: afterwards, limits });
  return { ended: ended ? undefined : stopped, extras };
}

/** What the parts of a distributed run have found to be extra. */
async function deleteCarried(
  { job, carry, afterwards }: Phases,
  carried: Carried,
  context: Omit<MadeContext, 'after' | 'resumed'>,
  limits: DeleteGuard,
): Promise<Ended> {
  const { extras = [] } = carried;
  for (const [number, count] of extras.entries()) guard(limits, count, job.sinks[number]?.location ?? '');
  const sum = (of: 'found' | 'of'): number => extras.reduce((total, count) => total + count[of], 0);
  const ended = (await carry.all(carried.deletes(context), afterwards))
    ? undefined
    : new BrokerError('stopped', 'the run was stopped before its end');
  return { ended, extras: { found: sum('found'), of: sum('of') } };
}

export const isSingle = (only: Selection | undefined): boolean => only !== undefined && 'key' in only;

const isEmpty = ({ items }: Tally): boolean => countOf(items) === 0;

/** Lists as little of a sink as there is. @throws what the sink says when it cannot be listed. */
async function isThere(sink: Sink, signal: AbortSignal): Promise<void> {
  for await (const _ of sink.list?.({ signal }) ?? []) return;
}
