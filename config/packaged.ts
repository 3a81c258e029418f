import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import type { JsonValue, PluginDefinition } from '../core/api/index.ts';
import { CredentialCache } from '../core/auth/cached.ts';
import { authRuntime } from '../core/auth/runtime.ts';
import type { Finding } from '../core/doctor/finding.ts';
import type { Environment } from '../core/pipeline/interpolate.ts';
import { validatePipeline } from '../core/pipeline/validate.ts';
import { Carrier } from '../core/runtime/carrier.ts';
import type { Meter } from '../core/runtime/figures.ts';
import { jobFactory } from '../core/runtime/job.ts';
import { jsonLogger, type Level } from '../core/runtime/logger.ts';
import { memoryFor } from '../core/runtime/memory-size.ts';
import { googleTokens } from '../core/runtime/oidc.ts';
import { secondsIn } from '../core/runtime/seconds.ts';
import { tracingFrom } from '../core/runtime/traces.ts';
import { transportsFrom } from '../core/transport/index.ts';
import { endpointsFrom } from './endpoints.ts';

/** A pipeline as `package` puts it into a bundle. */
export interface Packaged {
  /** The pipeline file as data, its variables not filled in. */
  readonly data: JsonValue;
  /** Those that the pipeline uses. */
  readonly plugins: readonly PluginDefinition[];
  /** `import.meta.url` of the bundle: relative paths begin at its folder. */
  readonly url: string;
}

/** What of the process a packaged pipeline uses. */
export interface ProcessParts {
  readonly environment: Environment;
  /** A line of the log. Straight to the stream: the console of Lambda would put a prefix before the JSON. */
  readonly write: (line: string) => void;
}

const THIS_PROCESS: ProcessParts = {
  environment: process.env,
  write: (line) => void process.stdout.write(`${line}\n`),
};

/** A young generation that stays small: a third less memory, measured (docs/performance.md). */
function spareMemory(): void {
  setFlagsFromString('--max-semi-space-size=1');
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--heap-growing-percent=50');
}

const LEVELS: readonly Level[] = ['debug', 'info', 'warn'];

/**
 * What every packaged entry point is made of, put together by hand: what is bound here is little and known, and the
 * container would be a tenth of the bundle.
 */
export function packaged({ data, plugins, url }: Packaged, { environment, write }: ProcessParts = THIS_PROCESS) {
  spareMemory();
  const file = join(dirname(fileURLToPath(url)), 'pipeline.yaml');
  const load = async () => {
    const pipeline = validatePipeline({ file, data }, { plugins, environment });
    // A function or container of little memory gets on with less.
    const size = Number(environment.AWS_LAMBDA_FUNCTION_MEMORY_SIZE ?? environment.ISTHMUS_MEMORY_SIZE);
    return size > 0 ? { ...pipeline, memory: memoryFor(pipeline.memory, size) } : pipeline;
  };
  const endpoints = endpointsFrom(environment);
  const runtime = authRuntime(environment, endpoints);
  const transports = transportsFrom(environment);
  const jobs = jobFactory(load, endpoints, runtime, new CredentialCache(Date.now), transports);
  const level = LEVELS.find((one) => one === environment.ISTHMUS_LOG_LEVEL) ?? 'info';
  const log = jsonLogger(write, Date.now, level);
  let refreshes = 0;
  return {
    log,
    write,
    endpoints,
    clock: runtime.clock,
    verify: googleTokens(endpoints.googleCerts, Date.now),
    /** Walks the chain anew, with nothing that is kept, and answers with every finding. */
    async doctor(signal: AbortSignal) {
      const [{ examine }, { StepLog }, { doctorExit }] = await Promise.all([
        import('../core/doctor/walk.ts'),
        import('../core/doctor/patient.ts'),
        import('../core/doctor/finding.ts'),
      ]);
      const steps = new StepLog();
      const anew = jobFactory(load, endpoints, runtime, new CredentialCache(Date.now), transports);
      await using open = await anew.open(file, { log, now: Date.now, onAuth: steps.observe });
      const tell = (finding: Finding): void => log.info('doctor', { ...finding });
      const findings = await examine({ environment, runtime, open, log: steps, offline: false, signal, tell });
      const exitCode = doctorExit(findings);
      const message = exitCode === 0 ? 'healthy' : 'not healthy: see what failed, and its fix';
      return {
        outcome: exitCode === 0 ? 'complete' : 'failed',
        message,
        pipeline: open.pipeline.name,
        exitCode,
        findings,
      };
    },
    async ready(meter: Meter) {
      const open = await jobs.open(file, {
        log,
        now: Date.now,
        onAuth: ({ step, detail }) => {
          if (step === 'google-sts' || step === 'impersonation') refreshes++;
          log.debug('auth', { step, detail });
        },
      });
      // One of thousands waits for its turn (`package --distributed` says so).
      if (environment.ISTHMUS_WARM_UP !== 'off') open.credentials.warm();
      const leaseMs = secondsIn(environment, 'ISTHMUS_LEASE');
      const tracing = await tracingFrom(environment);
      return { open, carrier: new Carrier({ open, meter, leaseMs, tracing, refreshes: () => refreshes }) };
    },
  };
}
