import { linesOf, z } from '../../core/api/index.ts';
import type { Staging } from '../google/storage/staging.ts';
import type { BatchJob } from './jobs.ts';

/** What jobs name their files of errors. Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.batchPredictionJobs#OutputConfig */
export const isErrors = (key: string): boolean => /^(?:.*\/)?(?:errors?[_-]|prediction\.errors)/.test(key);

export interface Counts {
  readonly successfulCount: number;
  readonly failedCount: number;
}

/**
 * How many instances failed: as the job says, or, where it does not know, by its files. (Gemini tells of errors among
 * its predictions, in `status`.)
 */
export async function countFailures(
  completionStats: BatchJob['completionStats'],
  files: Staging,
  signal: AbortSignal,
): Promise<Counts> {
  const { successfulCount, failedCount } = completionStats ?? {};
  if (
    typeof successfulCount === 'number' &&
    typeof failedCount === 'number' &&
    successfulCount >= 0 &&
    failedCount >= 0
  )
    return { successfulCount, failedCount };
  let [successful, failed] = [0, 0];
  for await (const item of files.list('', signal)) {
    if ((item.size ?? 0) === 0) continue;
    let header = item.key.endsWith('.csv') && !isErrors(item.key);
    for await (const { text } of linesOf(await files.open(item, undefined, signal), { name: item.key })) {
      if (header) header = false;
      else if (isErrors(item.key) || isFailed(text)) failed++;
      else successful++;
    }
  }
  return { successfulCount: successful, failedCount: failed };
}

const lineSchema = z.object({
  status: z.string().optional(),
  error: z.unknown().optional(),
  response: z.object({ candidates: z.array(z.unknown()).default([]) }).optional(),
});

/** Of Gemini: `status` says why there is no answer; one that was blocked has no candidates. */
function isFailed(text: string): boolean {
  const { success, data } = lineSchema.safeParse(parsed(text));
  if (!success) return false;
  const { status = '', error, response } = data;
  return status !== '' || error !== undefined || response?.candidates.length === 0;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
