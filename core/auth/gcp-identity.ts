import type { GcpAccessToken, GcpTokenRequest } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import { formatDuration } from '../api/text.ts';
import type { AuthRuntime, StepOptions } from './aws-identity.ts';
import type { Expiring } from './cached.ts';
import { factsOf, type GcpIdentity } from './federated.ts';
import { attachedEmail, attachedIdToken, attachedToken } from './google-metadata.ts';
import { CLOUD_PLATFORM, downscope, type Explain, exchangeToken } from './google-sts.ts';
import { generateAccessToken, generateIdToken, type Impersonation } from './iam-credentials.ts';
import { type GcpChain, proof } from './proof.ts';
import { fingerprint } from './subject-token.ts';

const HOUR_MS = 3_600_000;

/** Base URLs for an identity: the process's own, or those of its universe and location. */
export function googleHosts({ universeDomain, stsLocation }: GcpIdentity, { endpoints }: AuthRuntime) {
  const sts = stsLocation === undefined ? `sts.${universeDomain}` : `sts.${stsLocation}.rep.${universeDomain}`;
  return {
    sts: endpoints.googleSts ?? `https://${sts}`,
    iamCredentials: endpoints.iamCredentials ?? `https://iamcredentials.${universeDomain}`,
    metadata: endpoints.googleMetadata,
  };
}

/** The token that everything else stands on, and whose it is where that has to be explained. */
interface Base {
  readonly token: GcpAccessToken;
  readonly facts: Explain;
}

/** Walks the chain: who AWS says we are, the proof, the exchange, the service account, the limits. */
export async function googleToken(
  chain: GcpChain,
  request: GcpTokenRequest,
  options: StepOptions,
): Promise<Expiring<GcpAccessToken>> {
  const { identity, runtime } = chain;
  const { serviceAccount, downscope: limited, quotaProject } = identity;
  const within = limited ? request.within : undefined;
  if (limited && within === undefined) {
    throw new BrokerError('invalid_config', 'this plugin needs a token that cannot be limited to a bucket', {
      hint: 'Use another identity, without downscope, for this source.',
    });
  }
  // A token that is to be limited afterwards must be of this scope; the limited one is narrower than any scope.
  const scopes = within === undefined ? request.scopes : [CLOUD_PLATFORM];
  const base = await baseToken(chain, serviceAccount === undefined ? scopes : [CLOUD_PLATFORM], options);
  const token =
    serviceAccount === undefined ? base.token : await impersonated(chain, serviceAccount, base, scopes, options);
  let last = token;
  if (within !== undefined) {
    last = await downscope(googleHosts(identity, runtime).sts, token, within, call(chain, options));
    const places = within.map(({ bucket, prefix }) => `gs://${bucket}/${prefix}`).join(', ');
    options.observe({ step: 'downscoping', detail: `good for reading ${places} only` });
  }
  const value = quotaProject === undefined ? last : { ...last, quotaProject };
  return { value, expiresAt: last.expiresAt };
}

/** An OIDC ID token for one audience; made anew each time. */
export async function googleIdToken(chain: GcpChain, audience: string, options: StepOptions): Promise<string> {
  const { identity, runtime } = chain;
  const hosts = googleHosts(identity, runtime);
  const { serviceAccount } = identity;
  if (serviceAccount !== undefined) {
    const base = await baseToken(chain, [CLOUD_PLATFORM], options);
    const who = { ...impersonation(identity, serviceAccount, base), audience };
    const token = await generateIdToken(hosts.iamCredentials, base.token.token, who, call(chain, options));
    options.observe({ step: 'impersonation', detail: `${serviceAccount}, ID token for ${audience}` });
    return token;
  }
  if (identity.from === 'metadata') return attachedIdToken(hosts.metadata, audience, call(chain, options));
  throw new BrokerError('invalid_config', 'a federated identity has no ID tokens of its own', {
    hint: 'Set serviceAccount on the identity: ID tokens are those of a service account.',
  });
}

const call = ({ runtime: { clock } }: GcpChain, { signal }: StepOptions) => ({ signal, clock });

/** The federated token, or that of the attached service account. */
async function baseToken(chain: GcpChain, scopes: readonly string[], options: StepOptions): Promise<Base> {
  const { identity, runtime } = chain;
  const { audience } = identity;
  if (identity.from === 'metadata' || audience === undefined) {
    const { metadata } = googleHosts(identity, runtime);
    const [token, email] = await Promise.all([
      attachedToken(metadata, scopes, call(chain, options)),
      attachedEmail(metadata, call(chain, options)),
    ]);
    options.observe({ step: 'google-identity', detail: `${email}, attached to this workload` });
    return { token, facts: async () => ({ ...factsOf(identity), member: `serviceAccount:${email}` }) };
  }
  const before = runtime.clock.offsetMs ?? 0;
  const made = await exchanged(chain, audience, scopes, options).catch((error: unknown) => {
    // The refusal itself told the right time: a proof signed by the corrected clock is accepted.
    const corrected = (runtime.clock.offsetMs ?? 0) !== before;
    if (error instanceof BrokerError && error.id === 'STS_CLOCK' && corrected)
      return exchanged(chain, audience, scopes, options);
    throw error;
  });
  const detail = `federated token ${fingerprint(made.token.token)}, ${left(made.token, runtime)}`;
  options.observe({ step: 'google-sts', detail });
  return made;
}

async function exchanged(
  chain: GcpChain,
  audience: string,
  scopes: readonly string[],
  options: StepOptions,
): Promise<Base> {
  const { subject, known } = await proof(chain, audience, options);
  const facts: Explain = async ({ ask }) => factsOf(chain.identity, ask ? await known() : {});
  const { sts } = googleHosts(chain.identity, chain.runtime);
  return { token: await exchangeToken(sts, { subject, audience, scopes, facts }, call(chain, options)), facts };
}

async function impersonated(
  chain: GcpChain,
  serviceAccount: string,
  base: Base,
  scopes: readonly string[],
  options: StepOptions,
): Promise<GcpAccessToken> {
  const { identity, runtime } = chain;
  const { iamCredentials } = googleHosts(identity, runtime);
  const lifetimeMs = identity.lifetime ?? HOUR_MS;
  const who = { ...impersonation(identity, serviceAccount, base), scopes, lifetimeMs };
  const token = await generateAccessToken(iamCredentials, base.token.token, who, call(chain, options));
  const names = scopes.map((scope) => scope.replace('https://www.googleapis.com/auth/', '')).join(' ');
  options.observe({ step: 'impersonation', detail: `${serviceAccount}, ${left(token, runtime)}, ${names}` });
  return token;
}

const impersonation = (identity: GcpIdentity, serviceAccount: string, base: Base): Impersonation => ({
  serviceAccount,
  delegates: identity.delegates ?? [],
  facts: () => base.facts({ ask: true }),
});

const left = ({ expiresAt }: GcpAccessToken, { clock }: AuthRuntime): string =>
  `valid for ${formatDuration(expiresAt - clock.local())}`;
