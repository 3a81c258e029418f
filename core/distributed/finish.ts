import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../api/error-codes.ts';
import { BrokerError } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import type { RunContext } from '../api/source.ts';
import { countOf, type Report, Tally } from '../engine/report.ts';
import { run } from '../engine/run.ts';
import { completeItems, type LargeItem } from './complete.ts';
import { layoutOf, type Phase, sourceContexts } from './context.ts';
import { deletesIn } from './deletes.ts';
import { type AllDone, doneIn, isThere } from './done.ts';
import { type Summary, summaryOf } from './gather.ts';
import { type Head, HeadFile } from './head.ts';
import { shardsIn } from './manifest.ts';
import { merged } from './merge.ts';

/** What a distributed run ends with. */
export interface Finished {
  readonly report: Report;
  /** Where all of it is kept. */
  readonly location: string;
  /** It is complete, or no more failed than is tolerated. */
  readonly isAccepted: boolean;
  /** It was not told before. */
  readonly isFirst: boolean;
}

const reportSpec = z.looseObject({ runId: z.string(), outcome: z.enum(['complete', 'partial', 'failed']) });

/**
 * The end of a distributed run, whatever became of its parts: makes the large items, adds up what the children told and
 * holds it against the plan, then does what a run does after its items. Called again it finds what it did.
 *
 * @param ended what ended the run before its end.
 */
export async function finish(phase: Phase, head: Head, ended: BrokerError | undefined): Promise<Finished> {
  const { files, runtime, observer, leaseMs, job } = phase;
  const { signal } = runtime;
  const layout = layoutOf(phase, head.runId);
  const place = layout.report(head.attempt);
  const before = await files.json(place, reportSpec, signal);
  const answer = (report: Report, isFirst: boolean): Finished => ({
    report,
    location: files.location + place,
    isAccepted: isAccepted(report, phase.shares.toleratedItemsPercent),
    isFirst,
  });
  /** It may have died before it could say that it is over. */
  const over = async (report: Report, leaves: boolean, isFirst: boolean): Promise<Finished> => {
    await new HeadFile(job).finish(head, leaves, signal);
    return answer(report, isFirst);
  };
  // It was written by this very function, and never by hand.
  if (before !== undefined) return await over(before as unknown as Report, true, false);
  await new HeadFile(job).hop(head, signal);
  const summary = await summaryOf(phase, head, 1);
  const outcome = await whatCame(phase, head, summary, ended);
  if ('paused' in outcome) return answer(outcome.paused, false);
  const contexts = sourceContexts(phase, head.runId);
  if (outcome.tally.clean && outcome.ended === undefined) await listAgain(phase, contexts);
  const report = await run(job, {
    runtime,
    observer,
    leaseMs,
    carried: {
      runId: head.runId,
      since: head.since,
      contexts,
      ...outcome,
      extras: summary?.extras,
      deletes: (context) => deletesIn(phase, head, context),
    },
  });
  if (report.outcome === 'paused') return answer(report, false);
  if (await files.create(place, report as unknown as JsonValue, signal))
    return await over(report, outcome.leaves, true);
  // Another one that does the same was first: what it said counts.
  const other = await files.json(place, reportSpec, signal);
  return await over((other ?? report) as unknown as Report, outcome.leaves, false);
}

interface Came {
  readonly tally: Tally;
  readonly kept: Pick<Report, 'receipts' | 'deadLetters'>;
  readonly ended: BrokerError | undefined;
  readonly leaves: boolean;
}

