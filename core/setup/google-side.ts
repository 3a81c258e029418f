import { BrokerError } from '../api/errors.ts';
import type { GcpIdentity } from '../auth/federated.ts';
import { principal, principalSet, providerName } from '../auth/principal.ts';
import { trustedRole } from './aws-side.ts';
import { type Binding, distinct, type Identities, type Impersonation, type ProviderSetup, UNKNOWN } from './model.ts';

/** The providers that the identities name, each with all that it has to trust. */
export function providersOf(identities: Identities): ProviderSetup[] {
  const found = new Map<string, ProviderSetup>();
  for (const [name, identity] of identities.gcp) {
    const { audience, from } = identity;
    const parts = audience === undefined ? undefined : providerName(audience);
    if (audience === undefined || parts === undefined || from === 'metadata') continue;
    const kind = from === 'aws-signature' ? 'aws' : from === 'aws-token' ? 'aws-token' : 'kubernetes';
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
    const own = kind === 'kubernetes' ? [] : [trustedRole(name, identity, identities)];
    const roles = distinct([...(known?.roles ?? []), ...own]);
    if (kind === 'aws' && new Set(roles.map(({ account }) => account)).size > 1) {
      throw new BrokerError('invalid_config', `identity "${name}" uses a provider for a second AWS account`, {
        hint: 'A provider trusts one AWS account: make another for this identity and set audience.',
      });
    }
    const roleId = kind === 'aws' ? identities.roleId : undefined;
    if (roleId !== undefined && roles.length > 1) {
      throw new BrokerError('invalid_config', 'a role id pins one role, and this provider trusts several', {
        hint: 'Leave --role-id out, or give each role a provider of its own.',
      });
    }
    found.set(audience, { ...parts, kind, audience, roles, roleId });
  }
  return [...found.values()];
}

/** The first identity of the chain, as IAM policies of Google name it. */
function memberOf(name: string, identity: GcpIdentity, identities: Identities): string {
  const provider = identity.audience === undefined ? undefined : providerName(identity.audience);
  if (provider === undefined) return `serviceAccount:${UNKNOWN.attachedAccount}`;
  if (identity.from === 'kubernetes-token') return principal(provider, UNKNOWN.kubernetesSubject);
  const { role, arn } = trustedRole(name, identity, identities);
  if (identity.from === 'aws-token') return principal(provider, arn);
  const { roleId } = identities;
  return roleId === undefined
    ? principalSet(provider, 'aws_role', role)
    : principalSet(provider, 'aws_role_id', roleId);
}

export function impersonationsOf(name: string, identity: GcpIdentity, identities: Identities): Impersonation[] {
  const { serviceAccount, delegates = [], from } = identity;
  if (serviceAccount === undefined) return [];
  const chain = [...delegates, serviceAccount];
  return chain.map((account, index) => ({
    serviceAccount: account,
    // The first is borrowed by the federated identity, each further one by the account before it.
    role:
      index === 0 && from !== 'metadata' ? 'roles/iam.workloadIdentityUser' : 'roles/iam.serviceAccountTokenCreator',
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
