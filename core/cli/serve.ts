import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { Carrier } from '../runtime/carrier.ts';
import type { JobFactory } from '../runtime/job.ts';
import { jsonLogger } from '../runtime/logger.ts';
import { googleTokens } from '../runtime/oidc.ts';
import { processRuntime } from '../runtime/process.ts';
import { serve } from '../runtime/serve/server.ts';
import { tracingFrom } from '../runtime/traces.ts';
import { EXIT, type Output } from './output.ts';

export interface ServeFlags {
  readonly port?: string;
  readonly queue?: string;
  readonly debug?: boolean;
}

/** `isthmus serve`: a container that waits for events. One JSON line an event, on standard error. */
export async function serveCommand(
  file: string,
  { port, queue, debug }: ServeFlags,
  jobs: JobFactory,
  environment: Environment,
  googleCerts: string,
  output: Output,
): Promise<number> {
  const log = jsonLogger(output.err, Date.now, debug === true ? 'debug' : 'info');
  using runtime = processRuntime(log);
  const served = await serve({
    verify: googleTokens(googleCerts, Date.now),
    runtime,
    port: numberOf(port ?? environment.PORT ?? '8080', port === undefined ? 'PORT' : '--port', 65_535),
    queue: queue === undefined ? undefined : numberOf(queue, '--queue', 10_000),
    async ready(meter) {
      let refreshes = 0;
      const onAuth = ({ step }: { readonly step: string }): void => {
        if (step === 'google-sts' || step === 'impersonation') refreshes++;
      };
      const open = await jobs.open(file, { log, now: runtime.now, onAuth });
      if (open.pipeline.push === undefined) {
        throw new BrokerError('invalid_config', 'the pipeline has no `push`: nobody may push to it', {
          hint: 'Add push: { audience: …, serviceAccount: … }, those of the push subscription.',
        });
      }
      const tracing = await tracingFrom(environment);
      return { open, carrier: new Carrier({ open, meter, tracing, refreshes: () => refreshes }) };
    },
  });
  output.err(`serving on port ${served.port}`);
  await served.stopped;
  return EXIT.complete;
}

function numberOf(text: string, name: string, most: number): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= most) return Number(text);
  throw new BrokerError('invalid_config', `${name} must be a number up to ${most}, not ${visible(text.slice(0, 40))}`, {
    hint: `Correct ${name}.`,
  });
}
