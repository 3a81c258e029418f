import type { ServiceIdentifier } from 'inversify';
import type { Endpoints, PluginDefinition, Transport } from '../core/api/index.ts';
import type { AuthRuntime } from '../core/auth/aws-identity.ts';
import type { CredentialCache } from '../core/auth/cached.ts';
import type { AuthEndpoints } from '../core/auth/steps.ts';
import type { Cli } from '../core/cli/main.ts';
import type { OpenOffline } from '../core/cli/offline.ts';
import type { Packaging } from '../core/package/bundle.ts';
import type { Environment } from '../core/pipeline/interpolate.ts';
import type { JobFactory, PipelineLoader } from '../core/runtime/job.ts';
import type { EventEndpoints } from './endpoints.ts';

const token = <T>(name: string): ServiceIdentifier<T> => Symbol.for(`isthmus.${name}`);

/** What the process is made of; nothing here changes from run to run. */
export const tokens = {
  environment: token<Environment>('environment'),
  loader: token<PipelineLoader>('loader'),
  plugins: token<readonly PluginDefinition[]>('plugins'),
  endpoints: token<Endpoints & AuthEndpoints & EventEndpoints>('endpoints'),
  authRuntime: token<AuthRuntime>('authRuntime'),
  credentialCache: token<CredentialCache>('credentialCache'),
  jobs: token<JobFactory>('jobs'),
  transport: token<() => Transport>('transport'),
  packaging: token<Packaging>('packaging'),
  openOffline: token<OpenOffline>('openOffline'),
  cli: token<Cli>('cli'),
};
