import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import { checkReceipts } from '../engine/receipts.ts';
import type { JobFactory } from '../runtime/job.ts';
import { processRuntime } from '../runtime/process.ts';
import { EXIT, type Output } from './output.ts';
import { loggerFor, type RunFlags } from './run.ts';

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
  const log = loggerFor(flags, output);
  using runtime = processRuntime(log);
  await using open = await jobs.open(file, { log, now: runtime.now });
  const { job } = open;
  if (job.receipts === undefined)
    throw new BrokerError('invalid_config', 'the pipeline keeps no receipts', {
      hint: 'Set receipts in the pipeline.',
    });
  const signal = AbortSignal.any([runtime.signal, runtime.stop]);
  const folder = `${job.pipeline}/${flags.run === undefined ? '' : `${flags.run}/`}`;
  let [files, lines, broken] = [0, 0, 0];
  const told: { readonly file: string; readonly why: string }[] = [];
  for await (const found of checkReceipts(job.receipts, folder, signal)) {
    files++;
    lines += found.lines;
    if (found.broken === undefined) continue;
    broken++;
    if (flags.json === true) told.push({ file: found.file, why: found.broken });
    else output.out(`${visible(job.receipts.location + found.file)}: ${found.broken}`);
  }
  if (flags.json === true) output.out(JSON.stringify({ pipeline: job.pipeline, files, lines, broken: told }));
  else
    output.out(
      `${lines} receipts in ${files} files: ${broken === 0 ? 'as they were written' : `${broken} files were changed`}`,
    );
  return broken === 0 ? EXIT.complete : EXIT.partial;
}
