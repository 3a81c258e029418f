import type { AwsCredentials, GcpAccessToken, GcpTokenRequest } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import { formatDuration } from '../api/text.ts';
import type { IdentitySpec } from '../pipeline/spec.ts';
import { type AuthRuntime, expectedCaller, type StepOptions, stsPlace } from './aws-identity.ts';
import { webIdentityToken } from './aws-sts.ts';
import type { Expiring } from './cached.ts';
import type { Facts } from './failures/failure.ts';
import { attachedEmail, attachedIdToken, attachedToken } from './google-metadata.ts';
import { CLOUD_PLATFORM, downscope, exchangeToken } from './google-sts.ts';
import { generateAccessToken, generateIdToken, type Impersonation } from './iam-credentials.ts';
import { principalSet, providerName, roleSession } from './principal.ts';
import {
  AWS_REQUEST_TYPE,
  awsSubjectToken,
  JWT_TYPE,
  kubernetesToken,
  type SubjectToken,
  secretsOf,
} from './subject-token.ts';

export type GcpIdentity = Extract<IdentitySpec, { kind: 'gcp' }>;

/** AWS credentials that end sooner would expire while Google replays the signed request. */
export const AWS_MIN_TTL_MS = 60_000;
const HOUR_MS = 3_600_000;

/** An identity with what it stands on. */
export interface GcpChain {
  readonly identity: GcpIdentity;
  /** The AWS identity it starts from, unless it starts from something else. */
  readonly aws: (options: { signal: AbortSignal; minTtlMs: number }) => Promise<AwsCredentials>;
  /** Of that AWS identity, when its options name one. */
  readonly region: string | undefined;
  readonly runtime: AuthRuntime;
}

/** Base URLs for an identity: the process's own, or those of its universe and location. */
export function googleHosts({ universeDomain, stsLocation }: GcpIdentity, { endpoints }: AuthRuntime) {
  const sts = stsLocation === undefined ? `sts.${universeDomain}` : `sts.${stsLocation}.rep.${universeDomain}`;
  return {
    sts: endpoints.googleSts ?? `https://${sts}`,
    iamCredentials: endpoints.iamCredentials ?? `https://iamcredentials.${universeDomain}`,
    metadata: endpoints.googleMetadata,
  };
}

/** The user's own names, for the instructions of a refusal. */
export function factsOf({ audience, serviceAccount, expect, quotaProject }: GcpIdentity, arn?: string): Facts {
  const name = audience === undefined ? undefined : providerName(audience);
  const session = arn === undefined ? undefined : roleSession(arn);
  const role = session?.role ?? expect?.roleName;
  return {
    audience,
    pool: name?.pool,
    provider: name?.provider,
    poolNumber: name?.projectNumber,
    serviceAccount,
    role,
    awsAccount: session?.account ?? expect?.awsAccountId,
    arn,
    member: name === undefined || role === undefined ? undefined : principalSet(name, 'aws_role', role),
    project: quotaProject ?? /@([a-z0-9-]+)\.iam\.gserviceaccount\.com$/.exec(serviceAccount ?? '')?.[1],
  };
}

/** What Google is shown of us, and as whom AWS knows us where that was asked. */
interface Proof {
  readonly subject: SubjectToken;
  readonly arn: string | undefined;
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
  const last =
    within === undefined
      ? token
      : await downscope(googleHosts(identity, runtime).sts, token, within, call(chain, options));
  if (within !== undefined) {
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
    const who = { ...impersonation(identity, serviceAccount, base.arn), audience };
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
async function baseToken(
  chain: GcpChain,
  scopes: readonly string[],
  options: StepOptions,
): Promise<{ readonly token: GcpAccessToken; readonly arn: string | undefined }> {
  const { identity, runtime } = chain;
  const hosts = googleHosts(identity, runtime);
  const { audience } = identity;
  if (identity.from === 'metadata' || audience === undefined) {
    const token = await attachedToken(hosts.metadata, scopes, call(chain, options));
    const email = await attachedEmail(hosts.metadata, call(chain, options));
    options.observe({ step: 'google-identity', detail: `${email}, attached to this workload` });
    return { token, arn: undefined };
  }
  const token = async (): Promise<{ token: GcpAccessToken; arn: string | undefined }> => {
    const { subject, arn } = await proof(chain, audience, options);
    const exchange = { subject, audience, scopes, facts: factsOf(identity, arn) };
    return { token: await exchangeToken(hosts.sts, exchange, call(chain, options)), arn };
  };
  const made = await token().catch((error: unknown) => {
    // The refusal itself told the right time: a proof signed by the corrected clock is accepted.
    if (error instanceof BrokerError && error.id === 'STS_CLOCK' && runtime.clock.offsetMs) return token();
    throw error;
  });
  options.observe({ step: 'google-sts', detail: `federated token, ${left(made.token, runtime)}` });
  return made;
}

async function proof(chain: GcpChain, audience: string, options: StepOptions): Promise<Proof> {
  const { identity, runtime, aws, region } = chain;
  const { signal, observe } = options;
  if (identity.from === 'kubernetes-token') {
    const file = identity.tokenFile ?? '';
    const token = await kubernetesToken(file, audience, runtime.clock.now(), signal);
    observe({ step: 'subject-token', detail: `service account token of Kubernetes, from ${file}` });
    return { subject: { type: JWT_TYPE, token }, arn: undefined };
  }
  // The region may have to be asked for; the credentials do not wait for it.
  const [credentials, place] = await Promise.all([
    aws({ signal, minTtlMs: AWS_MIN_TTL_MS }),
    stsPlace(region, runtime, signal),
  ]);
  const caller = await expectedCaller(identity.expect, credentials, place, runtime, options);
  if (identity.from === 'aws-token') {
    const token = await webIdentityToken(credentials, `https:${audience}`, place, call(chain, options));
    observe({ step: 'subject-token', detail: `identity token of AWS for ${audience}` });
    return { subject: { type: JWT_TYPE, token }, arn: caller?.arn };
  }
  const token = awsSubjectToken(audience, credentials, place.region, runtime.clock.now());
  observe({ step: 'subject-token', detail: `GetCallerIdentity signed for ${audience}` });
  const secrets = secretsOf(token, credentials);
  return { subject: { type: AWS_REQUEST_TYPE, token, secrets }, arn: caller?.arn };
}

async function impersonated(
  chain: GcpChain,
  serviceAccount: string,
  base: { readonly token: GcpAccessToken; readonly arn: string | undefined },
  scopes: readonly string[],
  options: StepOptions,
): Promise<GcpAccessToken> {
  const { identity, runtime } = chain;
  const { iamCredentials } = googleHosts(identity, runtime);
  const who = {
    ...impersonation(identity, serviceAccount, base.arn),
    scopes,
    lifetimeMs: identity.lifetime ?? HOUR_MS,
  };
  const token = await generateAccessToken(iamCredentials, base.token.token, who, call(chain, options));
  const names = scopes.map((scope) => scope.replace('https://www.googleapis.com/auth/', '')).join(' ');
  options.observe({ step: 'impersonation', detail: `${serviceAccount}, ${left(token, runtime)}, ${names}` });
  return token;
}

const impersonation = (identity: GcpIdentity, serviceAccount: string, arn: string | undefined): Impersonation => ({
  serviceAccount,
  delegates: identity.delegates ?? [],
  facts: factsOf(identity, arn),
});

const left = ({ expiresAt }: GcpAccessToken, { clock }: AuthRuntime): string =>
  `valid for ${formatDuration(expiresAt - clock.local())}`;
