import { BrokerError } from '../api/errors.ts';
import { borrowingRole, type GcpIdentity } from '../auth/federated.ts';
import { principal, principalSet, providerName, roleOfSession } from '../auth/principal.ts';
import { trustedRole } from './aws-side.ts';
import { type Binding, distinct, type Identities, type Impersonation, type ProviderSetup, UNKNOWN } from './model.ts';

/** The provider that each identity names, with the role that it has to trust. */
export function providersOf(identities: Identities): ProviderSetup[] {
  return identities.gcp.flatMap(([name, identity]): ProviderSetup[] => {
    const { audience, from } = identity;
    const parts = audience === undefined ? undefined : providerName(audience);
    if (audience === undefined || parts === undefined || from === 'metadata') return [];
    const kind = from === 'aws-signature' ? 'aws' : from === 'aws-token' ? 'aws-token' : 'kubernetes';
    const roles = kind === 'kubernetes' ? [] : [trustedRole(name, identity, identities)];
    return [{ ...parts, kind, audience, roles, roleId: undefined }];
  });
}

/** One provider for each audience, with all the roles that it has to trust. */
export function mergedProviders(all: readonly ProviderSetup[], roleId: string | undefined): ProviderSetup[] {
  const refuse = (why: string, hint: string): never => {
    throw new BrokerError('invalid_config', why, { hint });
  };
  const merged = Object.values(Object.groupBy(all, ({ audience }) => audience)).flatMap((same = []) => {
    const [first] = same;
    if (first === undefined) return [];
    const { audience, kind } = first;
    if (same.some((one) => one.kind !== kind))
      refuse(
        `${audience}: two kinds of proof for one provider`,
        'Give each kind of proof (`from`) a provider of its own: one trusts AWS, the other an OIDC issuer.',
      );
    const roles = distinct(same.flatMap((one) => one.roles));
    if (kind !== 'kubernetes' && new Set(roles.map(({ account }) => account)).size > 1)
      refuse(
        `${audience}: a second AWS account for one provider`,
        'A provider trusts one AWS account: make another and set audience.',
      );
    return [{ ...first, roles, roleId: kind === 'aws' ? roleId : undefined }];
  });
  const rolesOf = (kind: ProviderSetup['kind']) =>
    merged.filter((one) => one.kind === kind).flatMap(({ roles }) => roles);
  if (roleId !== undefined && distinct(rolesOf('aws')).length > 1)
    refuse(
      'a role id pins one role, and several are trusted',
      'Leave --role-id out, or set the pipelines up one by one.',
    );
  // Who issues the tokens is asked for once.
  const clusters = merged.filter(({ kind }) => kind === 'kubernetes');
  if (clusters.length > 1 || new Set(rolesOf('aws-token').map(({ account }) => account)).size > 1)
    refuse(
      'there are two issuers of tokens',
      'Use one cluster, or one AWS account, for all that is set up at once; who issues the tokens is asked for once.',
    );
  return merged;
}

/** Each binding once, whatever it is for. */
export const mergedBindings = (all: readonly Binding[]): Binding[] => [
  ...new Map(all.map((one) => [JSON.stringify({ ...one, reason: '' }), one])).values(),
];

/** The first identity of the chain, as IAM policies of Google name it. */
function memberOf(name: string, identity: GcpIdentity, identities: Identities): string {
  const provider = identity.audience === undefined ? undefined : providerName(identity.audience);
  if (provider === undefined) return `serviceAccount:${UNKNOWN.attachedAccount}`;
  if (identity.from === 'kubernetes-token') return principal(provider, UNKNOWN.kubernetesSubject);
  const { account, role, arn } = trustedRole(name, identity, identities);
  if (identity.from === 'aws-token') return principal(provider, arn);
  const { roleId } = identities;
  // With the account in it: a pool may hold providers of several, and their roles may share a name.
  return roleId === undefined
    ? principalSet(provider, 'aws_role', roleOfSession(account, role, arn.split(':')[1]))
    : principalSet(provider, 'aws_role_id', roleId);
}

export function impersonationsOf(name: string, identity: GcpIdentity, identities: Identities): Impersonation[] {
  const { serviceAccount, delegates = [] } = identity;
  if (serviceAccount === undefined) return [];
  const chain = [...delegates, serviceAccount];
  return chain.map((account, index) => ({
    serviceAccount: account,
    // The first is borrowed by the federated identity, each further one by the account before it.
    role: index === 0 ? borrowingRole(identity) : 'roles/iam.serviceAccountTokenCreator',
    member: index === 0 ? memberOf(name, identity, identities) : `serviceAccount:${chain[index - 1]}`,
  }));
}

/** What plugins declared, granted to whoever calls the API in the end; and the right to let a project pay. */
export function bindingsOf(identities: Identities): Binding[] {
  const { gcp, grants } = identities;
  const caller = (name: string, identity: GcpIdentity): string =>
    identity.serviceAccount === undefined
      ? memberOf(name, identity, identities)
      : `serviceAccount:${identity.serviceAccount}`;
  const declared = grants.flatMap((grant) => {
    const [name, identity] = gcp.find(([one]) => grant.cloud === 'gcp' && one === grant.identity) ?? [];
    if (grant.cloud !== 'gcp' || name === undefined || identity === undefined) return [];
    return [{ on: grant.on, role: grant.role, member: caller(name, identity), reason: grant.reason }];
  });
  const payers = gcp.flatMap(([name, identity]) =>
    identity.quotaProject === undefined
      ? []
      : [
          {
            on: { project: identity.quotaProject },
            role: 'roles/serviceusage.serviceUsageConsumer',
            member: caller(name, identity),
            reason: `let ${identity.quotaProject} pay for its requests`,
          },
        ],
  );
  return [...declared, ...payers];
}
