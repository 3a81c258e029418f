import type { Logger } from '../api/runtime.ts';
import type { Answer } from './answer.ts';
import type { Carrier } from './carrier.ts';
import { EXIT } from './exit.ts';
import type { OpenJob } from './job.ts';
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
  const answer = await carrier.run({}, runtime);
  out(JSON.stringify(answer));
  return exitOf(answer);
}

const exitOf = ({ outcome }: Answer): number => (outcome === 'ignored' ? EXIT.complete : EXIT[outcome]);
