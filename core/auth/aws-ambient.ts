import type { AwsCredentials } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import { safeText } from '../api/text.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { type AwsOrigin, environmentOrigin, originOf } from './aws-origin.ts';
import { probeSources } from './aws-sources.ts';
import { fromVariables, withDeadline } from './aws-variables.ts';
import { authFailure } from './failures/table.ts';

export interface AmbientCredentials extends AwsCredentials {
  readonly origin: AwsOrigin;
}

/** Fetches the AWS credentials of the process anew, or those of a profile. */
export type AwsChain = (signal: AbortSignal, profile?: string) => Promise<AmbientCredentials>;

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
  const chains = new Map<string | undefined, Promise<SdkChain>>();
  return async (signal, profile) => {
    const given = profile === undefined ? fromVariables(environment) : undefined;
    if (given !== undefined) return complete({ ...given, origin: environmentOrigin(environment) });
    const sdk = await (chains.get(profile) ?? chainOf(profile, chains));
    const load = async (): Promise<AwsCredentials> => {
      const kept = await sdk();
      // In the last minutes the SDK hands out what it keeps and renews behind it; after a pause that is too late.
      const left = (kept.expiration?.getTime() ?? Number.POSITIVE_INFINITY) - Date.now();
      return left < LAST_MINUTE_MS ? sdk({ forceRefresh: true }) : kept;
    };
    const credentials = await withDeadline(load(), signal).catch(async (error: unknown) => {
      const named = profile === undefined ? environment : { ...environment, AWS_PROFILE: profile };
      throw await chainFailure(error, named, signal);
    });
    return complete({ ...credentials, origin: originOf(credentials, environment) });
  };
}

/** Made once for each profile, and made again only if the SDK could not be loaded. */
function chainOf(profile: string | undefined, chains: Map<string | undefined, Promise<SdkChain>>): Promise<SdkChain> {
  const made = import('@aws-sdk/credential-providers').then(({ fromNodeProviderChain }) =>
    fromNodeProviderChain({
      ec2MetadataV1Disabled: true,
      clientConfig: { maxAttempts: 3 },
      logger: SILENT,
      ...(profile === undefined ? {} : { profile }),
    }),
  );
  chains.set(profile, made);
  made.catch(() => chains.delete(profile));
  return made;
}

const LAST_MINUTE_MS = 60_000;

type SdkChain = (options?: { readonly forceRefresh?: boolean }) => Promise<AwsCredentials>;

const SILENT = { trace: () => {}, debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

function complete(credentials: AmbientCredentials): AmbientCredentials {
  if (credentials.accessKeyId.startsWith('ASIA') && credentials.sessionToken === undefined)
    throw authFailure('AWS_SESSION_TOKEN_MISSING', 'a temporary AWS key without its session token');
  return credentials;
}

/**
 * An error of the SDK's chain as one of ours. The chain says little ("Could not load credentials from any providers"),
 * so each source that is set up is asked by itself for its reason.
 */
async function chainFailure(error: unknown, environment: Environment, signal: AbortSignal): Promise<BrokerError> {
  if (error instanceof BrokerError) return error;
  const { name = 'Error' } = error instanceof Error ? error : {};
  const { $metadata } = error as { $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode ?? 0;
  if (status >= 500) return new BrokerError('unavailable', `AWS credentials: HTTP ${status} ${safeText(name)}`);
  const facts = { profile: environment.AWS_PROFILE };
  const findings = await probeSources(environment, signal);
  const failed = findings.find(({ outcome, id }) => outcome === 'failed' && id !== 'AWS_IMDS_SILENT');
  const gave = findings.find(({ outcome }) => outcome === 'gave');
  // It answers now: the chain met a fault that has passed.
  if (gave !== undefined && failed === undefined)
    return new BrokerError('unavailable', `AWS credentials: ${gave.source} gave none at first, and does now`);
  if (failed !== undefined) {
    const happened = `no AWS credentials: ${failed.source}: ${failed.why}`;
    const error = authFailure(failed.id ?? 'AWS_NO_CREDENTIALS', happened, facts);
    const { id, hint } = error;
    return failed.passing === true ? new BrokerError('network', happened, { hint, ...(id && { id }) }) : error;
  }
  // What is left is a machine that nothing was set up on: that EC2 metadata is silent there is no news.
  const nowhere = 'not in Lambda, ECS, EKS or EC2, no profile, and AWS_ACCESS_KEY_ID is not set';
  return authFailure('AWS_NO_CREDENTIALS', `no AWS credentials: ${nowhere}`, facts);
}
