import type { MemoryBudget } from '../api/bytes.ts';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { RetryPolicy } from '../api/retry.ts';
import type { Runtime } from '../api/runtime.ts';
import type { Sink } from '../api/sink.ts';
import type { RunContext, Selection, Source } from '../api/source.ts';
import type { StateStore } from '../api/state.ts';
import type { Compare } from './compare.ts';
import { Crc32cPool } from './crc32c.ts';
import { FairMemoryBudget } from './memory.ts';
import { SourceNotes } from './notes.ts';
import { type Action, plan } from './plan.ts';
import { Progress } from './progress.ts';
import { failureOf, type Receipt } from './receipt.ts';
import { type Detail, type Report, type RunOutcome, Tally } from './report.ts';
import { transfer } from './transfer.ts';
import { type Mark, Watermark } from './watermark.ts';
import { forEachConcurrently } from './workers.ts';

/** A pipeline with everything made that it names. */
export interface Job {
  readonly pipeline: string;
  readonly fingerprint: string;
  readonly sources: readonly Source[];
  readonly sinks: readonly Sink[];
  readonly compare: Compare;
  readonly concurrency: number;
  /** Bytes that all transfers together may buffer. */
  readonly memory: number;
  readonly retry: RetryPolicy;
  readonly state: StateStore;
  readonly lasts: RunContext['lasts'];
}

/** What a run tells while it is under way. Calls are cheap and never awaited. */
export interface Observer {
  /** A run began, or goes on. */
  started?(run: { readonly runId: string; readonly resumed: boolean }): void;
  /** Bytes that arrived; negative when a failed try is begun anew. */
  bytes?(count: number): void;
  receipt?(receipt: Receipt, action: Action): void;
  /** An item is tried again. */
  retried?(action: Action): void;
}

