import type { AwsRole, BucketBinding, ProviderSetup } from './model.ts';

/** What identifies a workload, and what may be granted to. Source: https://cloud.google.com/iam/docs/workload-identity-federation#mapping */
export function attributeMapping({ kind }: ProviderSetup): Readonly<Record<string, string>> {
  if (kind !== 'aws') return { 'google.subject': 'assertion.sub' };
  return {
    // Never assertion.arn: role and session names together exceed the 127 bytes of a subject.
    'google.subject': 'assertion.userid',
    'attribute.aws_account': 'assertion.account',
    'attribute.aws_role': "assertion.arn.extract('assumed-role/{role}/')",
    // Survives no deletion: a role that is made anew with the same name has another.
    'attribute.aws_role_id': "assertion.userid.extract('{id}:')",
  };
}

/** Pins the provider to its roles. The slash at the end keeps out a role whose name only begins the same. */
export function attributeCondition({ kind, roles }: ProviderSetup, kubernetesSubject: string): string {
  if (kind === 'kubernetes') return `assertion.sub == '${kubernetesSubject}'`;
  if (kind === 'aws-token')
    return roles.map(({ account, role }) => `assertion.sub == '${roleArn({ account, role })}'`).join(' || ');
  return roles
    .map(({ account, role }) => `assertion.arn.startsWith('arn:aws:sts::${account}:assumed-role/${role}/')`)
    .join(' || ');
}

export const roleArn = ({ account, role }: AwsRole): string => `arn:aws:iam::${account}:role/${role}`;

/**
 * Limits a binding to a prefix; undefined for a whole bucket. Listing is checked against the bucket, so names below
 * other prefixes can be seen, but not read: IAM has no narrower form (`downscope` on the identity has).
 *
 * Source: https://cloud.google.com/iam/docs/conditions-attribute-reference#resource-name
 */
export function prefixCondition({ bucket, prefix }: BucketBinding): { title: string; expression: string } | undefined {
  if (prefix === '') return undefined;
  const name = JSON.stringify(`projects/_/buckets/${bucket}`);
  const objects = JSON.stringify(`projects/_/buckets/${bucket}/objects/${prefix}`);
  return {
    title: 'isthmus-prefix',
    expression: `resource.name == ${name} || resource.name.startsWith(${objects})`,
  };
}

/** Who starts workloads in a place, and becomes their role. */
export const PLACES = {
  lambda: { service: 'lambda.amazonaws.com', actions: ['sts:AssumeRole'] },
  ecs: { service: 'ecs-tasks.amazonaws.com', actions: ['sts:AssumeRole'] },
  eks: { service: 'pods.eks.amazonaws.com', actions: ['sts:AssumeRole', 'sts:TagSession'] },
  ec2: { service: 'ec2.amazonaws.com', actions: ['sts:AssumeRole'] },
} as const;

export type AwsPlace = keyof typeof PLACES;
