import { z } from 'zod';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import type { StateStore } from '../api/state.ts';
import type { Report } from './report.ts';

const VERSION = 1;
/** Two runs may end at once. */
const TRIES = 5;
/** A report in the history names only the first of what failed. */
const MOST_FAILURES = 10;

const schema = z.object({
  version: z.literal(VERSION),
  runs: z.array(z.looseObject({ runId: z.string(), outcome: z.string(), endedAt: z.string() })),
});

/** The report of a run that is over, and when that was. */
export type PastRun = z.output<typeof schema>['runs'][number];

const placeOf = (pipeline: string): string => `${pipeline}.history`;

/** The last runs of a pipeline, the newest first. @throws BrokerError `state_unreadable` */
export async function pastRuns(state: StateStore, pipeline: string, signal: AbortSignal): Promise<readonly PastRun[]> {
  return (await load(state, pipeline, signal)).runs;
}

async function load(state: StateStore, pipeline: string, signal: AbortSignal) {
  const saved = await state.load(placeOf(pipeline), { signal });
  if (saved === undefined) return { runs: [], revision: undefined };
  const parsed = schema.safeParse(saved.value);
  if (!parsed.success) throw new BrokerError('state_unreadable', `the history of ${pipeline} has not the form of one`);
  return { runs: parsed.data.runs, revision: saved.revision };
}

/** Puts a report before those of earlier runs. @param keep so many are kept. */
export async function remember(
  state: StateStore,
  report: Report,
  { keep, now, signal }: { readonly keep: number; readonly now: number; readonly signal: AbortSignal },
): Promise<void> {
  const { failures, details: _, ...told } = report;
  const omitted = failures.length - MOST_FAILURES + (report.failuresOmitted ?? 0);
  const entry = {
    ...told,
    endedAt: new Date(now).toISOString(),
    failures: failures.slice(0, MOST_FAILURES),
    ...(omitted > 0 ? { failuresOmitted: omitted } : {}),
  };
  for (let attempt = 1; ; attempt++) {
    const { runs, revision } = await load(state, report.pipeline, signal);
    const value = { version: VERSION, runs: [entry, ...runs].slice(0, keep) };
    try {
      await state.save(placeOf(report.pipeline), value as unknown as JsonValue, revision, { signal });
      return;
    } catch (thrown) {
      if (asBrokerError(thrown).code !== 'state_conflict' || attempt >= TRIES) throw thrown;
    }
  }
}
