import { BrokerError } from '../api/errors.ts';
import type { Grant } from '../api/plugin.ts';
import type { AwsIdentity } from '../auth/aws-identity.ts';
import type { GcpIdentity } from '../auth/federated.ts';
import { type ProviderName, principal, principalSet, providerName } from '../auth/principal.ts';
import type { Pipeline } from '../pipeline/load.ts';

/** A role of an AWS account: who is trusted, never the whole account. */
export interface AwsRole {
  readonly account: string;
  readonly role: string;
}

/** One provider and all that may use it. */
export interface ProviderSetup extends ProviderName {
  /** `aws`: signed requests. `aws-token`: JWTs of AWS. `kubernetes`: tokens of one service account of a cluster. */
  readonly kind: 'aws' | 'aws-token' | 'kubernetes';
  readonly audience: string;
  readonly roles: readonly AwsRole[];
}

/** A role on a service account, for whoever may act as it. */
export interface Impersonation {
  readonly serviceAccount: string;
  readonly role: 'roles/iam.workloadIdentityUser' | 'roles/iam.serviceAccountTokenCreator';
  readonly member: string;
}

export interface BucketBinding {
  readonly bucket: string;
  readonly prefix: string;
  readonly role: string;
  readonly member: string;
  readonly reason: string;
}

export type AwsGrant = Omit<Extract<Grant, { cloud: 'aws' }>, 'cloud' | 'identity'>;

/** A role of AWS with what it may do and who may become it. */
export interface RoleSetup extends AwsRole {
  readonly grants: readonly AwsGrant[];
  readonly trust:
    | { readonly by: 'place' }
    | { readonly by: 'role'; readonly arn: string; readonly externalId: string | undefined; readonly tags: boolean }
    | { readonly by: 'google'; readonly audience: string; readonly serviceAccount: string | undefined };
}

/** All that two administrators have to set up for one pipeline, and nothing that it does not need. */
export interface Setup {
  readonly pipeline: string;
  readonly providers: readonly ProviderSetup[];
  readonly impersonations: readonly Impersonation[];
  readonly buckets: readonly BucketBinding[];
  readonly roles: readonly RoleSetup[];
}

/**
 * What stands for what only the administrator knows; the outputs make variables of it. Nothing that a pipeline can
 * say holds braces where these are looked for.
 */
export const UNKNOWN = {
  kubernetesSubject: 'system:serviceaccount:{{KUBERNETES_NAMESPACE}}:{{KUBERNETES_SERVICE_ACCOUNT}}',
  attachedAccount: '{{ATTACHED_SERVICE_ACCOUNT}}',
  googleAccountId: '{{GOOGLE_SERVICE_ACCOUNT_ID}}',
} as const;

/** Puts a reference where a name stands for something unknown. */
export const referred = (text: string, reference: (name: string) => string): string =>
  text.replace(/\{\{([A-Z_]+)\}\}/g, (_, name: string) => reference(name));

/** @throws BrokerError `invalid_config` when the pipeline does not say whom to trust. */
export function setupOf(pipeline: Pipeline): Setup {
  const grants = [...pipeline.sources, ...pipeline.sinks].flatMap(
    ({ plugin, config }) => plugin.grants?.(config) ?? [],
  );
  const identities = Object.entries(pipeline.identities);
  const gcp = identities.filter((entry): entry is [string, GcpIdentity] => entry[1].kind === 'gcp');
  const named = new Map(identities);
  const awsOf = (name: string | undefined): AwsIdentity | undefined => {
    const identity = name === undefined ? undefined : named.get(name);
    return identity?.kind === 'aws' ? identity : undefined;
  };
  return {
    pipeline: pipeline.name,
    providers: providersOf(gcp, awsOf),
    impersonations: gcp.flatMap(([name, identity]) => impersonationsOf(name, identity, awsOf)),
    buckets: bucketsOf(grants, new Map(gcp), awsOf),
    roles: rolesOf(grants, gcp, identities, awsOf),
  };
}

