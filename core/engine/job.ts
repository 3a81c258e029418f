import type { RetryPolicy } from '../api/retry.ts';
import type { Sink } from '../api/sink.ts';
import type { RunContext, Source } from '../api/source.ts';
import type { StateStore } from '../api/state.ts';
import type { DeleteGuard } from './extras.ts';
import { SourceNotes } from './notes.ts';
import type { Action, Rules } from './plan.ts';
import type { Receipt } from './receipt.ts';
import type { Detail } from './report.ts';

/** A pipeline with everything made that it names. */
export interface Job extends Rules {
  readonly pipeline: string;
  readonly fingerprint: string;
  readonly sources: readonly Source[];
  readonly sinks: readonly Sink[];
  /** Transfers at once, at most. */
  readonly concurrency: number;
  /** Begin with few, and use more as that makes the run faster. */
  readonly adapts?: boolean;
  /** How often the clouds have said that it is too much, so far. */
  readonly throttled?: () => number;
  /** Bytes that all transfers together may buffer. */
  readonly memory: number;
  readonly retry: RetryPolicy;
  readonly state: StateStore;
  readonly lasts: RunContext['lasts'];
  /** Delete in the sinks what no source has, within these limits. */
  readonly deletes?: DeleteGuard | undefined;
  /** Delete items in their source once they are proved in every sink. */
  readonly move?: boolean;
  /** Where a line is kept for each item. */
  readonly receipts?: Sink | undefined;
  /** Where items that were not carried are kept, as a plan that can be applied. */
  readonly deadLetters?: Sink | undefined;
  /** How many reports of runs are remembered. */
  readonly history?: number;
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
