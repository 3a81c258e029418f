import type { AwsCredentials } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import { type AuthRuntime, expectedCaller, type StepOptions, stsPlace } from './aws-identity.ts';
import { callerIdentity, webIdentityToken } from './aws-sts.ts';
import { factsOf, type GcpIdentity, type Known } from './federated.ts';
import { jwtClaims } from './jwt.ts';
import {
  AWS_REQUEST_TYPE,
  awsSubjectToken,
  checkSubjectToken,
  fingerprint,
  JWT_TYPE,
  kubernetesToken,
  type SubjectToken,
  secretsOf,
} from './subject-token.ts';

/** AWS credentials that end sooner would expire while Google replays the signed request. */
export const AWS_MIN_TTL_MS = 60_000;

/** To find out who we are, for an explanation only. */
const EXPLAIN_MS = 2000;

/** An identity with what it stands on. */
export interface GcpChain {
  readonly identity: GcpIdentity;
  /** The AWS identity it starts from, unless it starts from something else. */
  readonly aws: (options: { signal: AbortSignal; minTtlMs: number }) => Promise<AwsCredentials>;
  /** Of that AWS identity, when its options name one. */
  readonly region: string | undefined;
  readonly runtime: AuthRuntime;
}

/** What Google is shown of us, and what is known of us where an explanation is needed. */
export interface Proof {
  readonly subject: SubjectToken;
  readonly known: () => Promise<Known>;
}

/** The one interface of the three kinds of proof. */
export function proof(chain: GcpChain, audience: string, options: StepOptions): Promise<Proof> {
  return chain.identity.from === 'kubernetes-token'
    ? podProof(chain, audience, options)
    : awsProof(chain, audience, options);
}

async function podProof({ identity, runtime }: GcpChain, audience: string, options: StepOptions): Promise<Proof> {
  const file = identity.tokenFile ?? '';
  const token = await kubernetesToken(file, audience, runtime.clock.now(), options.signal);
  const { sub, aud } = jwtClaims(token) ?? {};
  const detail = `service account token of ${sub ?? 'nobody'} for ${[aud].flat().join(', ')}, from ${file} (${fingerprint(token)})`;
  options.observe({ step: 'subject-token', detail });
  return { subject: { type: JWT_TYPE, token }, known: async () => ({ sub }) };
}

async function awsProof(chain: GcpChain, audience: string, options: StepOptions): Promise<Proof> {
  const { identity, runtime, aws, region } = chain;
  const { signal, observe } = options;
  // The region may have to be asked for; the credentials do not wait for it, and their failure is the one to tell.
  const finding = stsPlace(region, runtime, signal);
  finding.catch(() => undefined);
  const credentials = await aws({ signal, minTtlMs: AWS_MIN_TTL_MS });
  const place = await finding;
  const caller = await expectedCaller(identity.expect, credentials, place, runtime, options);
  const call = { signal, clock: runtime.clock };
  // Only a refusal needs to know who we are, where nothing was expected.
  const asked = { ...call, deadlineMs: EXPLAIN_MS };
  const known = async (): Promise<Known> => ({
    caller: caller ?? (await callerIdentity(credentials, place, asked).catch(() => undefined)),
  });
  if (identity.from === 'aws-token') {
    const token = await webIdentityToken(credentials, `https:${audience}`, place, factsOf(identity, { caller }), call);
    observe({ step: 'subject-token', detail: `identity token of AWS for ${audience} (${fingerprint(token)})` });
    return { subject: { type: JWT_TYPE, token }, known };
  }
  const token = awsSubjectToken(audience, credentials, place.region, runtime.clock.now());
  const { targetSigned, signatureHolds } = checkSubjectToken(token, audience, credentials, place.region);
  if (!targetSigned || !signatureHolds)
    throw new BrokerError('internal', 'the signed request does not hold; it was not sent');
  observe({ step: 'subject-token', detail: `GetCallerIdentity signed for ${audience} (${fingerprint(token)})` });
  return { subject: { type: AWS_REQUEST_TYPE, token, secrets: secretsOf(token, credentials) }, known };
}