async function whatCame(
  phase: Phase,
  head: Head,
  summary: Summary | undefined,
  ended: BrokerError | undefined,
): Promise<Came | { readonly paused: Report }> {
  const nothing = { tally: new Tally(), kept: {}, leaves: true };
  if (summary === undefined)
    return {
      ...nothing,
      ended: ended ?? new BrokerError('not_carried', `run ${head.runId} was not planned to its end`),
    };
  const done = await doneIn(phase, head, head.attempt);
  const large = await unfinishedItems(phase, head, done);
  const made = large.length === 0 ? undefined : await completeItems(phase, head, large, done);
  if (made?.outcome === 'paused') return { paused: made };
  const stopped = made?.error && new BrokerError(made.error.code, made.error.message, { hint: made.error.hint });
  const { tally, kept, untold } = await merged(phase, head, summary, done, made && Tally.of(made));
  const count = (name: 'receipts' | 'deadLetters'): number => (kept[name]?.lines ?? 0) + (made?.[name]?.lines ?? 0);
  const told = (name: 'receipts' | 'deadLetters') => {
    const sink = phase.job[name];
    const lines = count(name);
    const location = `${sink?.location}${phase.job.pipeline}/${head.runId}/`;
    return sink === undefined || lines === 0 ? {} : { [name]: { location, lines } };
  };
  return {
    tally,
    ended: ended?.code === 'too_many_failed' ? tooMany(ended, tally, untold, stopped) : (ended ?? stopped),
    kept: { ...told('receipts'), ...told('deadLetters') },
    leaves: untold > 0 || (made !== undefined && made.items.written < large.length),
  };
}

/** Where each shard has told what became of it, there is nothing that was not begun; else one of the reasons is told. */
function tooMany(
  { message }: BrokerError,
  { failures: [first] }: Tally,
  untold: number,
  stopped: BrokerError | undefined,
): BrokerError | undefined {
  if (untold === 0) return stopped;
  const why = first === undefined ? '' : `; ${first.key}: ${first.code}: ${first.message}`;
  return new BrokerError('too_many_failed', message + why, first === undefined ? {} : { hint: first.hint });
}

/** Items in pieces that were not made of them yet. */
async function unfinishedItems(phase: Phase, head: Head, done: AllDone): Promise<readonly LargeItem[]> {
  const { files, runtime } = phase;
  const items = new Map<string, LargeItem>();
  for await (const shard of shardsIn(files, layoutOf(phase, head.runId).manifest(1), runtime.signal)) {
    if (shard.piece === undefined || done.get(shard.shard)?.outcome === 'complete') continue;
    const { pieces = 0, there = 0, shard: first = shard } = items.get(shard.shard) ?? {};
    items.set(shard.shard, { shard: first, pieces: pieces + 1, there: there + (isThere(shard, done) ? 1 : 0) });
  }
  return [...items.values()];
}

/** What a source tells at the end, and what it tidies up, it knows from its own listing; others have nothing to tell. */
async function listAgain({ job, runtime }: Phase, contexts: readonly RunContext[]): Promise<void> {
  for (const [number, source] of job.sources.entries()) {
    if ((source.finish ?? source.last ?? source.failures ?? source.facts) === undefined) continue;
    const run = contexts[number] as RunContext;
    for await (const _ of source.list({ signal: runtime.signal, run })) if (runtime.stop.aborted) return;
  }
}

/** Whether a report counts as a success: what failed is in it, whatever it counts as. */
function isAccepted({ outcome, error, items }: Report, toleratedPercent: number): boolean {
  if (outcome === 'complete') return true;
  if (outcome !== 'partial' || error !== undefined) return false;
  return ((items.failed + items.refused) / countOf(items)) * 100 <= toleratedPercent;
}

const lambdaError = z.looseObject({ errorMessage: z.string() });

/** What Step Functions tells of the state that failed, as an error. */
export function endedBy({
  Error: name,
  Cause: cause,
}: {
  readonly Error: string;
  readonly Cause: string;
}): BrokerError {
  if (name === 'States.ExceedToleratedFailureThreshold')
    return new BrokerError('too_many_failed', 'more shards failed than are tolerated; the rest was not begun');
  const code = name.replace(/^Isthmus\./, '');
  const message = messageIn(cause).slice(0, LONGEST_CAUSE);
  // Its own words, hint included.
  if (isErrorCode(code) && ERROR_CODES[code].next !== 'wait') return new BrokerError(code, message);
  return new BrokerError('not_carried', `the execution was ended before its end: ${name}: ${message}`);
}

const LONGEST_CAUSE = 2000;
const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_CODES, code);

/** A Lambda that failed tells it as JSON, in text. */
function messageIn(cause: string): string {
  try {
    return lambdaError.parse(JSON.parse(cause)).errorMessage;
  } catch {
    return cause;
  }
}
