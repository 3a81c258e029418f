import { z } from 'zod';
import type { GcpAccessToken } from '../api/credentials.ts';
import type { BrokerError } from '../api/errors.ts';
import { safeText } from '../api/text.ts';
import type { Facts } from './failures/failure.ts';
import { authFailure, failureSaid } from './failures/table.ts';
import { passing } from './google-sts.ts';
import { type Answer, type CallOptions, jsonOf, post } from './http.ts';

/** Whose rights are borrowed, and through whom. */
export interface Impersonation {
  readonly serviceAccount: string;
  /** Each may impersonate the next, the last one `serviceAccount`. E-mail addresses. */
  readonly delegates: readonly string[];
  /** The user's own names, for the instructions of a refusal; asked for only then. */
  readonly facts: () => Promise<Facts>;
}

/** Twelve hours are the most that Google gives; the rest is for clocks. */
const LONGEST_LIFE_MS = 13 * 3_600_000;

const accessAnswer = z.object({ accessToken: z.string().min(1), expireTime: z.iso.datetime({ offset: true }) });

/**
 * Trades a token for one of a service account.
 *
 * Source: https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken
 */
export async function generateAccessToken(
  base: string,
  token: string,
  who: Impersonation & { readonly scopes: readonly string[]; readonly lifetimeMs: number },
  options: CallOptions,
): Promise<GcpAccessToken> {
  const body = { scope: who.scopes, lifetime: `${who.lifetimeMs / 1000}s`, ...delegatesOf(who) };
  const answer = await ask(base, who, 'generateAccessToken', token, body, options);
  const parsed = accessAnswer.safeParse(jsonOf(answer));
  const lifeMs = Date.parse(parsed.data?.expireTime ?? '') - options.clock.now();
  if (!parsed.success || !(lifeMs > 0 && lifeMs < LONGEST_LIFE_MS)) {
    const what = 'iamcredentials: HTTP 200 without a valid accessToken and expireTime';
    throw authFailure('IMP_NO_TOKEN', what, await who.facts());
  }
  return { token: parsed.data.accessToken, expiresAt: options.clock.toLocal(Date.parse(parsed.data.expireTime)) };
}

const idAnswer = z.object({ token: z.string().regex(/^[\w-]+\.[\w-]+\.[\w-]+$/) });

/**
 * An OIDC ID token of a service account, for one audience.
 *
 * Source: https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateIdToken
 */
export async function generateIdToken(
  base: string,
  token: string,
  who: Impersonation & { readonly audience: string },
  options: CallOptions,
): Promise<string> {
  const body = { audience: who.audience, includeEmail: true, ...delegatesOf(who) };
  const answer = await ask(base, who, 'generateIdToken', token, body, options);
  const parsed = idAnswer.safeParse(jsonOf(answer));
  if (!parsed.success) {
    throw authFailure('IMP_NO_TOKEN', 'iamcredentials: HTTP 200 without an ID token', await who.facts());
  }
  return parsed.data.token;
}

const delegatesOf = ({ delegates }: Impersonation): object =>
  delegates.length === 0 ? {} : { delegates: delegates.map((email) => `projects/-/serviceAccounts/${email}`) };

async function ask(
  base: string,
  who: Impersonation,
  method: string,
  token: string,
  body: object,
  options: CallOptions,
): Promise<Answer> {
  const url = `${base}/v1/projects/-/serviceAccounts/${encodeURIComponent(who.serviceAccount)}:${method}`;
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
  const answer = await post(url, { headers, body: JSON.stringify(body), secrets: [token] }, options);
  if (answer.status !== 200) throw await refused(answer, who);
  return answer;
}

const errorAnswer = z.object({ error: z.object({ message: z.string().default(''), status: z.string().default('') }) });

async function refused(answer: Answer, { serviceAccount, facts }: Impersonation): Promise<BrokerError> {
  const { status, retryAfterMs } = answer;
  const said = errorAnswer.safeParse(jsonOf(answer)).data?.error;
  const what = `impersonate ${serviceAccount}: HTTP ${status} ${said?.status ?? ''}: ${safeText(answer.hide(said?.message ?? 'an answer that is not JSON'))}`;
  if (status === 429) return passing('throttled', what, retryAfterMs);
  if (status >= 500) return passing('unavailable', what, retryAfterMs);
  // The project whose API is off is named by its number.
  const project = /in project (\d+)/.exec(said?.message ?? '')?.[1];
  const known = { ...(await facts()), ...(project && { project }) };
  return authFailure(failureSaid(said?.message ?? '', 'impersonation') ?? 'IMP_REFUSED', what, known);
}
