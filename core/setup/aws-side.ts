import { BrokerError } from '../api/errors.ts';
import type { AwsIdentity } from '../auth/aws-identity.ts';
import type { AwsOrigin } from '../auth/aws-origin.ts';
import type { GcpIdentity } from '../auth/federated.ts';
import {
  type AwsGrant,
  type AwsPlace,
  type AwsRole,
  distinct,
  type Identities,
  ownRoleName,
  type RolePolicy,
  type RoleSetup,
  UNKNOWN,
} from './model.ts';

/** The role of AWS that an identity of kind gcp starts from. */
export function trustedRole(name: string, { expect, aws }: GcpIdentity, { awsOf }: Identities): AwsRole {
  const assumed = roleNamed(awsOf(aws)?.roleArn);
  if (assumed !== undefined) return assumed;
  const { awsAccountId: account, roleName: role } = expect ?? {};
  if (account !== undefined && role !== undefined)
    return { account, role, arn: `arn:aws:iam::${account}:role/${role}` };
  throw new BrokerError('invalid_config', `identity "${name}" does not say which AWS role Google is to trust`, {
    hint: `Add to identity ${name}: expect: { awsAccountId: "111122223333", roleName: my-role }. \`isthmus doctor\` shows both where the pipeline runs.`,
  });
}

function roleNamed(arn: string | undefined): AwsRole | undefined {
  const [, account, role] = /^arn:aws[a-z-]*:iam::(\d{12}):role\/(?:.*\/)?([^/]+)$/.exec(arn ?? '') ?? [];
  return arn === undefined || account === undefined || role === undefined ? undefined : { account, role, arn };
}

/** An identity that assumes a role, with the role taken apart. */
interface Assumed extends AwsRole {
  readonly identity: AwsIdentity;
}

/** Every role that the pipeline runs as or assumes: what it may do, and who may become it. */
export function roleSetups(identities: Identities): RoleSetup[] {
  const { aws } = identities;
  const assumed = aws.flatMap(([, identity]): Assumed[] => {
    const role = roleNamed(identity.roleArn);
    return role === undefined ? [] : [{ ...role, identity }];
  });
  const own = ownRoles(identities, assumed);
  const roles = assumed.map((one): RoleSetup => {
    const { identity, ...role } = one;
    return { ...role, policies: policiesOf(role.arn, identities, assumed), trust: trustFor(identity, own, identities) };
  });
  const policies = policiesOf(undefined, identities, assumed);
  if (own.length > 1 && policies.length > 0) {
    const names = own.map(({ role }) => role).join(', ');
    throw new BrokerError('invalid_config', `one pipeline runs with several roles: ${names}`, {
      hint: 'Name the role that writes by roleArn on an identity of kind aws: else each of them would get its rights.',
    });
  }
  const place = placeOf(identities);
  return [...own.map((role): RoleSetup => ({ ...role, policies, trust: { by: 'place', place } })), ...roles];
}

function trustFor(identity: AwsIdentity, own: readonly AwsRole[], identities: Identities): RoleSetup['trust'] {
  const { gcp, awsOf } = identities;
  const { google, audience, aws, externalId } = identity;
  if (google !== undefined && audience !== undefined) {
    const account = gcp.find(([name]) => name === google)?.[1].serviceAccount ?? 'the attached service account';
    return { by: 'google', audience, account };
  }
  const before = awsOf(aws)?.roleArn;
  const arns = before === undefined ? own.map(({ arn }) => arn) : [before];
  return { by: 'role', arns, externalId, tags: hasTags(identity, identities) };
}

/** The tags that EKS Pod Identity gives a session go on to each role that it becomes. */
const hasTags = ({ sessionTags }: AwsIdentity, identities: Identities): boolean =>
  sessionTags !== undefined || placeOf(identities) === 'eks';

const PLACES: Readonly<Partial<Record<AwsOrigin, AwsPlace>>> = {
  'lambda-role': 'lambda',
  'task-role': 'ecs',
  // Or IRSA, which nobody can tell from here.
  'pod-role': 'eks',
  'instance-role': 'ec2',
};

/** Where the pipeline runs: as was said, or as it says itself. */
function placeOf({ aws, place }: Identities): AwsPlace {
  const required = aws.flatMap(([, { require: origins = [] }]) => origins.map((origin) => PLACES[origin]));
  return place ?? required.find((one) => one !== undefined) ?? 'lambda';
}

