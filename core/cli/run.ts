import type { Logger, Runtime } from '../api/runtime.ts';
import type { RunContext } from '../api/source.ts';
import type { AuthStep } from '../auth/steps.ts';
import { contextsOf, type Job, type Observer } from '../engine/job.ts';
import { run } from '../engine/run.ts';
import type { RunOptions } from '../engine/run-options.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { eventsTo } from '../runtime/events-log.ts';
import type { JobFactory, OpenJob } from '../runtime/job.ts';
import { jsonLogger, textLogger } from '../runtime/logger.ts';
import { untilReady } from '../runtime/patience.ts';
import { processRuntime } from '../runtime/process.ts';
import type { ProgressBar } from '../runtime/progress.ts';
import { secondsIn } from '../runtime/seconds.ts';
import { EXIT, type Output, summary } from './output.ts';

export interface RunFlags {
  readonly json?: boolean;
  readonly log?: 'text' | 'json';
  readonly progress?: boolean;
  readonly resetState?: boolean;
  readonly debug?: boolean;
}

/** `isthmus run`: carries out a pipeline and answers with its report and exit code. */
export async function runCommand(
  file: string,
  flags: RunFlags,
  jobs: JobFactory,
  environment: Environment,
  output: Output,
): Promise<number> {
  using runtime = processRuntime(loggerFor(flags, output));
  return await carryCommand(file, flags, { jobs, environment, output, runtime }, async () => ({}));
}

export interface CommandParts {
  readonly jobs: JobFactory;
  readonly environment: Environment;
  readonly output: Output;
  readonly runtime: Runtime;
}

/** Carries out a pipeline, or a plan of it. @param what is asked once the pipeline is open. */
export async function carryCommand(
  file: string,
  flags: RunFlags,
  { jobs, environment, output, runtime }: CommandParts,
  what: (open: OpenJob) => Promise<Partial<RunOptions>>,
): Promise<number> {
  const { log } = runtime;
  await using open = await jobs.open(file, { log, now: () => runtime.now(), onAuth: (step) => logAuth(log, step) });
  const wanted = { leaseMs: secondsIn(environment, 'ISTHMUS_LEASE'), ...(await what(open)) };
  open.credentials.warm();
  for (const warning of open.pipeline.warnings) log.warn('pipeline', { ...warning });
  let begun = false;
  const report = await withProgress(open.job, flags, runtime, output, (observer) =>
    untilReady(() => {
      const resetState = flags.resetState === true && !begun;
      begun = true;
      return run(open.job, { ...wanted, runtime, observer: merge(eventsTo(log), observer), resetState });
    }, runtime),
  );
  if (flags.json === true) output.out(JSON.stringify(report));
  else for (const line of summary(report)) output.out(line);
  if (report.outcome === 'paused' && open.pipeline.state === undefined && flags.json !== true) {
    output.err('note: without `state` the next run lists from the start and skips what is already there');
  }
  const isInvalid = report.error?.code === 'invalid_config' || report.error?.code === 'invalid_plan';
  return isInvalid ? EXIT.invalid : EXIT[report.outcome];
}

export function loggerFor({ log, debug }: RunFlags, output: Output): Logger {
  if (log === 'json') return jsonLogger(output.err, Date.now, debug === true ? 'debug' : 'info');
  return textLogger(output.err, debug === true ? 'debug' : 'warn');
}

const logAuth = (log: Logger, { step, detail }: AuthStep): void => log.debug('auth', { step, detail });

const merge = (first: Observer, second: Observer | undefined): Observer => ({
  started: (run) => first.started?.(run),
  bytes: (count) => second?.bytes?.(count),
  retried: (action) => second?.retried?.(action),
  receipt: (receipt, action) => {
    first.receipt?.(receipt, action);
    second?.receipt?.(receipt, action);
  },
});

/** On a terminal: a bar, and a second listing beside the run that counts how much there is to do; elsewhere plain lines. */
async function withProgress<T>(
  job: Job,
  flags: RunFlags,
  runtime: Runtime,
  output: Output,
  work: (observer: Observer | undefined) => Promise<T>,
): Promise<T> {
  const { terminal } = output;
  if (flags.progress === false || flags.log === 'json') return work(undefined);
  const { progressBar, progressLines } = await import('../runtime/progress.ts');
  if (terminal === undefined) {
    if (flags.json === true) return work(undefined);
    using lines = progressLines(output.err, runtime.now);
    return await work(lines.observer);
  }
  using bar = progressBar(terminal, runtime.now);
  const counting = new AbortController();
  const counted = count(job, bar, counting.signal).catch(() => undefined); // the run itself reports what is wrong
  try {
    return await work(bar.observer);
  } finally {
    counting.abort();
    await counted;
  }
}

async function count(job: Job, bar: ProgressBar, signal: AbortSignal): Promise<void> {
  let bytes = 0;
  let items = 0;
  const contexts = contextsOf(job, { runId: '', purpose: 'survey', begins: async () => {} });
  for (const [number, source] of job.sources.entries()) {
    for await (const item of source.list({ signal, run: contexts[number] as RunContext })) {
      bytes += (item.size ?? 0) * job.sinks.length;
      items += job.sinks.length;
      if (items % 1000 === 0) bar.total(bytes, items, false);
    }
  }
  bar.total(bytes, items, true);
}
