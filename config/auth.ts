/**
 * The keyless broker by itself, without pipelines: AWS identities become Google ones, and Google ones become AWS ones.
 *
 * ```ts
 * import { keyless } from 'isthmus/auth';
 * import { googleAuthClient } from 'isthmus';
 * import { AuthClient } from 'google-auth-library';
 * import { Storage } from '@google-cloud/storage';
 *
 * const broker = keyless({ identities: { reader: { kind: 'gcp', audience: '//iam.googleapis.com/…' } } });
 * const token = broker.gcp('reader', { scopes: ['https://www.googleapis.com/auth/devstorage.read_only'] });
 * const storage = new Storage({ authClient: googleAuthClient(AuthClient, token), projectId: 'acme' });
 * ```
 *
 * @module isthmus/auth
 */
import process from 'node:process';
import { BrokerError, type CredentialBroker } from '../core/api/index.ts';
import { IdentityBroker } from '../core/auth/broker.ts';
import { CredentialCache } from '../core/auth/cached.ts';
import { authRuntime } from '../core/auth/runtime.ts';
import type { AuthObserver } from '../core/auth/steps.ts';
import { identitiesIn } from '../core/pipeline/identities.ts';
import type { Environment } from '../core/pipeline/interpolate.ts';
import { endpointsFrom } from './endpoints.ts';

export { authorizedFetch, awsSdkCredentials, BrokerError, googleAuthClient } from '../core/api/index.ts';

export interface KeylessOptions {
  /** By name, as a pipeline file has them under `identities`. */
  readonly identities: Readonly<Record<string, unknown>>;
  /** Names sessions in CloudTrail (`isthmus-NAME`). Default: `broker`. */
  readonly name?: string;
  /** Default: that of the process. The AWS SDK reads the process's own, whatever this is. */
  readonly environment?: Environment;
  /** Told of each step of the chain; never of a secret. */
  readonly onStep?: AuthObserver;
}

export interface Keyless extends CredentialBroker {
  /** An OIDC ID token of an identity of kind gcp with a service account, made anew at each call. */
  idToken(identity: string, audience: string, signal: AbortSignal): Promise<string>;
}

/**
 * Makes a broker. Make one for a process and keep it: it holds the AWS chain, the clock and every token.
 *
 * @throws BrokerError `invalid_config` with every mistake of the identities. Nothing is sent anywhere yet.
 */
export function keyless({ identities, name = 'broker', environment = process.env, onStep }: KeylessOptions): Keyless {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name))
    throw new BrokerError('invalid_config', 'name must be 1 to 63 lower-case letters, digits and "-"');
  return new IdentityBroker({
    pipeline: name,
    identities: identitiesIn(identities, environment),
    runtime: authRuntime(environment, endpointsFrom(environment)),
    cache: new CredentialCache(Date.now),
    observe: onStep,
  });
}
