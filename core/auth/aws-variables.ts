import type { AwsCredentials } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import type { Environment } from '../pipeline/interpolate.ts';

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
export async function withDeadline<T>(work: Promise<T>, signal: AbortSignal, ms = DEADLINE_MS): Promise<T> {
  const deadline = AbortSignal.timeout(ms);
  const either = AbortSignal.any([signal, deadline]);
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const leave = (): void =>
    reject(
      deadline.aborted
        ? new BrokerError('timeout', `AWS credentials: nothing within ${ms / 1000} s`)
        : new BrokerError('stopped', 'the run was stopped'),
    );
  if (either.aborted) leave();
  else either.addEventListener('abort', leave, { once: true });
  try {
    return await Promise.race([work, ended]);
  } finally {
    either.removeEventListener('abort', leave);
    work.catch(() => undefined); // what it says later is nobody's concern
  }
}
