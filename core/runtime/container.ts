import { BrokerError } from '../api/errors.ts';
import { pause } from '../api/retry.ts';
import type { Logger, Runtime } from '../api/runtime.ts';
import type { Answer } from './answer.ts';
import type { Carrier } from './carrier.ts';
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
