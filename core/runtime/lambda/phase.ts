import type { Runtime } from '../../api/runtime.ts';
import type { ServerClock } from '../../auth/clock.ts';
import { isExecutionRunning } from '../../distributed/execution.ts';
import { readPhase } from '../../distributed/phase-event.ts';
import type { Carrier } from '../carrier.ts';
import { distribute, RunFailed } from '../distributor.ts';
import type { OpenJob } from '../job.ts';
import { InvocationFailed } from './failed.ts';

export interface PhaseOptions {
  readonly open: OpenJob;
  readonly carrier: Carrier;
  readonly runtime: Runtime;
  readonly clock: ServerClock;
  readonly stepFunctionsEndpoint: string | undefined;
}

let isCold = true;

/** Carries out one phase of a distributed run. @throws InvocationFailed for a run that is over and did not carry everything. */
export async function answerPhase(event: unknown, options: PhaseOptions): Promise<object> {
  const { open, carrier, runtime, clock, stepFunctionsEndpoint: endpoint } = options;
  const { credentials } = open;
  const given = { open, runtime, meter: carrier.meter, leaseMs: carrier.leaseMs, isCold };
  isCold = false;
  const isRunning = (execution: string): Promise<boolean> =>
    isExecutionRunning(execution, { credentials, clock, endpoint, signal: runtime.signal });
  try {
    return await distribute(readPhase(event), { ...given, isRunning });
  } catch (thrown) {
    throw thrown instanceof RunFailed ? new InvocationFailed(thrown.kind, thrown.message) : thrown;
  }
}
