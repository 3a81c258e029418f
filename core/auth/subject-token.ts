import type { AwsCredentials } from '../api/credentials.ts';
import { signRequest } from './sigv4.ts';

/** The header that names the workload identity provider for which the request was signed. */
const TARGET_HEADER = 'x-goog-cloud-target-resource';

/** The regional host of AWS STS. Source: https://docs.aws.amazon.com/general/latest/gr/sts.html */
export const awsStsHost = (region: string): string =>
  `sts.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;

/**
 * A GetCallerIdentity request that Google, not we, will send to AWS to learn who signed it.
 *
 * Unlike Google's own library we sign the header that names the target provider, so whoever reads the token cannot
 * use it with another provider that trusts the same account.
 *
 * @param audience the full name of the provider, `//iam.googleapis.com/projects/…`.
 * @returns URL-encoded JSON, accepted by AWS for 15 minutes. It holds the session token: never log it.
 * Source: https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
 */
export function awsSubjectToken(audience: string, credentials: AwsCredentials, region: string, now: number): string {
  const host = awsStsHost(region);
  const url = new URL(`https://${host}/?Action=GetCallerIdentity&Version=2011-06-15`);
  const headers = signRequest(
    { method: 'POST', url, headers: { host, [TARGET_HEADER]: audience }, body: '' },
    credentials,
    { region, service: 'sts', now },
  );
  const request = {
    url: `https://${host}?Action=GetCallerIdentity&Version=2011-06-15`,
    method: 'POST',
    headers: Object.entries(headers).map(([key, value]) => ({ key, value })),
  };
  return encodeURIComponent(JSON.stringify(request));
}
