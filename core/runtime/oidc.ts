import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import type { PushSpec } from '../pipeline/deploy-spec.ts';

/** Proves who sent a request. @throws BrokerError `unauthorized` or `forbidden`; of the token nothing is in it. */
export type TokenVerifier = (authorization: string | undefined, expected: PushSpec) => Promise<void>;

/** Where Google publishes the keys of its ID tokens. */
export const GOOGLE_CERTS = 'https://www.googleapis.com/oauth2/v3/certs';

const ISSUERS = ['https://accounts.google.com', 'accounts.google.com'];
/** Clocks differ. */
const TOLERANCE_SECONDS = 30;
const LONGEST_TOKEN = 16 * 1024;

/**
 * Verifies the OIDC token that Pub/Sub puts into its pushes: signature by Google, not expired, made for the audience,
 * and sent by the service account that the pipeline names.
 *
 * Source: https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
 *
 * @param certs the address of the keys. They are fetched at the first token, and again when an unknown key signs.
 */
export function googleTokens(certs: string, now: () => number): TokenVerifier {
  // Only who is pushed to loads what verifies.
  const loaded = once(async () => {
    const { jose } = await import('./jose.ts');
    return { jose, keys: jose.createRemoteJWKSet(new URL(certs), { timeoutDuration: 5000, cooldownDuration: 10_000 }) };
  });
  return async (authorization, { audience, serviceAccount }) => {
    if (authorization === undefined || authorization === '') throw unauthorized('the request carries no token');
    const token = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization)?.[1];
    if (token === undefined || token.length > LONGEST_TOKEN)
      throw unauthorized('what the request carries is not a JSON Web Token');
    const { jose, keys } = await loaded();
    const { payload } = await jose
      .jwtVerify(token, keys, {
        algorithms: ['RS256'],
        issuer: ISSUERS,
        audience,
        requiredClaims: ['exp', 'email'],
        clockTolerance: TOLERANCE_SECONDS,
        currentDate: new Date(now()),
      })
      .catch((error: unknown) => {
        throw failure(error, jose.errors);
      });
    const { email, email_verified: verified } = payload;
    const allowed = [serviceAccount].flat();
    if (verified !== true || typeof email !== 'string' || !allowed.includes(email)) {
      const who = typeof email === 'string' ? visible(email.slice(0, 200)) : 'nobody';
      throw new BrokerError('forbidden', `the token is good, but ${who} is not whom \`push.serviceAccount\` names`);
    }
  };
}

function failure(error: unknown, kinds: typeof import('./jose.ts').jose.errors): BrokerError {
  if (error instanceof kinds.JWTExpired) return unauthorized('the token has expired');
  if (error instanceof kinds.JWTClaimValidationFailed)
    return error.claim === 'aud'
      ? new BrokerError('forbidden', 'the token is for another audience than `push.audience`')
      : unauthorized(`the claim ${visible(error.claim)} of the token is not as it must be`);
  const { code } = error as { readonly code?: string };
  // What is wrong with the token itself; the rest is the way to the keys.
  if (error instanceof kinds.JOSEError && !(error instanceof kinds.JWKSTimeout) && code !== 'ERR_JOSE_GENERIC')
    return unauthorized('the token is not signed by Google');
  return new BrokerError('unavailable', 'the keys of Google, which prove who sent this, cannot be had');
}

const unauthorized = (message: string): BrokerError => new BrokerError('unauthorized', message);

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}
