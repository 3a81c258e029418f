import 'reflect-metadata/lite';
import { Container } from 'inversify';
import { CredentialCache } from '../core/auth/cached.ts';
import { authRuntime } from '../core/auth/runtime.ts';
import { cli } from '../core/cli/main.ts';
import type { Environment } from '../core/pipeline/interpolate.ts';
import { loadPipeline } from '../core/pipeline/load.ts';
import { jobFactory } from '../core/runtime/job.ts';
import { transportsFrom } from '../core/transport/index.ts';
import { endpointsFrom } from './endpoints.ts';
import { packaging } from './packaging.ts';
import { plugins } from './plugins.ts';
import { tokens } from './tokens.ts';

/** Binds what lives as long as the process. Asked only by the entry points. */
export function compose(environment: Environment): Container {
  const container = new Container();
  container.bind(tokens.environment).toConstantValue(environment);
  container.bind(tokens.plugins).toConstantValue(plugins);
  container.bind(tokens.loader).toConstantValue((file) => loadPipeline(file, { plugins, environment }));
  container.bind(tokens.credentialCache).toConstantValue(new CredentialCache(Date.now));
  container.bind(tokens.endpoints).toResolvedValue(endpointsFrom, [tokens.environment]).inSingletonScope();
  container
    .bind(tokens.authRuntime)
    .toResolvedValue((given, endpoints) => authRuntime(given, endpoints), [tokens.environment, tokens.endpoints])
    .inSingletonScope();
  container
    .bind(tokens.jobs)
    .toResolvedValue(jobFactory, [
      tokens.loader,
      tokens.endpoints,
      tokens.authRuntime,
      tokens.credentialCache,
      tokens.transport,
    ])
    .inSingletonScope();
  container.bind(tokens.transport).toResolvedValue(transportsFrom, [tokens.environment]).inSingletonScope();
  // A cloud on this machine: loaded by whoever tests.
  container
    .bind(tokens.openOffline)
    .toConstantValue(async (file, fixtures) => (await import('./offline/open.ts')).openOffline(file, fixtures));
  container.bind(tokens.packaging).toConstantValue(packaging);
  container
    .bind(tokens.cli)
    .toResolvedValue(cli, [
      tokens.jobs,
      tokens.plugins,
      tokens.authRuntime,
      tokens.environment,
      tokens.packaging,
      tokens.endpoints,
      tokens.openOffline,
    ])
    .inSingletonScope();
  return container;
}
