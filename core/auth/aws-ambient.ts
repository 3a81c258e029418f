import type { AwsCredentials } from '../api/credentials.ts';
import { BrokerError, NETWORK_ERRORS, systemErrorCode } from '../api/errors.ts';
import { safeText } from '../api/text.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { type AwsOrigin, environmentOrigin, originOf } from './aws-origin.ts';
import { authFailure, failureSaid } from './failures/table.ts';

export interface AmbientCredentials extends AwsCredentials {
  readonly origin: AwsOrigin;
}

/** Fetches the AWS credentials of the process anew. */
export type AwsChain = (signal: AbortSignal) => Promise<AmbientCredentials>;

/** SSO and credential processes may take a while; the SDK has no limit of its own for them. */
const DEADLINE_MS = 20_000;

/**
 * The AWS identity of the process: environment, profile, SSO, process, web identity, container, instance, as the
 * chain of the AWS SDK decides. Made once, since the SDK keeps credentials in it.
 *
 * Plain environment variables, the first link of that chain and all that a Lambda has, are read without loading the
 * SDK: a cold start does not pay for it. IMDSv1 is never spoken.
 *
 * @param environment is only read, never written.
 */
export function ambientChain(environment: Environment): AwsChain {
  let chain: Promise<() => Promise<AwsCredentials>> | undefined;
  return async (signal) => {
    const given = fromVariables(environment);
    if (given !== undefined) return complete({ ...given, origin: environmentOrigin(environment) });
    chain ??= import('@aws-sdk/credential-providers').then(({ fromNodeProviderChain }) =>
      fromNodeProviderChain({ ec2MetadataV1Disabled: true, clientConfig: { maxAttempts: 3 }, logger: SILENT }),
    );
    const load = (await chain)();
    const credentials = await withDeadline(load, signal).catch((error: unknown) => {
      throw chainFailure(error, environment);
    });
    return complete({ ...credentials, origin: originOf(credentials, environment) });
  };
}

const SILENT = { trace: () => {}, debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

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

function complete(credentials: AmbientCredentials): AmbientCredentials {
  if (credentials.accessKeyId.startsWith('ASIA') && credentials.sessionToken === undefined)
    throw authFailure('AWS_SESSION_TOKEN_MISSING', 'a temporary AWS key without its session token');
  return credentials;
}

/** An error of the SDK's chain as one of ours: its texts are matched, and shown only as far as they are safe. */
export function chainFailure(error: unknown, environment: Environment): BrokerError {
  if (error instanceof BrokerError) return error;
  const { name = 'Error', message = '' } = error instanceof Error ? error : {};
  const facts = { profile: environment.AWS_PROFILE };
  const what = `no AWS credentials: ${safeText(`${name}: ${message}`)}`;
  const known = failureSaid(`${name}: ${message}`, ['aws-source']);
  if (known !== undefined && known !== 'AWS_IMDS_SILENT') return authFailure(known, what, facts);
  const { $metadata } = error as { $metadata?: { httpStatusCode?: number } };
  if (($metadata?.httpStatusCode ?? 0) >= 500) return new BrokerError('unavailable', what);
  const container =
    environment.AWS_CONTAINER_CREDENTIALS_RELATIVE_URI || environment.AWS_CONTAINER_CREDENTIALS_FULL_URI;
  if (container) return authFailure('AWS_CONTAINER_REFUSED', what, facts);
  const system = systemErrorCode(error);
  if (known === undefined && system !== undefined && NETWORK_ERRORS.has(system) && !/169\.254\./.test(message))
    return new BrokerError('network', `AWS credentials: ${system}`);
  // The last link is EC2 metadata: on a machine that is none, its silence is all the SDK tells.
  const nowhere = 'not in Lambda, ECS, EKS or EC2, no profile, and AWS_ACCESS_KEY_ID is not set';
  return authFailure(known ?? 'AWS_NO_CREDENTIALS', `no AWS credentials: ${nowhere}`, facts);
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
