import { z } from 'zod';
import type { GcpAccessToken, StorageScope } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import { safeText } from '../api/text.ts';
import type { Facts } from './failures/failure.ts';
import { authFailure, failureSaid } from './failures/table.ts';
import { type Answer, type CallOptions, jsonOf, post } from './http.ts';
import type { SubjectToken } from './subject-token.ts';

export const CLOUD_PLATFORM = 'https://www.googleapis.com/auth/cloud-platform';
const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

const tokenAnswer = z.object({
  access_token: z.string().min(1).max(12_288),
  token_type: z
    .string()
    .regex(/^bearer$/i)
    .optional(),
});
const exchangeAnswer = tokenAnswer.extend({ expires_in: z.number().positive().max(43_200) });

/** The user's own names; `ask` allows to find out who we are. */
export type Explain = (options: { readonly ask: boolean }) => Promise<Facts>;

export interface Exchange {
  readonly subject: SubjectToken;
  readonly audience: string;
  readonly scopes: readonly string[];
  /** The user's own names, for the instructions of a refusal; asked for only then. */
  readonly facts: Explain;
}

/**
 * Exchanges a proof of who we are for a federated Google access token. No Authorization header and no quota project:
 * either would break the exchange.
 *
 * @param base `https://sts.googleapis.com`, or that of a region or universe.
 * @throws BrokerError with an id `STS_…`.
 * Source: https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
 */
export async function exchangeToken(base: string, exchange: Exchange, options: CallOptions): Promise<GcpAccessToken> {
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    audience: exchange.audience,
    scope: exchange.scopes.join(' '),
    requested_token_type: ACCESS_TOKEN_TYPE,
    subject_token_type: exchange.subject.type,
    subject_token: exchange.subject.token,
  }).toString();
  // Before the request: a process that is frozen while it waits must not believe that the token lives longer.
  const askedAt = options.clock.local();
  const { token, secrets = [token] } = exchange.subject;
  const answer = await post(`${base}/v1/token`, { headers: FORM, body, secrets }, options);
  if (answer.status !== 200) throw await exchangeError(answer, exchange.facts);
  const parsed = exchangeAnswer.safeParse(jsonOf(answer));
  if (!parsed.success) throw unusable(answer);
  return { token: parsed.data.access_token, expiresAt: askedAt + parsed.data.expires_in * 1000 };
}

function unusable(answer: Answer): BrokerError {
  if (jsonOf(answer) === undefined) return authFailure('STS_NOT_GOOGLE', 'Google STS: HTTP 200, but not JSON');
  const why = tokenAnswer.safeParse(jsonOf(answer)).success ? 'expires_in is missing or wrong' : 'no access_token';
  return authFailure('STS_NO_TOKEN', `Google STS: HTTP 200 without a valid token: ${why}`);
}

const oauthError = z.object({ error: z.string(), error_description: z.string().default('') });
const apiError = z.object({ error: z.object({ message: z.string().default(''), status: z.string().default('') }) });

async function exchangeError(answer: Answer, explain: Explain): Promise<BrokerError> {
  const { status, retryAfterMs } = answer;
  const json = jsonOf(answer);
  const oauth = oauthError.safeParse(json).data;
  const api = apiError.safeParse(json).data?.error;
  const words =
    oauth !== undefined
      ? `${oauth.error}: ${oauth.error_description}`
      : api !== undefined
        ? `${api.status}: ${api.message}`
        : undefined;
  const said = words === undefined ? undefined : answer.hide(words);
  const what = `Google STS: HTTP ${status}: ${safeText(said ?? 'an answer that is not JSON')}`;
  const options = { retryAfterMs };
  if (status >= 500) return passing('unavailable', what, retryAfterMs);
  // Who we are is asked for only where a person will read it: not before a fault that is tried again.
  const facts = await explain({ ask: status !== 429 });
  if (status === 429) return authFailure('STS_THROTTLED', what, facts, options);
  if (said === undefined) return authFailure('STS_NOT_GOOGLE', what, facts);
  const sent = facts.arn === undefined ? '' : ` (sent as ${facts.arn}, google.subject ${facts.subject ?? 'unknown'})`;
  return authFailure(failureSaid(said, 'google-sts') ?? 'STS_REFUSED', what + sent, facts, options);
}

/**
 * Limits a token to parts of Cloud Storage: it can read objects there, and list below the prefix, and nothing else.
 *
 * @param token of the scope cloud-platform; it may belong to a service account or to a federated identity.
 * @returns a token that ends when `token` does.
 * Source: https://cloud.google.com/iam/docs/downscoping-short-lived-credentials
 */
export async function downscope(
  base: string,
  token: GcpAccessToken,
  within: readonly StorageScope[],
  options: CallOptions,
): Promise<GcpAccessToken> {
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token_type: ACCESS_TOKEN_TYPE,
    requested_token_type: ACCESS_TOKEN_TYPE,
    subject_token: token.token,
    options: JSON.stringify({ accessBoundary: { accessBoundaryRules: within.map(boundaryRule) } }),
  }).toString();
  const answer = await post(`${base}/v1/token`, { headers: FORM, body, secrets: [token.token] }, options);
  if (answer.status !== 200) {
    const refused = await exchangeError(answer, async () => ({}));
    if (refused.next === 'retry' || refused.id === 'STS_NOT_GOOGLE') throw refused;
    throw authFailure('DOWNSCOPE_REFUSED', `limit the token: ${refused.message}`);
  }
  const parsed = tokenAnswer.safeParse(jsonOf(answer));
  if (!parsed.success) throw unusable(answer);
  return { ...token, token: parsed.data.access_token };
}

/** Source: https://cloud.google.com/iam/docs/downscoping-short-lived-credentials#components-cab */
function boundaryRule({ bucket, prefix, exact, deletes }: StorageScope) {
  const literal = JSON.stringify(prefix);
  const object = JSON.stringify(`projects/_/buckets/${bucket}/objects/${prefix}`);
  const below = `resource.name.startsWith(${object}) || api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith(${literal})`;
  return {
    availableResource: `//storage.googleapis.com/projects/_/buckets/${bucket}`,
    availablePermissions: [`inRole:roles/storage.${deletes === true ? 'objectUser' : 'objectViewer'}`],
    ...(prefix === '' ? {} : { availabilityCondition: { expression: exact ? `resource.name == ${object}` : below } }),
  };
}

export function passing(
  code: 'unavailable' | 'throttled',
  what: string,
  retryAfterMs: number | undefined,
): BrokerError {
  return new BrokerError(code, what, retryAfterMs === undefined ? {} : { retryAfterMs });
}
