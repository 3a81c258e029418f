import type { MemoryBudget } from '../api/bytes.ts';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Runtime } from '../api/runtime.ts';
import type { Sink } from '../api/sink.ts';
import type { RunContext, Selection } from '../api/source.ts';
import { Carry } from './carry.ts';
import { Crc32cPool } from './crc32c.ts';
import { deleteExtras } from './deletes.ts';
import type { ExtrasCount } from './extras.ts';
import { remember } from './history.ts';
import { contextsOf, detailsOf, type Job, type Observer } from './job.ts';
import { Ledger } from './ledger.ts';
import { FairMemoryBudget } from './memory.ts';
import { plan, type Step } from './plan.ts';
import { Progress } from './progress.ts';
import { outcomeOf, type Report, reportOf, Tally } from './report.ts';
import { AdaptiveSlots } from './slots.ts';
import { Watermark } from './watermark.ts';

/** A plan that was made before; carried out instead of a new one. */
export interface MadePlan {
  /** Names it: the same plan, the same name. */
  readonly name: string;
  steps(context: MadeContext): AsyncGenerator<Step>;
  /** What it deletes: only when all else went well. */
  deletes(context: MadeContext): AsyncGenerator<Step>;
}

export interface MadeContext {
  readonly signal: AbortSignal;
  readonly run: (source: number) => RunContext;
  /** When the run began. */
  readonly since: number;
}

export interface RunOptions {
  readonly runtime: Runtime;
  readonly observer?: Observer;
  readonly resetState?: boolean;
  /** Carry this part only; the checkpoint of the whole is not touched. */
  readonly only?: Selection | undefined;
  /** Carry this out, and list nothing. */
  readonly made?: MadePlan | undefined;
  /** Go on with exactly this run. @throws BrokerError `superseded` when it is not the one that is on record. */
  readonly continues?: string | undefined;
  /** Go on with a paused run, and begin none. @throws BrokerError `superseded` when there is none on record. */
  readonly onlyPaused?: boolean | undefined;
  /** For how long a run that says nothing more counts as under way. */
  readonly leaseMs?: number | undefined;
  /** Shared by runs that are under way at once; by default a run has `job.memory` to itself. */
  readonly memory?: MemoryBudget;
}

/** Saving the checkpoint of a stopped run must end although the run's own signal has fired. */
const CLOSING_MS = 10_000;
/** What receipts and dead letters may take while they are written. */
const LEDGER_BYTES = 32 * 2 ** 20;
/** Sources may have thousands of files to delete. */
const FINISHING_MS = 60_000;

/** Lists, compares, transfers; answers with the report. Throws only when not even a report can be given. */
export async function run(job: Job, options: RunOptions): Promise<Report> {
  const { runtime, observer = {}, resetState = false, only, made, leaseMs } = options;
  const now = (): number => runtime.now();
  const lasts = job.lasts !== 'process';
  const part = made?.name ?? only;
  const begin = { ...job, now, part, leaseMs, lasts, reset: resetState, signal: runtime.signal };
  await using progress = await Progress.load(begin);
  const { runId, resumed } = progress;
  if (options.continues !== undefined && options.continues !== runId)
    throw new BrokerError('superseded', `run ${options.continues} is not the one that is on record`);
  if (options.onlyPaused === true && !progress.paused) throw new BrokerError('superseded', 'no run is paused');
  const signal = AbortSignal.any([runtime.signal, progress.lost]);
  await progress.take(signal);
  const begins = (): Promise<void> => progress.save(signal);
  const contexts = contextsOf(job, { runId, purpose: 'run', begins, reset: resetState });
  observer.started?.({ runId, resumed });

  const memory = options.memory ?? new FairMemoryBudget(job.memory);
  const slots = new AdaptiveSlots({
    most: job.concurrency,
    adapts: job.adapts === true,
    ...(job.throttled === undefined ? {} : { throttled: job.throttled }),
    now: () => performance.now(),
  });
  const hashers = new Crc32cPool();
  // Of its own: whoever waits for the record may hold a share of the other.
  const ledger = Ledger.of({
    job,
    runId,
    previous: progress.receipts,
    memory: new FairMemoryBudget(LEDGER_BYTES),
    hashers,
    now,
  });
  progress.durable = ledger;
  const exact = made !== undefined;
  const carry = new Carry({ job, runtime, signal, progress, ledger, memory, slots, hashers, observer, exact });
  const phases = { job, carry, progress, contexts, signal, runtime, only, made, afterwards: new Watermark(undefined) };
  let { ended, extras } = await carryAll(phases).catch((thrown: unknown) => ({
    ended: signal.aborted ? stoppedBy(progress.lost) : asBrokerError(thrown),
    extras: undefined,
  }));

  const tally = new Tally();
  tally.merge(progress.watermark.total());
  tally.merge(phases.afterwards.total());
  const whole = part === undefined;
  if (ended === undefined && whole)
    for (const source of job.sources) for (const failure of source.failures?.() ?? []) tally.fail(failure);
  let outcome = outcomeOf(ended, tally);
  try {
    // Before the run is off the record: who dies in between finishes when it comes again, and begins nothing new.
    if (outcome !== 'paused' && whole && ended?.code !== 'state_conflict') {
      const finishing = AbortSignal.any([signal, AbortSignal.timeout(FINISHING_MS)]);
      await finish(job, contexts, outcome, finishing).catch((thrown: unknown) => {
        // What was transferred is in the report; that it could not be closed must be there too.
        ended = signal.aborted ? stoppedBy(progress.lost) : asBrokerError(thrown);
        outcome = outcomeOf(ended, tally);
      });
    }
    const closing = AbortSignal.timeout(CLOSING_MS);
    if (ended?.code !== 'state_conflict') await ledger?.flush(closing);
    // The listing came to its end: the next run starts over, whatever became of the items.
    if (ended === undefined || ended.code === 'delete_guard') await progress.clear(closing);
    else if (ended.code !== 'state_conflict') await progress.release(outcome === 'paused', closing);
  } catch (thrown) {
    ended = asBrokerError(thrown);
    outcome = 'failed';
  }
  const report = reportOf(tally, {
    pipeline: job.pipeline,
    runId,
    outcome,
    durationMs: progress.durationMs,
    ended,
    ...detailsOf(job.sources),
    ...(job.move === true ? { moved: tally.moved } : {}),
    ...(extras === undefined ? {} : { extras }),
    ...(outcome === 'paused' && progress.underWay.bytes > 0 ? { unfinishedBytes: progress.underWay.bytes } : {}),
    ...ledger?.kept,
    used: { memory: memory.peak, memoryLimit: memory.total, slots: slots.peak },
  });
  if (whole && outcome !== 'paused') await keep(job, report, runtime);
  return report;
}

