import { z } from 'zod';
import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import { pastRuns } from '../engine/history.ts';
import type { Job } from '../engine/job.ts';
import { checkReceipts } from '../engine/receipts.ts';
import type { JobFactory } from '../runtime/job.ts';
import { opened } from './opened.ts';
import { EXIT, type Output } from './output.ts';
import type { RunFlags } from './run.ts';

export interface ReceiptsFlags extends RunFlags {
  /** Of one run only. */
  readonly run?: string;
}

/** `isthmus receipts`: whether the receipts of a pipeline are as they were written. */
export async function receiptsCommand(
  file: string,
  flags: ReceiptsFlags,
  jobs: JobFactory,
  output: Output,
): Promise<number> {
  await using looked = await opened(file, flags, jobs, output);
  const { job, signal } = looked;
  if (job.receipts === undefined)
    throw new BrokerError('invalid_config', 'the pipeline keeps no receipts', {
      hint: 'Set receipts in the pipeline.',
    });
  const folder = `${job.pipeline}/${flags.run === undefined ? '' : `${flags.run}/`}`;
  let [files, lines] = [0, 0];
  const told: { readonly file: string; readonly why: string }[] = [];
  const tell = (name: string, why: string): void => {
    told.push({ file: name, why });
    if (flags.json !== true) output.out(`${visible(job.receipts?.location + name)}: ${why}`);
  };
  const missing = await headsOf(job, folder, signal);
  for await (const found of checkReceipts(job.receipts, folder, signal)) {
    files++;
    lines += found.lines;
    missing.delete(found.head ?? '');
    if (found.broken !== undefined) tell(found.file, found.broken);
  }
  // The last file of a run has none after it that would miss it.
  for (const [head, run] of missing)
    tell(`${job.pipeline}/${run}/`, `the history names ${head.slice(0, 16)}… as the last receipt; it is not there`);
  if (files === 0 && told.length === 0)
    throw new BrokerError('invalid_config', `there are no receipts below ${visible(job.receipts.location + folder)}`, {
      hint: 'Run the pipeline first, or correct --run.',
    });
  const broken = told.length;
  if (flags.json === true) output.out(JSON.stringify({ pipeline: job.pipeline, files, lines, broken: told }));
  else output.out(`receipts: ${lines}, files: ${files}, changed or missing: ${broken}`);
  return broken === 0 ? EXIT.complete : EXIT.partial;
}

/** The last hash of each run that the history remembers, and the run. */
async function headsOf(
  { state, pipeline, receipts: kept }: Job,
  folder: string,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const heads = new Map<string, string>();
  for (const { runId, receipts } of await pastRuns(state, pipeline, signal)) {
    const { head, location = '' } = z.object({ head: z.string(), location: z.string() }).safeParse(receipts).data ?? {};
    // Receipts of before may be elsewhere.
    if (head !== undefined && location.startsWith(kept?.location ?? '') && `${pipeline}/${runId}/`.startsWith(folder))
      heads.set(head, runId);
  }
  return heads;
}
