import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { BrokerError } from '../api/errors.ts';
import { appliedPlan, type PlanFile, planHeaderOf } from '../engine/apply.ts';
import type { RunOptions } from '../engine/run-options.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import type { JobFactory } from '../runtime/job.ts';
import { isUrl, keptFiles, localFiles } from '../runtime/plan-files.ts';
import { processRuntime } from '../runtime/process.ts';
import { shareIn } from '../runtime/share.ts';
import type { Output } from './output.ts';
import { carryCommand, loggerFor, type RunFlags } from './run.ts';

export interface ApplyFlags extends RunFlags {
  readonly pipeline?: string;
  /** `i/n`, or `n` where the platform says which. */
  readonly shard?: string;
}

/** `isthmus apply`: carries out a plan that was saved, or what a run could not carry. */
export async function applyCommand(
  plan: string,
  flags: ApplyFlags,
  jobs: JobFactory,
  environment: Environment,
  output: Output,
): Promise<number> {
  const log = loggerFor(flags, output);
  using runtime = processRuntime(log);
  const share = shareIn(flags.shard, environment);
  const local = isUrl(plan) ? undefined : await localFiles(plan);
  const pipeline = flags.pipeline ?? (local && (await pipelineOf(plan, local, runtime.signal)));
  if (pipeline === undefined)
    throw new BrokerError(
      'invalid_config',
      `${plan} does not say of which pipeline it is, or that is not where it was`,
      {
        hint: 'Name the pipeline file: --pipeline FILE.',
      },
    );
  const parts = { jobs, environment, output, runtime };
  return await carryCommand(pipeline, flags, parts, async (open): Promise<Partial<RunOptions>> => {
    const { job } = open;
    const files = local ?? (await keptFiles(plan, job, runtime.signal));
    return { made: appliedPlan(plan, job, files, share) };
  });
}

/** As it stands in the plan, from its folder on. */
async function pipelineOf(
  plan: string,
  [first]: readonly PlanFile[],
  signal: AbortSignal,
): Promise<string | undefined> {
  const header = first && (await planHeaderOf(first, signal));
  if (header?.file === undefined) return undefined;
  const path = resolve(dirname(plan), header.file);
  // A plan may have been brought here from elsewhere.
  return await stat(path).then(
    () => path,
    () => undefined,
  );
}
