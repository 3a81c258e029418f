import type { Runtime } from '../api/runtime.ts';
import type { Job } from './job.ts';
import { Progress } from './progress.ts';

/**
 * Forgets how far a part of a run was, and removes what it has left in the sinks: nobody goes on with it. Costs one look
 * at the state where there is nothing.
 */
export async function forgetPart(job: Job, name: string, { signal, log, now }: Runtime): Promise<void> {
  const lasts = job.lasts !== 'process';
  const given = { ...job, now, part: name, hasPlaces: true, leaseMs: 0, lasts, reset: false, signal };
  await using progress = await Progress.load(given);
  if (!progress.resumed) return;
  await progress.underWay.tidy(job.sinks, 'unknown', signal, log);
  await progress.underWay.tidy(job.sinks, 'unused', signal, log);
  await progress.clear(signal);
}
