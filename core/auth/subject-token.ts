import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { AwsCredentials } from '../api/credentials.ts';
import { BrokerError, systemErrorCode } from '../api/errors.ts';
import { awsStsHost } from './aws-sts.ts';
import { authFailure } from './failures/table.ts';
import { jwtClaims } from './jwt.ts';
import { signRequest } from './sigv4.ts';

/** What proves to Google who we are. It may hold a session token: never log it. */
export interface SubjectToken {
  /** As RFC 8693 names kinds of tokens. */
  readonly type: string;
  readonly token: string;
  /** The parts of it that nobody may see. Default: all of it. */
  readonly secrets?: readonly string[];
}

export const AWS_REQUEST_TYPE = 'urn:ietf:params:aws:token-type:aws4_request';
export const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';

/** The header that names the workload identity provider for which the request was signed. */
const TARGET_HEADER = 'x-goog-cloud-target-resource';
const QUERY = '?Action=GetCallerIdentity&Version=2011-06-15';

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
  const url = new URL(`https://${host}/${QUERY}`);
  const headers = signRequest(
    { method: 'POST', url, headers: { host, [TARGET_HEADER]: audience }, body: '' },
    credentials,
    { region, service: 'sts', now },
  );
  const request = {
    url: `https://${host}${QUERY}`,
    method: 'POST',
    headers: Object.entries(headers).map(([key, value]) => ({ key, value })),
  };
  return encodeURIComponent(JSON.stringify(request));
}

export interface SelfCheck {
  /** Sorted, as they were signed. */
  readonly signedHeaders: readonly string[];
  readonly targetSigned: boolean;
  readonly signatureHolds: boolean;
  /** Names the token in logs and audits without being it. */
  readonly fingerprint: string;
}

/** Reads a subject token as its receiver will and signs what it says once more, offline: does it say what it should? */
export function checkSubjectToken(
  token: string,
  audience: string,
  credentials: AwsCredentials,
  region: string,
): SelfCheck {
  const request = JSON.parse(decodeURIComponent(token)) as { headers: { key: string; value: string }[]; url: string };
  const headers = new Map(request.headers.map(({ key, value }) => [key.toLowerCase(), value]));
  const authorization = headers.get('authorization') ?? '';
  const signedHeaders = (/SignedHeaders=([^,]+)/.exec(authorization)?.[1] ?? '').split(';');
  const date = headers.get('x-amz-date') ?? '';
  const now = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  const again = signRequest(
    {
      method: 'POST',
      url: new URL(request.url),
      headers: { host: new URL(request.url).host, [TARGET_HEADER]: audience },
      body: '',
    },
    credentials,
    { region, service: 'sts', now },
  );
  return {
    signedHeaders,
    targetSigned: signedHeaders.includes(TARGET_HEADER) && headers.get(TARGET_HEADER) === audience,
    signatureHolds: equal(again.authorization ?? '', authorization),
    fingerprint: fingerprint(token),
  };
}

function equal(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

/** The parts of a signed request that nobody may see; the rest are names, and errors speak of them. */
export const secretsOf = (token: string, { sessionToken }: AwsCredentials): readonly string[] => [
  /Signature%3D([0-9a-f]{64})/.exec(token)?.[1] ?? token,
  ...(sessionToken === undefined ? [] : [sessionToken]),
];

/** The beginning of a hash: enough to find the same token in two places, of no use for anything else. */
export const fingerprint = (token: string): string =>
  `sha256:${createHash('sha256').update(token).digest('hex').slice(0, 12)}`;

/** Ten times what any cluster issues. */
const LONGEST_TOKEN = 64 * 1024;

/**
 * Reads the token that Kubernetes keeps fresh in a projected volume; read anew each time, since it rotates.
 * Source: https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#serviceaccount-token-volume-projection
 *
 * @param now by the server's clock, as the issuer's is right.
 */
export async function kubernetesToken(
  file: string,
  audience: string,
  now: number,
  signal?: AbortSignal,
): Promise<string> {
  const facts = { audience };
  const token = await readFile(file, { encoding: 'utf8', ...(signal === undefined ? {} : { signal }) }).then(
    (text) => text.trim(),
    (error: unknown) => {
      if (signal?.aborted === true) throw new BrokerError('stopped', 'the run was stopped');
      const why = systemErrorCode(error) ?? 'it cannot be read';
      throw authFailure('KUBERNETES_TOKEN_MISSING', `the service account token ${file}: ${why}`, facts);
    },
  );
  const claims = jwtClaims(token);
  if (token.length > LONGEST_TOKEN || claims === undefined) {
    const what = token === '' ? 'is empty' : 'does not hold a JWT';
    throw authFailure('KUBERNETES_TOKEN_MISSING', `the service account token ${file} ${what}`, facts);
  }
  if (claims.exp !== undefined && claims.exp * 1000 <= now) {
    const ended = new Date(claims.exp * 1000).toISOString();
    throw authFailure('KUBERNETES_TOKEN_EXPIRED', `the service account token ${file} ended at ${ended}`, facts);
  }
  return token;
}
