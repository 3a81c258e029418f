import { AWS_MAPPING, OIDC_MAPPING } from '../auth/principal.ts';
import { type Binding, type ProviderSetup, type RoleSetup, UNKNOWN } from './model.ts';

/** What identifies a workload, and what may be granted to. */
export const attributeMapping = ({ kind }: ProviderSetup): Readonly<Record<string, string>> =>
  kind === 'aws' ? AWS_MAPPING : OIDC_MAPPING;

/** Pins the provider to its roles. The slash at the end keeps out a role whose name only begins the same. */
export function attributeCondition({ kind, roles, roleId }: ProviderSetup): string {
  if (kind === 'kubernetes') return `assertion.sub == '${UNKNOWN.kubernetesSubject}'`;
  if (kind === 'aws-token') return roles.map(({ arn }) => `assertion.sub == '${arn}'`).join(' || ');
  const named = roles
    .map(
      ({ account, role, arn }) =>
        `assertion.arn.startsWith('arn:${arn.split(':')[1]}:sts::${account}:assumed-role/${role}/')`,
    )
    .join(' || ');
  return roleId === undefined ? named : `${named} && assertion.userid.startsWith('${roleId}:')`;
}

/**
 * Limits a binding to a prefix; undefined for what has none. Listing is checked against the bucket, so names below
 * other prefixes can be seen, but not read: IAM has no narrower form (`downscope` on the identity has).
 *
 * Source: https://cloud.google.com/iam/docs/conditions-attribute-reference#resource-name
 */
export function prefixCondition({ on }: Binding): { title: string; expression: string } | undefined {
  if (!('bucket' in on) || on.prefix === '') return undefined;
  const name = JSON.stringify(`projects/_/buckets/${on.bucket}`);
  const objects = JSON.stringify(`projects/_/buckets/${on.bucket}/objects/${on.prefix}`);
  const expression = on.exact
    ? `resource.name == ${objects}`
    : `resource.name == ${name} || resource.name.startsWith(${objects})`;
  return { title: 'isthmus-prefix', expression };
}

/** One statement of a trust policy. */
export interface TrustStatement {
  readonly principal: { readonly type: 'Service' | 'AWS' | 'Federated'; readonly ids: readonly string[] };
  readonly actions: readonly string[];
  readonly equals: Readonly<Record<string, string>>;
  readonly comment?: string;
}

const SERVICES = {
  lambda: ['lambda.amazonaws.com', ['sts:AssumeRole']],
  ecs: ['ecs-tasks.amazonaws.com', ['sts:AssumeRole']],
  eks: ['pods.eks.amazonaws.com', ['sts:AssumeRole', 'sts:TagSession']],
  ec2: ['ec2.amazonaws.com', ['sts:AssumeRole']],
} as const;

/** Who may become a role. */
export function trustOf({ trust }: RoleSetup): TrustStatement {
  if (trust.by === 'google') {
    return {
      principal: { type: 'Federated', ids: ['accounts.google.com'] },
      actions: ['sts:AssumeRoleWithWebIdentity'],
      equals: { 'accounts.google.com:sub': UNKNOWN.googleAccountId, 'accounts.google.com:oaud': trust.audience },
      comment:
        'AWS knows Google by itself: no IAM OIDC provider. `oaud` is the audience of the token, `aud` its azp: not compared.',
    };
  }
  if (trust.by === 'role') {
    const actions = ['sts:AssumeRole', ...(trust.tags ? ['sts:TagSession'] : [])];
    const equals: Record<string, string> = trust.externalId === undefined ? {} : { 'sts:ExternalId': trust.externalId };
    return { principal: { type: 'AWS', ids: trust.arns }, actions, equals };
  }
  if (trust.place === 'eks-irsa') {
    return {
      principal: { type: 'Federated', ids: [UNKNOWN.clusterProviderArn] },
      actions: ['sts:AssumeRoleWithWebIdentity'],
      equals: {
        [`${UNKNOWN.clusterIssuer}:sub`]: UNKNOWN.kubernetesSubject,
        [`${UNKNOWN.clusterIssuer}:aud`]: 'sts.amazonaws.com',
      },
    };
  }
  const [id, actions] = SERVICES[trust.place];
  return { principal: { type: 'Service', ids: [id] }, actions, equals: {} };
}
