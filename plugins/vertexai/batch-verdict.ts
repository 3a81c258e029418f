import { BrokerError, type Facts } from '../../core/api/index.ts';
import { type Counts, countFailures } from './failures.ts';
import type { BatchJob } from './jobs.ts';
import { folderUrl, type Storage } from './storage.ts';

export const isOver = ({ state }: BatchJob): boolean =>
  /_(SUCCEEDED|FAILED|CANCELLED|EXPIRED|PARTIALLY_SUCCEEDED)$/.test(state);

/** Takes longer than it may, and was not cancelled for it before. */
export const isLate = ({ state, createTime }: BatchJob, timeout: number | undefined, now: number): boolean =>
  timeout !== undefined &&
  !/_CANCELLING$/.test(state) &&
  createTime != null &&
  now - createTime.seconds * 1000 > timeout;

/** Whether what a job did is good enough. */
export interface Verdict {
  readonly failure?: BrokerError;
  readonly counts?: Counts;
}

/** Judges a job that is over. */
export async function verdictOn(
  { state, name, error, partialFailures, outputInfo, completionStats }: BatchJob,
  maxFailedRatio: number,
  storage: Storage,
  signal: AbortSignal,
): Promise<Verdict> {
  const reason = error?.message || partialFailures?.[0]?.message || 'no reason is given';
  if (/_(CANCELLED|EXPIRED)$/.test(state))
    return { failure: new BrokerError('job_cancelled', `${name}: ${state}: ${reason}`) };
  if (/_FAILED$/.test(state)) return { failure: new BrokerError('job_failed', `${name}: ${reason}`) };
  const directory = outputInfo?.gcsOutputDirectory;
  if (!directory) {
    const table = outputInfo?.bigqueryOutputTable;
    const hint = 'Carry it with the bigquery source.';
    return {
      failure: new BrokerError('invalid_config', `${name} wrote to BigQuery${table ? `, table ${table}` : ''}`, {
        hint,
      }),
    };
  }
  const counts = await countFailures(completionStats, storage.at(folderUrl(directory)), signal);
  const all = counts.successfulCount + counts.failedCount;
  const ratio = all === 0 ? 0 : counts.failedCount / all;
  if (ratio <= maxFailedRatio && (maxFailedRatio > 0 || !/PARTIALLY/.test(state))) return { counts };
  const hint = `Its files are in ${directory}. Mend the instances, or raise batch.maxFailedRatio to accept it.`;
  const message = `${name}: ${counts.failedCount} of ${all} instances failed: ${reason}`;
  return { counts, failure: new BrokerError('job_failed', message, { hint }) };
}

/** What there is to tell of a job. */
export function factsOf({ name, state, model, completionStats, error }: BatchJob): Facts {
  const counts = Object.entries(completionStats ?? {}).filter(
    (entry): entry is [string, number] => typeof entry[1] === 'number' && entry[1] >= 0,
  );
  return {
    job: name,
    state: state.replace(/^JOB_STATE_/, ''),
    ...(model ? { model } : {}),
    ...Object.fromEntries(counts),
    ...(error?.message ? { error: error.message } : {}),
  };
}
