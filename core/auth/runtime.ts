import type { Environment } from '../pipeline/interpolate.ts';
import { ambientChain } from './aws-ambient.ts';
import type { AuthRuntime } from './aws-identity.ts';
import { regionResolver } from './aws-region.ts';
import { ServerClock } from './clock.ts';
import type { AuthEndpoints } from './steps.ts';

/** Made once for a process: one AWS chain, one region, one clock. */
export const authRuntime = (
  environment: Environment,
  endpoints: AuthEndpoints,
  now: () => number = Date.now,
): AuthRuntime => ({
  chain: ambientChain(environment),
  region: regionResolver(environment),
  clock: new ServerClock(now),
  endpoints,
});
