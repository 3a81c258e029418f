import type { Job } from '../engine/job.ts';
import type { JobFactory, OpenJob } from '../runtime/job.ts';
import { processRuntime } from '../runtime/process.ts';
import type { Output } from './output.ts';
import { loggerFor, type RunFlags } from './run.ts';

/** A pipeline that a command looks at without carrying anything. */
export interface Opened extends AsyncDisposable {
  readonly open: OpenJob;
  readonly job: Job;
  readonly now: () => number;
  /** Fires on the first Ctrl-C: there is nothing to finish. */
  readonly signal: AbortSignal;
}

/** @throws BrokerError for a pipeline that cannot be opened; nothing is left open then. */
export async function opened(file: string, flags: RunFlags, jobs: JobFactory, output: Output): Promise<Opened> {
  const log = loggerFor(flags, output);
  const runtime = processRuntime(log);
  try {
    const open = await jobs.open(file, { log, now: runtime.now });
    return {
      open,
      job: open.job,
      now: runtime.now,
      signal: AbortSignal.any([runtime.signal, runtime.stop]),
      [Symbol.asyncDispose]: async () => {
        await open[Symbol.asyncDispose]();
        runtime[Symbol.dispose]();
      },
    };
  } catch (error) {
    runtime[Symbol.dispose]();
    throw error;
  }
}
