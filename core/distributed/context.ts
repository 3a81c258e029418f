import { BrokerError } from '../api/errors.ts';
import type { Runtime } from '../api/runtime.ts';
import type { RunContext } from '../api/source.ts';
import type { Observer } from '../engine/job.ts';
import { contextsOf, type Job } from '../engine/job.ts';
import { Files } from './files.ts';
import { Layout } from './layout.ts';

/** How a pipeline is distributed. */
export interface Shares {
  /** A shard ends with the item that brings it to so many bytes, or so many items. */
  readonly shardBytes: number;
  readonly shardItems: number;
  /** Children at once, at most. */
  readonly maxConcurrency: number;
  /** Writes to the sinks in a second, by all children together. */
  readonly requestsPerSecond: number;
  /** So many of the shards may fail as a whole. */
  readonly toleratedShardsPercent: number;
  /** So many of the items may fail, and the execution still succeeds. */
  readonly toleratedItemsPercent: number;
}

/** What every phase works with. */
export interface Phase {
  readonly job: Job;
  readonly runtime: Runtime;
  readonly observer: Observer;
  readonly shares: Shares;
  readonly files: Files;
  readonly leaseMs?: number | undefined;
}

/** @throws BrokerError `invalid_config` when the state of the pipeline keeps no files that all processes find. */
export function filesOf({ state, lasts, retry }: Job): Files {
  if (state.files !== undefined && lasts === 'anywhere') return new Files(state.files, retry);
  throw new BrokerError('invalid_config', 'a distributed run needs a `state` that every child finds, such as s3', {
    hint: 'Add state: { use: s3, with: { bucket: … } }.',
  });
}

export const layoutOf = ({ job }: Phase, runId: string): Layout => new Layout(job.pipeline, runId);

/** What the sources are told of a distributed run: its id is the same in every process. */
export function sourceContexts({ job }: Phase, runId: string): readonly RunContext[] {
  // It is on record before any source is asked.
  return contextsOf(job, { runId, purpose: 'run', begins: async () => {} });
}
