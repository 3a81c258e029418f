import type { AwsCredentials } from '../api/credentials.ts';
import { BrokerError, NETWORK_ERRORS, systemErrorCode } from '../api/errors.ts';
import { safeText } from '../api/text.ts';
import type { Expiring } from './cached.ts';
import { post } from './http-json.ts';
import { signRequest } from './sigv4.ts';
import { awsStsHost } from './subject-token.ts';

/** Fetches credentials anew; the AWS SDK decides from where. */
export type AwsChain = () => Promise<AwsCredentials>;

export interface AssumeRole {
  readonly roleArn: string;
  readonly externalId?: string | undefined;
  readonly sessionName: string;
  readonly region: string;
  readonly endpoint: string | undefined;
}

/** The default chain of the AWS SDK (environment, profile, SSO, process, web identity, container, instance), made once. */
export function ambientChain(): AwsChain {
  let chain: Promise<AwsChain> | undefined;
  return async () => {
    chain ??= import('@aws-sdk/credential-providers').then(({ fromNodeProviderChain }) =>
      fromNodeProviderChain({ clientConfig: { maxAttempts: 3 } }),
    );
    const credentials = await (await chain)().catch((error: unknown) => {
      throw (
        passing('AWS credentials', error) ??
        new BrokerError(
          'no_credentials',
          `no AWS credentials: ${safeText(error instanceof Error ? error.message : 'unknown')}`,
        )
      );
    });
    if (credentials.accessKeyId.startsWith('ASIA') && credentials.sessionToken === undefined) {
      throw new BrokerError('no_credentials', 'a temporary AWS key without its session token', {
        hint: 'Set AWS_SESSION_TOKEN too: something on the way dropped it.',
      });
    }
    return credentials;
  };
}

/** Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html */
export function assumedRole(master: AwsChain, role: AssumeRole): AwsChain {
  return async () => {
    const { fromTemporaryCredentials } = await import('@aws-sdk/credential-providers');
    const provider = fromTemporaryCredentials({
      masterCredentials: master,
      params: {
        RoleArn: role.roleArn,
        RoleSessionName: role.sessionName,
        ...(role.externalId === undefined ? {} : { ExternalId: role.externalId }),
      },
      clientConfig: {
        region: role.region,
        maxAttempts: 3,
        ...(role.endpoint === undefined ? {} : { endpoint: role.endpoint }),
      },
    });
    return provider().catch((error: unknown) => {
      if (error instanceof BrokerError) throw error;
      const fault = passing(`assume ${role.roleArn}`, error);
      if (fault !== undefined) throw fault;
      const reason = error instanceof Error ? `${error.name}: ${error.message}` : 'unknown';
      throw new BrokerError('unauthenticated', `assume ${role.roleArn}: ${safeText(reason)}`, {
        hint: `Let the trust policy of ${role.roleArn} allow sts:AssumeRole to this identity, with the external id if it asks for one.`,
      });
    });
  };
}

const THROTTLED = /Throttl|RequestLimitExceeded|TooManyRequests/;

/** A fault that trying again may mend; undefined for a refusal. */
function passing(doing: string, error: unknown): BrokerError | undefined {
  if (!(error instanceof Error)) return undefined;
  const system = systemErrorCode(error);
  if (system !== undefined && NETWORK_ERRORS.has(system)) return new BrokerError('network', `${doing}: ${system}`);
  if (THROTTLED.test(error.name)) return new BrokerError('throttled', `${doing}: ${error.name}`);
  const { $metadata } = error as { $metadata?: { httpStatusCode?: number } };
  return ($metadata?.httpStatusCode ?? 0) >= 500
    ? new BrokerError('unavailable', `${doing}: ${error.name}`)
    : undefined;
}

export const expiringAws = (credentials: AwsCredentials): Expiring<AwsCredentials> => ({
  value: credentials,
  expiresAt: credentials.expiration?.getTime() ?? Number.POSITIVE_INFINITY,
});

export interface CallerIdentity {
  readonly account: string;
  readonly arn: string;
}

/**
 * Who AWS says these credentials are. Needs no permission.
 * Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
 */
export async function callerIdentity(
  credentials: AwsCredentials,
  region: string,
  endpoint: string | undefined,
  options: { readonly signal?: AbortSignal | undefined; readonly now: () => number },
): Promise<CallerIdentity> {
  const url = new URL(endpoint ?? `https://${awsStsHost(region)}`);
  const body = 'Action=GetCallerIdentity&Version=2011-06-15';
  const headers = { host: url.host, 'content-type': 'application/x-www-form-urlencoded' };
  const signed = signRequest({ method: 'POST', url, headers, body }, credentials, {
    region,
    service: 'sts',
    now: options.now(),
  });
  const answer = await post(url.href, { headers: signed, body }, options);
  const element = (name: string): string =>
    new RegExp(`<${name}>([^<]{1,2048})</${name}>`).exec(answer.text)?.[1] ?? '';
  if (answer.status >= 500 || answer.status === 429)
    throw new BrokerError('unavailable', `AWS STS: HTTP ${answer.status}`);
  if (answer.status !== 200) {
    throw new BrokerError(
      'unauthenticated',
      `AWS STS: HTTP ${answer.status} ${element('Code')}: ${safeText(element('Message'))}`,
    );
  }
  if (element('Arn') === '') throw new BrokerError('bad_response', 'AWS STS answered without an ARN');
  return { account: element('Account'), arn: element('Arn') };
}