type AwsOf = (name: string | undefined) => AwsIdentity | undefined;

function providersOf(gcp: readonly (readonly [string, GcpIdentity])[], awsOf: AwsOf): ProviderSetup[] {
  const found = new Map<string, ProviderSetup>();
  for (const [name, identity] of gcp) {
    const { audience, from } = identity;
    const parts = audience === undefined ? undefined : providerName(audience);
    if (audience === undefined || parts === undefined || from === 'metadata') continue;
    const kind = from === 'aws-signature' ? 'aws' : from === 'aws-token' ? 'aws-token' : 'kubernetes';
    const roles = kind === 'kubernetes' ? [] : [trustedRole(name, identity, awsOf)];
    const known = found.get(audience);
    if (known !== undefined && known.kind !== kind) {
      throw new BrokerError(
        'invalid_config',
        `identity "${name}" uses a provider that another uses with another \`from\``,
        {
          hint: 'Give each kind of proof a provider of its own: one trusts AWS, the other an OIDC issuer.',
        },
      );
    }
    if (new Set([...(known?.roles ?? []), ...roles].map(({ account }) => account)).size > 1 && kind === 'aws') {
      throw new BrokerError('invalid_config', `identity "${name}" uses a provider for a second AWS account`, {
        hint: 'A provider trusts one AWS account: make another for this identity and set audience.',
      });
    }
    found.set(audience, { ...parts, kind, audience, roles: distinct([...(known?.roles ?? []), ...roles]) });
  }
  return [...found.values()];
}

/** The role of AWS that an identity of kind gcp starts from. */
function trustedRole(name: string, { expect, aws }: GcpIdentity, awsOf: AwsOf): AwsRole {
  const assumed = roleOf(awsOf(aws)?.roleArn);
  const account = assumed?.account ?? expect?.awsAccountId;
  const role = assumed?.role ?? expect?.roleName;
  if (account !== undefined && role !== undefined) return { account, role };
  throw new BrokerError('invalid_config', `identity "${name}" does not say which AWS role Google is to trust`, {
    hint: `Add to identity ${name}: expect: { awsAccountId: "111122223333", roleName: my-role }. \`isthmus doctor\` shows both where the pipeline runs.`,
  });
}

function roleOf(arn: string | undefined): AwsRole | undefined {
  const [, account, role] = /^arn:aws[a-z-]*:iam::(\d{12}):role\/(?:.*\/)?([^/]+)$/.exec(arn ?? '') ?? [];
  return account === undefined || role === undefined ? undefined : { account, role };
}

/** The first identity of the chain, as IAM policies of Google name it. */
function memberOf(name: string, identity: GcpIdentity, awsOf: AwsOf): string {
  const provider = identity.audience === undefined ? undefined : providerName(identity.audience);
  if (provider === undefined) return `serviceAccount:${UNKNOWN.attachedAccount}`;
  if (identity.from === 'kubernetes-token') return principal(provider, UNKNOWN.kubernetesSubject);
  const { account, role } = trustedRole(name, identity, awsOf);
  return identity.from === 'aws-token'
    ? principal(provider, `arn:aws:iam::${account}:role/${role}`)
    : principalSet(provider, 'aws_role', role);
}

function impersonationsOf(name: string, identity: GcpIdentity, awsOf: AwsOf): Impersonation[] {
  const { serviceAccount, delegates = [], from } = identity;
  if (serviceAccount === undefined) return [];
  const chain = [...delegates, serviceAccount];
  return chain.map((account, index) => ({
    serviceAccount: account,
    // The first is borrowed by the federated identity, each further one by the account before it.
    role:
      index === 0 && from !== 'metadata' ? 'roles/iam.workloadIdentityUser' : 'roles/iam.serviceAccountTokenCreator',
    member: index === 0 ? memberOf(name, identity, awsOf) : `serviceAccount:${chain[index - 1]}`,
  }));
}