/** The roles that the workload itself may run with; none when nothing is done as one. */
function ownRoles(identities: Identities, assumed: readonly Assumed[]): AwsRole[] {
  const { gcp, awsOf, grants, pipeline } = identities;
  const expected = gcp
    .filter(([, { from, aws }]) => from.startsWith('aws-') && awsOf(aws)?.roleArn === undefined)
    .map(([name, identity]) => trustedRole(name, identity, identities));
  if (expected.length > 0) return distinct(expected);
  const needed =
    assumed.some(({ identity: { google, aws } }) => google === undefined && awsOf(aws)?.roleArn === undefined) ||
    grants.some((grant) => grant.cloud === 'aws' && awsOf(grant.identity)?.roleArn === undefined);
  // The pipeline says of it neither account nor name; the partition is that of the roles it becomes.
  const role = ownRoleName(pipeline);
  const account = UNKNOWN.awsAccount;
  const partition = assumed[0]?.arn.split(':')[1] ?? 'aws';
  return needed ? [{ account, role, arn: `arn:${partition}:iam::${account}:role/${role}` }] : [];
}

/** One role for each ARN, with a policy for each pipeline, and everybody who may become it. */
export function mergedRoles(all: readonly RoleSetup[]): RoleSetup[] {
  const merged = Object.values(Object.groupBy(all, ({ arn }) => arn)).flatMap((same = []) => {
    const [first] = same;
    if (first === undefined) return [];
    const trusts = same.map(({ trust }) => trust);
    const arns = distinct(trusts.flatMap((trust) => (trust.by === 'role' ? trust.arns : [])));
    const alike = new Set(trusts.map((trust) => JSON.stringify({ ...trust, arns: [] })));
    if (alike.size > 1) {
      throw new BrokerError('invalid_config', `${first.arn} is assumed in two different ways`, {
        hint: 'Use the same require, google, externalId and sessionTags wherever the role is named, or two roles.',
      });
    }
    const trust = first.trust.by === 'role' ? { ...first.trust, arns } : first.trust;
    return [{ ...first, trust, policies: distinct(same.flatMap(({ policies }) => policies)) }];
  });
  // AWS knows a service account by a number, which is asked for once in each account of AWS.
  for (const [account, roles = []] of Object.entries(Object.groupBy(merged, ({ account: of }) => of))) {
    const by = new Set(roles.flatMap(({ trust }) => (trust.by === 'google' ? [trust.account] : [])));
    if (by.size < 2) continue;
    throw new BrokerError('invalid_config', `roles of ${account} are assumed by several: ${[...by].join(', ')}`, {
      hint: 'Let one service account assume the roles of one AWS account, or set the pipelines up one by one.',
    });
  }
  return inOrder(merged);
}

/** Those that are trusted first: AWS takes no role into a trust policy that does not exist yet. */
function inOrder(roles: readonly RoleSetup[]): RoleSetup[] {
  const ordered = new Map<string, RoleSetup>();
  const visiting = new Set<string>();
  const visit = (role: RoleSetup): void => {
    if (visiting.has(role.arn)) return;
    visiting.add(role.arn);
    const { trust } = role;
    if (trust.by === 'role') for (const one of roles) if (trust.arns.includes(one.arn)) visit(one);
    ordered.set(role.arn, role);
  };
  roles.forEach(visit);
  return [...ordered.values()];
}

function policiesOf(arn: string | undefined, identities: Identities, assumed: readonly Assumed[]): RolePolicy[] {
  const grants = grantsOf(arn, identities, assumed);
  return grants.length === 0 ? [] : [{ pipeline: identities.pipeline, grants }];
}

/** What plugins declared for a role (`undefined`: that of the workload), the roles it assumes, the tokens it asks for. */
function grantsOf(arn: string | undefined, identities: Identities, assumed: readonly Assumed[]): AwsGrant[] {
  const { grants, gcp, awsOf } = identities;
  const declared = grants.flatMap((grant) => {
    if (grant.cloud !== 'aws' || awsOf(grant.identity)?.roleArn !== arn) return [];
    const { cloud: _, identity: __, ...rest } = grant;
    return [rest];
  });
  const next = assumed.filter(({ identity: { google, aws } }) => google === undefined && awsOf(aws)?.roleArn === arn);
  const assumes = next.map(({ arn: target, identity }) => ({
    actions: ['sts:AssumeRole', ...(hasTags(identity, identities) ? ['sts:TagSession'] : [])],
    resources: [target],
    reason: `become ${target}`,
  }));
  const tokens = gcp
    .filter(([, { from, aws }]) => from === 'aws-token' && awsOf(aws)?.roleArn === arn)
    .map(([, { audience }]) => ({
      actions: ['sts:GetWebIdentityToken'],
      resources: ['*'],
      condition: {
        // The key holds many values: a plain StringEquals would deny.
        'ForAllValues:StringEquals': { 'sts:IdentityTokenAudience': `https:${audience}` },
        NumericLessThanEquals: { 'sts:DurationSeconds': '300' },
        StringEquals: { 'sts:SigningAlgorithm': 'RS256' },
      },
      reason: `ask AWS for an identity token for ${audience}`,
    }));
  return [...declared, ...assumes, ...tokens];
}
