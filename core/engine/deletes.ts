import type { Carry } from './carry.ts';
import { countExtras, type DeleteGuard, deleteSteps, type ExtrasCount, type ExtrasOptions, guard } from './extras.ts';
import type { Job } from './job.ts';
import type { Watermark } from './watermark.ts';

export interface DeleteOptions extends ExtrasOptions {
  readonly carry: Carry;
  readonly watermark: Watermark;
  readonly limits: DeleteGuard;
}

/**
 * Deletes in all sinks what no source has. Everything is counted before anything is deleted.
 *
 * @returns how many there were, and whether it came to its end; if not, the run was stopped before.
 * @throws BrokerError `delete_guard` when there are more than may be deleted: then none is.
 */
export async function deleteExtras(
  { sinks }: Job,
  options: DeleteOptions,
): Promise<ExtrasCount & { readonly ended: boolean }> {
  const counts: ExtrasCount[] = [];
  for (const [number, sink] of sinks.entries()) {
    const count = await countExtras(options, number);
    guard(options.limits, count, sink.location);
    counts.push(count);
  }
  const found = counts.reduce((sum, count) => sum + count.found, 0);
  const of = counts.reduce((sum, count) => sum + count.of, 0);
  for (const [number, count] of counts.entries()) {
    const steps = deleteSteps(options, number, count.found);
    if (count.found > 0 && !(await options.carry.all(steps, options.watermark))) return { found, of, ended: false };
  }
  return { found, of, ended: true };
}
