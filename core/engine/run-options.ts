import type { MemoryBudget } from '../api/bytes.ts';
import type { BrokerError } from '../api/errors.ts';
import type { Runtime } from '../api/runtime.ts';
import type { RunContext, Selection } from '../api/source.ts';
import type { ExtrasCount } from './extras.ts';
import type { Observer } from './job.ts';
import type { Step } from './plan.ts';
import type { Report, Tally } from './report.ts';

/** A plan that was made before; carried out instead of a new one. */
export interface MadePlan {
  /** Names it: the same plan, the same name. */
  readonly name: string;
  /**
   * `saved`: by somebody, some time ago; it is carried exactly as it is. `shard`: a part of a run that is distributed:
   * fresh, and in key order, so that it goes on where it stopped.
   */
  readonly kind: 'saved' | 'shard';
  /** It is one of several parts, each carried by another process. */
  readonly part?: { readonly index: number; readonly of: number } | undefined;
  /** Where its receipts lie; by default in the folder of the run. */
  readonly folder?: string;
  steps(context: MadeContext): AsyncGenerator<Step>;
  /** What it deletes: only when all else went well. */
  deletes(context: MadeContext): AsyncGenerator<Step>;
}

export interface MadeContext {
  readonly signal: AbortSignal;
  readonly run: (source: number) => RunContext;
  /** When the run began. */
  readonly since: number;
  /** Of a shard: what comes up to this key is done. */
  readonly after?: string | undefined;
  /** A process before this one has begun with it. */
  readonly resumed: boolean;
}

/** A run of which the items were carried elsewhere, and what became of them. What comes after the items is left. */
export interface Carried {
  readonly runId: string;
  readonly since: number;
  /** What the sources were told when they were listed: their notes have been read by these. */
  readonly contexts: readonly RunContext[];
  readonly tally: Tally;
  /** Lines that were kept of it. */
  readonly kept: Pick<Report, 'receipts' | 'deadLetters'>;
  /** What ended it. */
  readonly ended?: BrokerError | undefined;
  /** What is extra in each sink, and how many there are; undefined when nothing is to be deleted. */
  readonly extras?: readonly ExtrasCount[] | undefined;
  deletes(context: Omit<MadeContext, 'after' | 'resumed'>): AsyncGenerator<Step>;
}

export interface RunOptions {
  readonly runtime: Runtime;
  readonly observer?: Observer;
  readonly resetState?: boolean;
  /** Carry this part only; the checkpoint of the whole is not touched. */
  readonly only?: Selection | undefined;
  /** Carry this out, and list nothing. */
  readonly made?: MadePlan | undefined;
  /** Do what is left of it. */
  readonly carried?: Carried | undefined;
  /** Go on with exactly this run. @throws BrokerError `superseded` when it is not the one that is on record. */
  readonly continues?: string | undefined;
  /** Go on with a paused run, and begin none. @throws BrokerError `superseded` when there is none on record. */
  readonly onlyPaused?: boolean | undefined;
  /** For how long a run that says nothing more counts as under way. */
  readonly leaseMs?: number | undefined;
  /** Shared by runs that are under way at once; by default a run has `job.memory` to itself. */
  readonly memory?: MemoryBudget;
}
