import { BrokerError } from '../api/errors.ts';
import { pause } from '../api/retry.ts';
import type { Logger, Runtime } from '../api/runtime.ts';
import { appliedPlan, type Share } from '../engine/apply.ts';
import { run } from '../engine/run.ts';
import { type Answer, answerOf } from './answer.ts';
import type { Carrier } from './carrier.ts';
import { eventsTo } from './events-log.ts';
import { EXIT } from './exit.ts';
import type { OpenJob } from './job.ts';
import { untilReady } from './patience.ts';
import { processRuntime } from './process.ts';

export interface RunOnceOptions {
  readonly load: () => Promise<{ readonly open: OpenJob; readonly carrier: Carrier }>;
  readonly log: Logger;
  readonly graceMs: number | undefined;
  readonly out: (line: string) => void;
}

/** Runs the pipeline once, as a container does: a line of JSON for the answer, and the exit code. */
export async function runOnce({ load, log, graceMs, out }: RunOnceOptions): Promise<number> {
  using runtime = processRuntime(log, graceMs);
  const { open, carrier } = await load();
  await using _closing = open;
  const once = (): Promise<Answer> =>
    carrier.run({}, runtime).catch((error: unknown) => again(error, carrier, runtime));
  const answer = await untilReady(once, runtime);
  out(JSON.stringify(answer));
  return exitOf(answer);
}

export interface ApplyOnceOptions extends RunOnceOptions {
  readonly plan: string;
  readonly share: Share | undefined;
}

/** Carries a saved plan out, or a part of it, as a container of an indexed job does. */
export async function applyOnce({ load, log, graceMs, out, plan, share }: ApplyOnceOptions): Promise<number> {
  using runtime = processRuntime(log, graceMs);
  const { open, carrier } = await load();
  await using _closing = open;
  const { job } = open;
  const { isUrl, keptFiles, localFiles } = await import('./plan-files.ts');
  const files = isUrl(plan) ? await keptFiles(plan, job, runtime.signal) : await localFiles(plan);
  const { leaseMs } = carrier;
  const report = await run(job, {
    runtime,
    observer: eventsTo(log),
    leaseMs,
    made: appliedPlan(plan, job, files, share),
  });
  const { pipeline, outcome, items, bytes, durationMs } = report;
  const figures = { pipeline, outcome, items, bytes, seconds: durationMs / 1000 };
  carrier.meter({ ...figures, retries: 0, tokenRefreshes: 0, lagSeconds: undefined });
  const answer = answerOf(report, undefined);
  out(JSON.stringify(answer));
  return exitOf(answer);
}

/** A platform starts a killed container anew within seconds: the run before is waited for, as long as it may live. */
async function again(error: unknown, carrier: Carrier, runtime: Runtime): Promise<Answer> {
  if (!(error instanceof BrokerError) || error.code !== 'busy') throw error;
  const waitMs = Math.min(error.retryAfterMs ?? LONGEST_WAIT_MS, LONGEST_WAIT_MS);
  runtime.log.info('waiting', { message: error.message, waitMs });
  await pause(waitMs, AbortSignal.any([runtime.signal, runtime.stop]));
  try {
    return await carrier.run({}, runtime);
  } catch (second) {
    if (!(second instanceof BrokerError) || second.code !== 'busy') throw second;
    // It lives: there is nothing to do here, and nothing wrong.
    return { outcome: 'ignored', message: second.message, pipeline: carrier.pipeline };
  }
}

const LONGEST_WAIT_MS = 60_000;

const exitOf = ({ outcome }: Answer): number => (outcome === 'ignored' ? EXIT.complete : EXIT[outcome]);