interface Phases extends Pick<RunOptions, 'runtime' | 'only' | 'made'> {
  readonly job: Job;
  readonly carry: Carry;
  readonly progress: Progress;
  readonly contexts: readonly RunContext[];
  readonly signal: AbortSignal;
  /** Of what comes after the items: begun anew when the run is stopped meanwhile, so it is no part of the checkpoint. */
  readonly afterwards: Watermark;
}

interface Ended {
  readonly ended: BrokerError | undefined;
  readonly extras?: ExtrasCount | undefined;
}

/** Items, then what is written last, then what is deleted: each only when all before it went well. */
async function carryAll(phases: Phases): Promise<Ended> {
  const { job, carry, progress, contexts, signal, runtime, only, made, afterwards } = phases;
  const { watermark, underWay, cursor: after } = progress;
  const stopped = new BrokerError('stopped', 'the run was stopped before its end');
  await underWay.tidy(job.sinks, 'unknown', signal, runtime.log);
  const context = { run: (source: number) => contexts[source] as RunContext, signal, since: runtime.now() };
  const planned = { ...job, ...context, only };
  const steps = made === undefined ? plan({ ...planned, after }) : made.steps(context);
  // A stop that comes after the last item was begun changes nothing.
  if (!(await carry.all(steps, watermark, only !== undefined && 'key' in only))) return { ended: stopped };
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
    return (await carry.all(made.deletes(context), afterwards)) ? { ended: undefined } : { ended: stopped };
  if (!(await carry.all(plan({ ...planned, last: true }), afterwards))) return { ended: stopped };
  if (job.deletes === undefined) return { ended: undefined };
  const limits = job.deletes;
  const { ended, ...extras } = await deleteExtras(job, { ...planned, carry, watermark: afterwards, limits });
  return { ended: ended ? undefined : stopped, extras };
}

/** The history is for people: that it cannot be kept is no reason for a run to fail. */
async function keep(job: Job, report: Report, { now, log }: Runtime): Promise<void> {
  const { state, history = 0, lasts } = job;
  if (history === 0 || lasts === 'process') return;
  const signal = AbortSignal.timeout(CLOSING_MS);
  await remember(state, report, { keep: history, now: now(), signal }).catch((thrown: unknown) => {
    const { code, message, hint } = asBrokerError(thrown);
    log.warn('the report could not be put into the history', { code, message, hint });
  });
}

const stoppedBy = (lost: AbortSignal): BrokerError =>
  lost.aborted
    ? new BrokerError('state_conflict', 'another run has taken over: this one had been silent for too long')
    : new BrokerError('stopped', 'the run was stopped');

const isEmpty = ({ items }: Tally): boolean => Object.values(items).every((count) => count === 0);

async function finish(
  job: Job,
  contexts: readonly RunContext[],
  outcome: 'complete' | 'partial' | 'failed',
  signal: AbortSignal,
): Promise<void> {
  for (const [number, source] of job.sources.entries()) {
    const run = contexts[number];
    if (run !== undefined) await source.finish?.({ outcome, run, signal });
  }
}

/** Lists as little of a sink as there is. @throws what the sink says when it cannot be listed. */
async function isThere(sink: Sink, signal: AbortSignal): Promise<void> {
  for await (const _ of sink.list?.({ signal }) ?? []) return;
}