export interface RunOptions {
  readonly runtime: Runtime;
  readonly observer?: Observer;
  readonly resetState?: boolean;
  /** Carry this part only; the checkpoint of the whole is not touched. */
  readonly only?: Selection | undefined;
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
/** Sources may have thousands of files to delete. */
const FINISHING_MS = 60_000;

interface Task {
  readonly action: Action;
  readonly mark: Mark;
}

/** Lists, compares, transfers; answers with the report. Throws only when not even a report can be given. */
export async function run(job: Job, options: RunOptions): Promise<Report> {
  const { runtime, observer = {}, resetState = false, only } = options;
  const now = (): number => runtime.now();
  const { leaseMs } = options;
  await using progress = await Progress.load({ ...job, now, only, leaseMs, reset: resetState, signal: runtime.signal });
  const { runId, watermark, cursor: after, resumed } = progress;
  if (options.continues !== undefined && options.continues !== runId)
    throw new BrokerError('superseded', `run ${options.continues} is not the one that is on record`);
  if (options.onlyPaused === true && !progress.paused) throw new BrokerError('superseded', 'no run is paused');
  const signal = AbortSignal.any([runtime.signal, progress.lost]);
  await progress.take(signal);
  const begins = (): Promise<void> => progress.save(signal);
  const contexts = contextsOf(job, { runId, purpose: 'run', begins, reset: resetState });
  observer.started?.({ runId, resumed });

  const shared = {
    memory: options.memory ?? new FairMemoryBudget(job.memory),
    hashers: new Crc32cPool(),
    log: runtime.log,
    now,
    onBytes: (count: number) => observer.bytes?.(count),
    onRetry: (action: Action) => observer.retried?.(action),
    onBegin: (sink: number, key: string) => progress.begin(sink, key, signal),
  };
  const many = job.sinks.length > 1;
  const work = async ({ action, mark }: Task): Promise<void> => {
    const receipt = await transfer(action, { ...job, ...shared, signal });
    progress.settled(action.sink, action.item.key);
    mark.done(receipt, many ? job.sinks[action.sink]?.location : undefined);
    observer.receipt?.(receipt, action);
    await progress.saveSometimes(signal);
  };

  /** Of what is written last: begun anew when the run is stopped meanwhile, so it is no part of the checkpoint. */
  const afterwards = new Watermark(undefined);
  let ended: BrokerError | undefined;
  try {
    await progress.tidy(job.sinks, signal, runtime.log);
    const planned = { ...job, run: (source: number) => contexts[source] as RunContext, signal, only };
    const actions = plan({ ...planned, after });
    const listing = { ended: false, single: only !== undefined && 'key' in only };
    await forEachConcurrently(tasks(actions, watermark, runtime, listing), job.concurrency, work);
    // A stop that comes after the last item was begun changes nothing.
    if (!listing.ended) ended = new BrokerError('stopped', 'the run was stopped before its end');
    // With nothing to write, a sink that is not there would never be noticed. `always` needs no right to look.
    else if (only === undefined && isEmpty(watermark.total()) && job.compare !== 'always')
      await Promise.all(job.sinks.map((sink) => isThere(sink, signal)));
    if (ended === undefined && only === undefined && watermark.total().clean) {
      const closing = { ended: false, single: false };
      const lasts = plan({ ...planned, last: true });
      await forEachConcurrently(tasks(lasts, afterwards, runtime, closing), job.concurrency, work);
      if (!closing.ended) ended = new BrokerError('stopped', 'the run was stopped before its end');
    }
  } catch (thrown) {
    ended = signal.aborted ? stoppedBy(progress.lost) : asBrokerError(thrown);
  }

  const tally = new Tally();
  tally.merge(watermark.total());
  tally.merge(afterwards.total());
  if (ended === undefined && only === undefined)
    for (const source of job.sources) for (const failure of source.failures?.() ?? []) tally.fail(failure);
  let outcome = outcomeOf(ended, tally);
  try {
    // Before the run is off the record: who dies in between finishes when it comes again, and begins nothing new.
    if (outcome !== 'paused' && only === undefined && ended?.code !== 'state_conflict') {
      const finishing = AbortSignal.any([signal, AbortSignal.timeout(FINISHING_MS)]);
      await finish(job, contexts, outcome, finishing).catch((thrown: unknown) => {
        // What was transferred is in the report; that it could not be closed must be there too.
        ended = signal.aborted ? stoppedBy(progress.lost) : asBrokerError(thrown);
        outcome = outcomeOf(ended, tally);
      });
    }
    const closing = AbortSignal.timeout(CLOSING_MS);
    // The listing came to its end: the next run starts over, whatever became of the items.
    if (ended === undefined) await progress.clear(closing);
    else if (ended.code !== 'state_conflict') await progress.release(outcome === 'paused', closing);
  } catch (thrown) {
    ended = asBrokerError(thrown);
    outcome = 'failed';
  }
  return {
    pipeline: job.pipeline,
    runId,
    outcome,
    items: tally.items,
    bytes: tally.bytes,
    durationMs: progress.durationMs,
    failures: tally.failures,
    ...(tally.failuresOmitted > 0 ? { failuresOmitted: tally.failuresOmitted } : {}),
    ...(ended === undefined ? {} : { error: { ...failureOf(ended), ...comeBack(ended) } }),
    ...detailsOf(job.sources),
  };
}

const comeBack = ({ next, retryAfterMs }: BrokerError): { readonly retryAfterMs?: number } =>
  next === 'wait' && retryAfterMs !== undefined ? { retryAfterMs } : {};

/** What each source is told of the run, or the plan. */
export function contextsOf(
  { pipeline, sources, state, lasts }: Pick<Job, 'pipeline' | 'sources' | 'state' | 'lasts'>,
  run: Pick<RunContext, 'runId' | 'purpose' | 'begins'> & { readonly reset?: boolean },
): readonly RunContext[] {
  const { reset = false } = run;
  return sources.map((_, number) => ({
    ...run,
    pipeline,
    notes: new SourceNotes(state, pipeline, number, reset),
    lasts,
    reset,
  }));
}

/** What the sources tell besides their items, as a part of a report. */
export function detailsOf(sources: readonly Source[]): { readonly details?: readonly Detail[] } {
  const details = sources.flatMap((source) => {
    const facts = source.facts?.();
    return facts === undefined ? [] : [{ source: source.location, facts }];
  });
  return details.length === 0 ? {} : { details };
}

const stoppedBy = (lost: AbortSignal): BrokerError =>
  lost.aborted
    ? new BrokerError('state_conflict', 'another run has taken over: this one had been silent for too long')
    : new BrokerError('stopped', 'the run was stopped');

const isEmpty = ({ items }: Tally): boolean => Object.values(items).every((count) => count === 0);

const mustStop = (runtime: Runtime): boolean => runtime.stop.aborted || runtime.signal.aborted;

async function* tasks(
  actions: AsyncGenerator<readonly Action[]>,
  watermark: Watermark,
  runtime: Runtime,
  listing: { ended: boolean; readonly single: boolean },
): AsyncGenerator<Task> {
  try {
    // After the one item of a single key, asking whether there is another costs nothing.
    for (let begun = 0; !mustStop(runtime) || (listing.single && begun > 0); begun++) {
      const next = await actions.next();
      if (next.done === true) {
        listing.ended = true;
        return;
      }
      const mark = watermark.begin(next.value[0]?.item.key ?? '', next.value.length);
      for (const action of next.value) yield { action, mark };
    }
  } finally {
    await actions.return(undefined);
  }
}

function outcomeOf(ended: BrokerError | undefined, tally: Tally): RunOutcome {
  if (ended !== undefined) return ended.next === 'wait' ? 'paused' : 'failed';
  if (tally.clean) return 'complete';
  return tally.items.written + tally.items.unchanged + tally.items.deleted > 0 ? 'partial' : 'failed';
}

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
