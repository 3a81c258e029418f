import type { AwsCredentials } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { waitFor } from './wait.ts';

/** SSO and credential processes may take a while; the SDK has no limit of its own for them. */
const DEADLINE_MS = 20_000;

/** As the SDK: a profile that is named explicitly goes before variables. */
export function fromVariables(environment: Environment): AwsCredentials | undefined {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = environment;
  if (environment.AWS_PROFILE || !accessKeyId || !secretAccessKey) return undefined;
  const { AWS_SESSION_TOKEN: sessionToken, AWS_CREDENTIAL_EXPIRATION: end } = environment;
  const expiration = Date.parse(end ?? '');
  return {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken ? { sessionToken } : {}),
    ...(Number.isNaN(expiration) ? {} : { expiration: new Date(expiration) }),
  };
}

/** Stops waiting; the SDK cannot be stopped, but each of its requests ends by itself. */
export function withDeadline<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  return waitFor(work, AbortSignal.any([signal, deadline]), () =>
    deadline.aborted
      ? new BrokerError('timeout', `AWS credentials: nothing within ${DEADLINE_MS / 1000} s`)
      : new BrokerError('stopped', 'the run was stopped'),
  );
}
