import { writeFile } from 'node:fs/promises';
import { BrokerError, systemErrorCode } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import { readInputs } from '../html/inputs.ts';
import { reportPage } from '../html/page.ts';
import type { JobFactory } from '../runtime/job.ts';
import { EXIT, type Output } from './output.ts';

export interface ReportFlags {
  readonly out: string;
}

const PIPELINE = /\.ya?ml$/;

/** `isthmus report`: one page of HTML about what the other commands have printed. Touches no network. */
export async function reportCommand(
  files: readonly string[],
  { out }: ReportFlags,
  jobs: JobFactory,
  output: Output,
): Promise<number> {
  const pipelines = files.filter((file) => PIPELINE.test(file));
  const [pipeline, second] = pipelines;
  if (second !== undefined)
    throw new BrokerError('invalid_config', `${visible(second)} is a second pipeline`, { hint: 'Name one.' });
  const inputs = await readInputs(files.filter((file) => !PIPELINE.test(file)));
  const loaded = pipeline === undefined ? undefined : await jobs.load(pipeline);
  await writeFile(out, reportPage(inputs, loaded, new Date().toISOString())).catch((error: unknown) => {
    throw new BrokerError(
      'invalid_config',
      `${visible(out)} cannot be written: ${systemErrorCode(error) ?? 'unknown'}`,
      {
        hint: 'Name a file in a folder that is there with --out.',
      },
    );
  });
  output.out(`wrote ${visible(out)}`);
  return EXIT.complete;
}
