import { BrokerError } from '../../core/api/index.ts';
import type { JobNotes } from './batch-notes.ts';
import { createRequest } from './batch-request.ts';
import type { BatchConfig } from './config.ts';
import type { BatchJobs } from './jobs.ts';

const ID_LABEL = 'isthmus_id';

/** Finds a job of ours: the API takes no id, so a label tells which it is. */
export const labelFilter = (id: string, attempt: number): string => `labels.${ID_LABEL}="${labelOf(id, attempt)}"`;

const labelOf = (id: string, attempt: number): string => `${id}-${attempt}`;

export interface NamingOptions {
  readonly batch: BatchConfig;
  readonly jobs: BatchJobs;
  /** `projects/…/locations/…` */
  readonly parent: string;
  readonly pipeline: string;
}

/** The full name of a job of this project. */
export const fullName = (job: string, parent: string): string =>
  job.includes('/') ? job : `${parent}/batchPredictionJobs/${job}`;

/** The name of the job that is meant: the one that is adopted, or the one that is created here, if it was not before. */
export async function nameOf(
  notes: JobNotes,
  { batch, jobs, parent, pipeline }: NamingOptions,
  signal: AbortSignal,
): Promise<string> {
  const { job, filter, model } = batch;
  if (job !== undefined) return fullName(job, parent);
  if (filter !== undefined) {
    const newest = await jobs.newest(parent, filter, signal);
    if (newest !== undefined) return newest.name;
    throw new BrokerError('invalid_config', `no batch prediction job of ${parent} matches ${filter}`, {
      hint: 'Correct batch.filter in the source.',
    });
  }
  // It may have been created before the process died.
  const [before] = await jobs.all(parent, labelFilter(notes.id, notes.attempt), signal);
  if (before !== undefined) return before.name;
  const labels = { ...batch.labels, [ID_LABEL]: labelOf(notes.id, notes.attempt), 'isthmus-pipeline': pipeline };
  const folder = `${notes.id}/${notes.attempt}`;
  const request = createRequest(batch, parent, labels, folder, `${pipeline} ${model ?? ''}`);
  return (await jobs.create(parent, request, signal)).name;
}
