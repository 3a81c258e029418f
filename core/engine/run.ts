import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Runtime } from '../api/runtime.ts';
import type { RunContext } from '../api/source.ts';
import { Carry } from './carry.ts';
import { carryAll, isSingle } from './carry-all.ts';
import { Crc32cPool } from './crc32c.ts';
import { remember } from './history.ts';
import { contextsOf, detailsOf, type Job } from './job.ts';
import { keptOf, Ledger } from './ledger.ts';
import { FairMemoryBudget } from './memory.ts';
import { Progress } from './progress.ts';
import { outcomeOf, type Report, reportOf, Tally } from './report.ts';
import type { RunOptions } from './run-options.ts';
import { AdaptiveSlots } from './slots.ts';
import { Watermark } from './watermark.ts';

/** Saving the checkpoint of a stopped run must end although the run's own signal has fired. */
const CLOSING_MS = 10_000;
/** What receipts and dead letters may take while they are written. */
const LEDGER_BYTES = 32 * 2 ** 20;
/** Sources may have thousands of files to delete. */
const FINISHING_MS = 60_000;

/** Lists, compares, transfers; answers with the report. Throws only when not even a report can be given. */
export async function run(job: Job, options: RunOptions): Promise<Report> {
  const { runtime, observer = {}, resetState = false, only, made, carried, leaseMs } = options;
  const now = (): number => runtime.now();
  const lasts = job.lasts !== 'process';
  const part = made?.name ?? (carried === undefined ? only : `rest of ${carried.runId}`);
  const hasPlaces = made === undefined ? carried === undefined && !isSingle(only) : made.kind === 'shard';
  const begin = { ...job, now, part, hasPlaces, leaseMs, lasts, reset: resetState, signal: runtime.signal };
  await using progress = await Progress.load(begin);
  const { resumed } = progress;
  const runId = carried?.runId ?? progress.runId;
  if (carried !== undefined) progress.watermark.tally.merge(carried.tally);
  if (options.continues !== undefined && options.continues !== runId)
    throw new BrokerError('superseded', `run ${options.continues} is not the one that is on record`);
  if (options.onlyPaused === true && !progress.paused) throw new BrokerError('superseded', 'no run is paused');
  const signal = AbortSignal.any([runtime.signal, progress.lost]);
  await progress.take(signal);
  const begins = (): Promise<void> => progress.save(signal);
  const contexts = carried?.contexts ?? contextsOf(job, { runId, purpose: 'run', begins, reset: resetState });
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
    folder: made?.folder,
    previous: progress.receipts,
    memory: new FairMemoryBudget(LEDGER_BYTES),
    hashers,
    now,
  });
  progress.durable = ledger;
  const exact = made?.kind === 'saved';
  const carry = new Carry({ job, runtime, signal, progress, ledger, memory, slots, hashers, observer, exact });
  const phases = {
    job,
    carry,
    progress,
    contexts,
    signal,
    runtime,
    only,
    made,
    carried,
    afterwards: new Watermark(undefined),
  };
  let { ended, extras } = await carryAll(phases).catch((thrown: unknown) => ({
    ended: signal.aborted ? stoppedBy(progress.lost) : asBrokerError(thrown),
    extras: undefined,
  }));

  const tally = new Tally();
  tally.merge(progress.watermark.total());
  tally.merge(phases.afterwards.total());
  const whole = part === undefined || carried !== undefined;
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
    durationMs: carried === undefined ? progress.durationMs : Math.max(0, now() - carried.since),
    ended,
    ...detailsOf(job.sources),
    ...(made?.part === undefined ? {} : { part: made.part }),
    ...(job.move === true ? { moved: tally.moved } : {}),
    ...(extras === undefined ? {} : { extras }),
    ...(outcome === 'paused' && progress.underWay.bytes > 0 ? { unfinishedBytes: progress.underWay.bytes } : {}),
    ...keptOf(ledger?.kept, carried?.kept),
    used: { memory: memory.peak, memoryLimit: memory.total, slots: slots.peak },
  });
  if (whole && outcome !== 'paused') await keep(job, report, runtime);
  return report;
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
