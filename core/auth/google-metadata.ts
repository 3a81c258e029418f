import { z } from 'zod';
import type { GcpAccessToken } from '../api/credentials.ts';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import { safeText } from '../api/text.ts';
import { authFailure } from './failures/table.ts';
import { type CallOptions, jsonOf, linkLocal } from './http.ts';

const ACCOUNT = '/computeMetadata/v1/instance/service-accounts/default';
const tokenAnswer = z.object({ access_token: z.string().min(1), expires_in: z.number().positive().max(43_200) });

/**
 * A token of the service account that is attached to this Cloud Run service, GKE pod or virtual machine.
 * Source: https://cloud.google.com/compute/docs/access/authenticate-workloads
 */
export async function attachedToken(
  base: string,
  scopes: readonly string[],
  options: CallOptions,
): Promise<GcpAccessToken> {
  const askedAt = options.clock.local();
  const text = await ask(base, `${ACCOUNT}/token?scopes=${encodeURIComponent(scopes.join(','))}`, options);
  const parsed = tokenAnswer.safeParse(jsonOf({ text }));
  if (!parsed.success) throw new BrokerError('bad_response', 'the metadata server answered without a valid token');
  return { token: parsed.data.access_token, expiresAt: askedAt + parsed.data.expires_in * 1000 };
}

/** An OIDC ID token of the attached service account, made anew for this audience. */
export async function attachedIdToken(base: string, audience: string, options: CallOptions): Promise<string> {
  const text = await ask(base, `${ACCOUNT}/identity?audience=${encodeURIComponent(audience)}&format=full`, options);
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text.trim()))
    throw new BrokerError('bad_response', 'the metadata server answered without an ID token');
  return text.trim();
}

/** The e-mail address of the attached service account. */
export async function attachedEmail(base: string, options: CallOptions): Promise<string> {
  return (await ask(base, `${ACCOUNT}/email`, options)).trim();
}

async function ask(base: string, path: string, { signal }: CallOptions): Promise<string> {
  const answer = await linkLocal(`${base}${path}`, { headers: { 'metadata-flavor': 'Google' }, signal }).catch(
    (thrown: unknown) => {
      const error = asBrokerError(thrown);
      if (error.code === 'stopped') throw error;
      // On GKE the metadata server may begin after the pod; where there is none, trying again takes a second.
      if (/ECONNRE(?:SET|FUSED)/.test(error.message)) {
        const { hint } = authFailure('GOOGLE_NOT_HERE', '');
        throw new BrokerError('network', `not running on Google Cloud: ${error.message}`, {
          hint,
          id: 'GOOGLE_NOT_HERE',
        });
      }
      throw authFailure('GOOGLE_NOT_HERE', `not running on Google Cloud: ${error.message}`);
    },
  );
  // A captive portal, or the metadata service of another cloud, does not say this.
  if (answer.headers['metadata-flavor'] !== 'Google')
    throw authFailure('GOOGLE_NOT_HERE', 'not running on Google Cloud: what answers is not its metadata server');
  if (answer.status === 200) return answer.text;
  const what = `the metadata server: HTTP ${answer.status}: ${safeText(answer.text.trim())}`;
  if (answer.status === 429 || answer.status >= 500) throw new BrokerError('unavailable', what);
  throw authFailure('GOOGLE_NO_IDENTITY', what);
}
