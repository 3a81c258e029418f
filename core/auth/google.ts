import { z } from 'zod';
import type { GcpAccessToken } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import { safeText } from '../api/text.ts';
import { type Answer, jsonOf, post } from './http-json.ts';

const CLOUD_PLATFORM = 'https://www.googleapis.com/auth/cloud-platform';

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly now: () => number;
}

const stsAnswer = z.object({ access_token: z.string().min(1), expires_in: z.number().positive().max(43_200) });
const stsError = z.object({ error: z.string(), error_description: z.string().optional() });

/**
 * Exchanges a signed AWS identity for a federated Google access token.
 *
 * @param subjectToken from `awsSubjectToken`, at most 15 minutes old.
 * @throws BrokerError `unauthenticated` when the provider rejects it.
 * Source: https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
 */
export async function exchangeToken(
  base: string,
  request: { readonly subjectToken: string; readonly audience: string; readonly scopes: readonly string[] },
  options: CallOptions,
): Promise<GcpAccessToken> {
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    audience: request.audience,
    scope: request.scopes.join(' '),
    requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    subject_token_type: 'urn:ietf:params:aws:token-type:aws4_request',
    subject_token: request.subjectToken,
  }).toString();
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const answer = await post(`${base}/v1/token`, { headers, body }, options);
  if (answer.status !== 200) throw exchangeError(answer);
  const parsed = stsAnswer.safeParse(jsonOf(answer));
  if (!parsed.success) throw new BrokerError('bad_response', 'Google STS answered 200 without a valid token');
  return { token: parsed.data.access_token, expiresAt: options.now() + parsed.data.expires_in * 1000 };
}

/** Reasons by the words of the server, each with what mends it. */
const EXCHANGE_HINTS: readonly (readonly [RegExp, string])[] = [
  [/audience/i, 'Set audience to the full name of the provider, with the project number, not its id.'],
  [
    /target service/i,
    'The pool or provider does not exist, is disabled or was deleted: check project number, pool and provider in audience.',
  ],
  [
    /attribute condition/i,
    'The attribute condition of the provider rejects this AWS role: compare it with the role this process runs as.',
  ],
  [
    /127 bytes/,
    'Map google.subject to assertion.userid in the provider: role and session name are too long for assertion.arn.',
  ],
  [
    /signature expired|now earlier|too far in the future/i,
    'The clock of this machine is wrong by more than 15 minutes: set it.',
  ],
  [/SignatureDoesNotMatch/i, 'The signature was altered on the way, or the region is not the one that was signed for.'],
  [
    /ExpiredToken/i,
    'The AWS credentials have expired: use a source that renews them, not copied environment variables.',
  ],
  [
    /InvalidClientTokenId|security token included in the request is invalid/i,
    'AWS does not know these credentials: a wrong or missing session token, or a deleted key.',
  ],
];

function exchangeError(answer: Answer): BrokerError {
  const passing = passingError('Google STS', answer);
  if (passing !== undefined) return passing;
  const parsed = stsError.safeParse(jsonOf(answer));
  const reason = parsed.success
    ? [parsed.data.error, parsed.data.error_description].filter(Boolean).join(': ')
    : 'an answer that is not JSON';
  const hint =
    EXCHANGE_HINTS.find(([words]) => words.test(reason))?.[1] ??
    'Check that the provider in audience trusts this AWS account and role, and that a proxy does not answer instead of Google.';
  return new BrokerError('unauthenticated', `Google STS: HTTP ${answer.status}: ${safeText(reason)}`, { hint });
}

const impersonationAnswer = z.object({ accessToken: z.string().min(1), expireTime: z.iso.datetime({ offset: true }) });
const googleError = z.object({ error: z.object({ message: z.string().default(''), status: z.string().default('') }) });

/**
 * Trades a federated token for one of a service account.
 *
 * Source: https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken
 */
export async function impersonate(
  base: string,
  request: { readonly token: string; readonly serviceAccount: string; readonly scopes: readonly string[] },
  options: CallOptions,
): Promise<GcpAccessToken> {
  const url = `${base}/v1/projects/-/serviceAccounts/${encodeURIComponent(request.serviceAccount)}:generateAccessToken`;
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${request.token}` };
  const body = JSON.stringify({ scope: request.scopes, lifetime: '3600s' });
  const answer = await post(url, { headers, body }, options);
  if (answer.status !== 200) throw impersonationError(answer, request.serviceAccount);
  const parsed = impersonationAnswer.safeParse(jsonOf(answer));
  if (!parsed.success) throw new BrokerError('bad_response', 'iamcredentials answered 200 without a valid accessToken');
  return { token: parsed.data.accessToken, expiresAt: Date.parse(parsed.data.expireTime) };
}

function impersonationError(answer: Answer, serviceAccount: string): BrokerError {
  const passing = passingError('iamcredentials', answer);
  if (passing !== undefined) return passing;
  const { error } = googleError
    .catch({ error: { message: 'an answer that is not JSON', status: '' } })
    .parse(jsonOf(answer));
  return new BrokerError(
    'impersonation_denied',
    `impersonate ${serviceAccount}: HTTP ${answer.status} ${error.status}: ${safeText(error.message)}`,
    {
      hint: `Grant roles/iam.workloadIdentityUser on ${serviceAccount} to the federated principal: gcloud iam service-accounts add-iam-policy-binding ${serviceAccount} --role=roles/iam.workloadIdentityUser --member="principalSet://iam.googleapis.com/POOL/attribute.aws_role/ROLE". Check the e-mail address too.`,
    },
  );
}

function passingError(who: string, answer: Answer): BrokerError | undefined {
  const { status, retryAfterMs } = answer;
  const options = retryAfterMs === undefined ? {} : { retryAfterMs };
  if (status === 429) return new BrokerError('throttled', `${who}: HTTP 429`, options);
  return status >= 500 ? new BrokerError('unavailable', `${who}: HTTP ${status}`, options) : undefined;
}

/** The scopes of the federated token: when it only serves to impersonate, the account's token is the narrow one. */
export const federationScopes = (serviceAccount: string | undefined, scopes: readonly string[]): readonly string[] =>
  serviceAccount === undefined ? scopes : [CLOUD_PLATFORM];
