import { z } from 'zod';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { RunContext, Source } from '../api/source.ts';
import { layoutOf, type Phase, sourceContexts } from './context.ts';
import { type Head, HeadFile } from './head.ts';
import { type Begun, runIdOf } from './layout.ts';
import { cutRanges, type Glimpse, type KeyRange } from './ranges.ts';
import { abandonRun } from './uploads.ts';

/** Ranges are listed at once by so many children: as many as an inline Map of Step Functions runs. */
const MOST_RANGES = 40;
/** A range of its own is not worth it for less than is listed in a second. */
const FEW_KEYS = 100_000;
/** A page of most listings. */
const GLIMPSE = 1000;
const LOOKS = 400;
/** Filters may leave out millions of names before the first that is wanted: then it is not known what lies there. */
const LOOK_MS = 20_000;
const LOOKS_AT_ONCE = 16;

const rangesSpec = z.object({
  ranges: z.array(z.strictObject({ after: z.string().exactOptional(), until: z.string().exactOptional() })).min(1),
});

export interface Begin extends Begun {
  /** Carry what the last run has not: true, or its id. */
  readonly again: true | string | undefined;
  /** Whether an execution is under way. */
  readonly isRunning: (execution: string) => Promise<boolean>;
}

/**
 * Puts a run on record and cuts the listing into ranges.
 *
 * @returns the run, and how many ranges there are to be listed: none when it is only carried again.
 * @throws BrokerError `busy` while another execution carries this pipeline.
 */
export async function begin(
  phase: Phase,
  { execution, started, again, isRunning }: Begin,
): Promise<Head & { ranges: number }> {
  const { runtime, job } = phase;
  const { signal } = runtime;
  refuseBound(job);
  const file = new HeadFile(job);
  const before = await file.load(signal);
  const isOwn = before?.execution === execution && before.started === started;
  if (before !== undefined && isOwn && !before.finished) return await cut(phase, before);
  if (before !== undefined && !before.finished && before.execution !== execution && (await isRunning(before.execution)))
    throw new BrokerError('busy', `run ${before.runId} is under way in another execution`);
  const since = runtime.now();
  if (again !== undefined) {
    if (before === undefined || (again !== true && again !== before.runId))
      throw new BrokerError('superseded', 'there is no such run to carry again: only the last one can be', {
        hint: 'Start the state machine without an input: it compares everything anew.',
      });
    file.unchanged(before);
    const head = { ...before, execution, started, attempt: before.attempt + 1, finished: false, hops: 0 };
    await saved(file, head, signal);
    return { ...(await file.expect(head.runId, head.attempt, signal)), ranges: 0 };
  }
  if (before?.leaves === true) await abandonRun(phase, before);
  const runId = runIdOf({ execution, started });
  const head = { runId, execution, started, attempt: 1, since, finished: false, leaves: true, hops: 0 };
  await saved(file, head, signal);
  return await cut(phase, await file.expect(runId, 1, signal));
}

/** Of the same phase, called twice at once, the other one may have put it on record: that is as good. */
async function saved(file: HeadFile, head: Parameters<HeadFile['save']>[0], signal: AbortSignal): Promise<void> {
  try {
    await file.save(head, signal);
  } catch (thrown) {
    const now = asBrokerError(thrown).code === 'busy' ? await file.load(signal) : undefined;
    if (now?.runId !== head.runId || now.attempt !== head.attempt) throw thrown;
  }
}

/** @returns the range of this number. @throws BrokerError `not_carried` */
export async function rangeOf(phase: Phase, head: Head, number: number): Promise<KeyRange> {
  const range = (await rangesIn(phase, head))?.[number];
  if (range === undefined) throw new BrokerError('not_carried', `range ${number} of the listing is not on record`);
  return range;
}

export async function rangesIn(phase: Phase, { runId }: Head): Promise<readonly KeyRange[] | undefined> {
  const key = layoutOf(phase, runId).ranges;
  return (await phase.files.json(key, rangesSpec, phase.runtime.signal))?.ranges;
}

async function cut(phase: Phase, head: Head): Promise<Head & { ranges: number }> {
  if (head.attempt > 1) return { ...head, ranges: 0 };
  const found = await rangesIn(phase, head);
  if (found !== undefined) return { ...head, ranges: found.length };
  const { stop } = phase.runtime;
  // What was cut by then is a partition, too.
  const sizes = { ...SIZES, stop };
  const ranges = canSeek(phase) ? await cutRanges((after) => glimpse(phase, head, after), sizes) : [{}];
  const key = layoutOf(phase, head.runId).ranges;
  const isFirst = await phase.files.create(
    key,
    { ranges: ranges.map((range) => ({ ...range })) },
    phase.runtime.signal,
  );
  // Two that cut it at once may come to other ranges: those that are on record count.
  return isFirst ? { ...head, ranges: ranges.length } : await cut(phase, head);
}

/** @throws BrokerError `invalid_config` for items that only whoever has listed them can open. */
function refuseBound({ sources }: Phase['job']): void {
  const bound = sources.find(({ portable }) => portable !== true);
  if (bound === undefined) return;
  throw new BrokerError('invalid_config', `${bound.location}: its items can be opened only where they were listed`, {
    hint: 'Run the pipeline by one function or container; BigQuery can be distributed with a `staging` bucket.',
  });
}

const SIZES = { most: MOST_RANGES, few: FEW_KEYS, looks: LOOKS, atOnce: LOOKS_AT_ONCE };

/** Whether a listing may be cut: which keys are taken, and what a list of names holds, is known only from the start on. */
const canSeek = ({ job }: Phase): boolean =>
  job.sources.every(({ seeks, transient }) => seeks === true && transient !== true) && job.keys?.unique !== false;

/** What the largest source shows: the others are cut where it is. Undefined when that takes too long. */
async function glimpse(phase: Phase, { runId }: Head, after: string | undefined): Promise<Glimpse | undefined> {
  const { job, runtime } = phase;
  const contexts = sourceContexts(phase, runId);
  const patience = AbortSignal.timeout(LOOK_MS);
  const signal = AbortSignal.any([runtime.signal, runtime.stop, patience]);
  const keysOf = async (source: Source, number: number): Promise<string[]> => {
    const keys: string[] = [];
    const run = contexts[number] as RunContext;
    const limits = { signal, run, ...(after === undefined ? {} : { after }) };
    for await (const { key } of source.list(limits)) if (keys.push(key) === GLIMPSE) break;
    return keys;
  };
  try {
    const [first = [], ...others] = await Promise.all(job.sources.map(keysOf));
    const keys = others.reduce((longest, one) => (one.length > longest.length ? one : longest), first);
    return { keys, isAll: keys.length < GLIMPSE };
  } catch (thrown) {
    if (runtime.signal.aborted || !(patience.aborted || runtime.stop.aborted)) throw thrown;
    return undefined;
  }
}