function bucketsOf(grants: readonly Grant[], gcp: ReadonlyMap<string, GcpIdentity>, awsOf: AwsOf): BucketBinding[] {
  const bindings = grants.flatMap((grant) => {
    const identity = grant.cloud === 'gcp' ? gcp.get(grant.identity) : undefined;
    if (grant.cloud !== 'gcp' || identity === undefined) return [];
    const { serviceAccount } = identity;
    const member =
      serviceAccount === undefined ? memberOf(grant.identity, identity, awsOf) : `serviceAccount:${serviceAccount}`;
    return [{ ...grant.on, role: grant.role, member, reason: grant.reason }];
  });
  return distinct(bindings);
}

function rolesOf(
  grants: readonly Grant[],
  gcp: readonly (readonly [string, GcpIdentity])[],
  identities: readonly (readonly [string, { readonly kind: string }])[],
  awsOf: AwsOf,
): RoleSetup[] {
  const grantsFor = (roleArn: string | undefined): AwsGrant[] =>
    grants.flatMap((grant) => {
      if (grant.cloud !== 'aws' || awsOf(grant.identity)?.roleArn !== roleArn) return [];
      const { cloud: _, identity: __, ...rest } = grant;
      return [rest];
    });
  const own = gcp
    .filter(([, { from, aws }]) => from.startsWith('aws-') && awsOf(aws)?.roleArn === undefined)
    .map(([name, identity]) => trustedRole(name, identity, awsOf))[0];
  const assumed = identities.flatMap(([name]) => {
    const identity = awsOf(name);
    const role = roleOf(identity?.roleArn);
    return identity?.roleArn === undefined || role === undefined
      ? []
      : [{ ...identity, ...role, roleArn: identity.roleArn }];
  });
  const roles: RoleSetup[] = assumed.map(
    ({ account, role, roleArn, google, audience, externalId, sessionTags, aws }) => ({
      account,
      role,
      grants: [...grantsFor(roleArn), ...tokenGrants(gcp, roleArn, awsOf)],
      trust:
        google !== undefined && audience !== undefined
          ? { by: 'google', audience, serviceAccount: gcp.find(([name]) => name === google)?.[1].serviceAccount }
          : {
              by: 'role',
              arn: awsOf(aws)?.roleArn ?? `arn:aws:iam::${own?.account ?? account}:role/${own?.role ?? 'ROLE'}`,
              externalId,
              tags: sessionTags !== undefined,
            },
    }),
  );
  if (own === undefined) return roles;
  const steps = assumed.filter(({ google, aws }) => google === undefined && awsOf(aws)?.roleArn === undefined);
  const assumes: AwsGrant[] = steps.map(({ roleArn, sessionTags }) => ({
    actions: ['sts:AssumeRole', ...(sessionTags === undefined ? [] : ['sts:TagSession'])],
    resources: [roleArn],
    reason: `become ${roleArn}`,
  }));
  const ownGrants = [...grantsFor(undefined), ...assumes, ...tokenGrants(gcp, undefined, awsOf)];
  return [{ ...own, grants: ownGrants, trust: { by: 'place' } }, ...roles];
}

/** What `from: aws-token` needs: a JWT for this one audience, for five minutes at most. */
function tokenGrants(
  gcp: readonly (readonly [string, GcpIdentity])[],
  roleArn: string | undefined,
  awsOf: AwsOf,
): AwsGrant[] {
  return gcp
    .filter(([, { from, aws }]) => from === 'aws-token' && awsOf(aws)?.roleArn === roleArn)
    .map(([, { audience }]) => ({
      actions: ['sts:GetWebIdentityToken'],
      resources: ['*'],
      condition: {
        'ForAllValues:StringEquals': { 'sts:IdentityTokenAudience': `https:${audience}` },
        NumericLessThanEquals: { 'sts:DurationSeconds': '300' },
        StringEquals: { 'sts:SigningAlgorithm': 'RS256' },
      },
      reason: `ask AWS for an identity token for ${audience}`,
    }));
}

function distinct<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}
