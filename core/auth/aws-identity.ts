import type { AwsCredentials } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';
import type { IdentitySpec } from '../pipeline/spec.ts';
import type { AmbientCredentials, AwsChain } from './aws-ambient.ts';
import type { AwsOrigin } from './aws-origin.ts';
import type { RegionResolver } from './aws-region.ts';
import {
  assumeRole,
  assumeRoleWithWebIdentity,
  type CallerIdentity,
  callerIdentity,
  type StsPlace,
} from './aws-sts.ts';
import type { Expiring } from './cached.ts';
import type { ServerClock } from './clock.ts';
import { authFailure } from './failures/table.ts';
import { jwtClaims } from './jwt.ts';
import { roleSession } from './principal.ts';
import type { AuthEndpoints, AuthObserver } from './steps.ts';

export type AwsIdentity = Extract<IdentitySpec, { kind: 'aws' }>;
export type AwsExpectation = Extract<IdentitySpec, { kind: 'gcp' }>['expect'];

/** What every identity of a process has in common. */
export interface AuthRuntime {
  readonly chain: AwsChain;
  readonly region: RegionResolver;
  readonly endpoints: AuthEndpoints;
  readonly clock: ServerClock;
}

export interface StepOptions {
  readonly signal: AbortSignal;
  readonly observe: AuthObserver;
}

/** @throws BrokerError `AWS_REGION_MISSING` */
export async function stsPlace(
  own: string | undefined,
  { region, endpoints }: AuthRuntime,
  signal: AbortSignal,
): Promise<StsPlace> {
  const name = own ?? (await region(signal))?.name;
  if (name === undefined) throw authFailure('AWS_REGION_MISSING', 'no AWS region is known');
  return { region: name, endpoint: endpoints.awsSts };
}

/** The credentials of the process itself, unless they come from elsewhere than `require` allows. */
export async function ambientCredentials(
  { require, profile }: Pick<AwsIdentity, 'require' | 'profile'>,
  { chain, clock }: AuthRuntime,
  { signal, observe }: StepOptions,
): Promise<Expiring<AmbientCredentials>> {
  const credentials = await chain(signal, profile);
  refuseOrigin(credentials, require);
  const { accessKeyId, sessionToken, expiration, origin } = credentials;
  const left = expiration === undefined ? '' : `, valid until ${expiration.toISOString()}`;
  const token = sessionToken === undefined ? 'without a session token' : 'with a session token';
  observe({ step: 'aws-source', detail: `${origin}, key ${accessKeyId.slice(0, 4)}… ${token}${left}` });
  const end = expiration === undefined ? Number.POSITIVE_INFINITY : clock.toLocal(expiration.getTime());
  const expiring = { value: credentials, expiresAt: end };
  if (expiring.expiresAt - clock.local() < 60_000)
    throw authFailure('AWS_ENDING', `the AWS credentials of ${origin} end within a minute`);
  return expiring;
}

export function refuseOrigin({ origin }: AmbientCredentials, required: readonly AwsOrigin[] | undefined): void {
  if (required === undefined || required.includes(origin)) return;
  const node = origin === 'instance-role' ? ' (that of the node, when this is a container)' : '';
  const wanted = required.join(' or ');
  throw authFailure('AWS_WRONG_ORIGIN', `the AWS credentials come from ${origin}${node}, required: ${wanted}`);
}

export const expiringAws = <T extends AwsCredentials>(credentials: T): Expiring<T> => ({
  value: credentials,
  expiresAt: credentials.expiration?.getTime() ?? Number.POSITIVE_INFINITY,
});

/** A session of `identity.roleArn`, begun with the credentials of another identity. */
export async function chainedRole(
  identity: AwsIdentity & { readonly roleArn: string },
  master: AwsCredentials,
  sessionName: string,
  runtime: AuthRuntime,
  { signal, observe }: StepOptions,
): Promise<Expiring<AwsCredentials>> {
  const place = await stsPlace(identity.region, runtime, signal);
  const { roleArn, externalId, sessionTags, duration } = identity;
  const role = { roleArn, externalId, sessionTags, sessionName, durationSeconds: seconds(duration) };
  const session = await assumeRole(master, role, place, { signal, clock: runtime.clock });
  observe({ step: 'aws-identity', detail: `assumed ${roleArn} as ${sessionName}` });
  return expiringAws(session);
}

/** A session of `identity.roleArn`, begun with an ID token of Google: no AWS credentials are needed. */
export async function googleRole(
  identity: AwsIdentity & { readonly roleArn: string; readonly audience: string },
  idToken: string,
  sessionName: string,
  runtime: AuthRuntime,
  { signal, observe }: StepOptions,
): Promise<Expiring<AwsCredentials>> {
  const place = await stsPlace(identity.region, runtime, signal);
  const { roleArn, audience, duration } = identity;
  const claims = jwtClaims(idToken);
  const facts = { tokenAudience: audience, subject: claims?.sub, awsAccount: roleArn.split(':')[4] };
  observe({
    step: 'google-identity',
    detail: `ID token: sub ${claims?.sub}, aud ${claims?.aud}, azp ${claims?.azp ?? 'none'}`,
  });
  const role = { roleArn, sessionName, idToken, facts, durationSeconds: seconds(duration) };
  const session = await assumeRoleWithWebIdentity(role, place, { signal, clock: runtime.clock });
  observe({ step: 'google-to-aws', detail: `assumed ${roleArn} as ${sessionName}` });
  return expiringAws(session);
}

const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000);

/** Compares who we are with who we should be, before anything goes to Google. */
export async function expectedCaller(
  expect: AwsExpectation,
  credentials: AwsCredentials,
  place: StsPlace,
  runtime: AuthRuntime,
  { signal, observe }: StepOptions,
): Promise<CallerIdentity | undefined> {
  if (expect === undefined) return undefined;
  const caller = await callerIdentity(credentials, place, { signal, clock: runtime.clock });
  refuseCaller(expect, caller);
  observe({ step: 'aws-identity', detail: caller.arn });
  return caller;
}

export function refuseCaller(expect: NonNullable<AwsExpectation>, { account, arn }: CallerIdentity): void {
  const { awsAccountId, roleName } = expect;
  const role = roleSession(arn)?.role;
  if ((awsAccountId ?? account) === account && (roleName === undefined || roleName === role)) return;
  const wanted = [awsAccountId, roleName].filter((part) => part !== undefined).join(' ');
  throw authFailure('AWS_WRONG_IDENTITY', `running as ${arn}, expected ${wanted}`, { arn });
}

/** `isthmus-PIPELINE`, in the 64 characters that AWS allows. */
export const sessionNameOf = (pipeline: string, own: string | undefined): string =>
  own ?? `isthmus-${pipeline}`.slice(0, 64);

export function mustHaveRole(
  name: string,
  identity: AwsIdentity,
): asserts identity is AwsIdentity & { readonly roleArn: string } {
  if (identity.roleArn === undefined)
    throw new BrokerError('invalid_config', `identity "${name}" has no roleArn`, { hint: 'Set roleArn.' });
}
