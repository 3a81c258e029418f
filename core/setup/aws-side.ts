import { BrokerError } from '../api/errors.ts';
import type { AwsIdentity } from '../auth/aws-identity.ts';
import type { GcpIdentity } from '../auth/federated.ts';
import { type AwsGrant, type AwsRole, distinct, type Identities, type RoleSetup, UNKNOWN } from './model.ts';

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
  const { aws, awsOf } = identities;
  const assumed = aws.flatMap(([, identity]): Assumed[] => {
    const role = roleNamed(identity.roleArn);
    return role === undefined ? [] : [{ ...role, identity }];
  });
  const own = ownRoles(identities, assumed);
  const roles = assumed.map((one): RoleSetup => {
    const { identity, ...role } = one;
    const grants = grantsOf(role.arn, identities, assumed);
    if (identity.google !== undefined && identity.audience !== undefined)
      return { ...role, grants, trust: { by: 'google', audience: identity.audience } };
    const arn = awsOf(identity.aws)?.roleArn ?? own[0]?.arn ?? '';
    const { externalId, sessionTags } = identity;
    return { ...role, grants, trust: { by: 'role', arn, externalId, tags: sessionTags !== undefined } };
  });
  const grants = grantsOf(undefined, identities, assumed);
  return [...own.map((role): RoleSetup => ({ ...role, grants, trust: { by: 'place' } })), ...roles];
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
  // The pipeline says of it neither account nor name.
  const role = `isthmus-${pipeline}`.slice(0, 64);
  const account = UNKNOWN.awsAccount;
  return needed ? [{ account, role, arn: `arn:aws:iam::${account}:role/${role}` }] : [];
}

/** One role for each ARN, with all that it is granted. */
export function mergedRoles(all: readonly RoleSetup[]): RoleSetup[] {
  return Object.values(Object.groupBy(all, ({ arn }) => arn)).flatMap((same = []) => {
    const [first] = same;
    if (first === undefined) return [];
    if (new Set(same.map(({ trust }) => JSON.stringify(trust))).size > 1) {
      throw new BrokerError('invalid_config', `${first.arn} is assumed in two different ways`, {
        hint: 'Use the same aws, google, externalId and sessionTags wherever the role is named, or two roles.',
      });
    }
    return [{ ...first, grants: distinct(same.flatMap(({ grants }) => grants)) }];
  });
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
  const assumes = next.map(({ arn: target, identity: { sessionTags } }) => ({
    actions: ['sts:AssumeRole', ...(sessionTags === undefined ? [] : ['sts:TagSession'])],
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
