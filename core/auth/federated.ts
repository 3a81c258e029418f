import type { IdentitySpec } from '../pipeline/spec.ts';
import type { CallerIdentity } from './aws-sts.ts';
import type { Facts } from './failures/failure.ts';
import {
  AWS_MAPPING,
  accountProject,
  mappingFlag,
  OIDC_MAPPING,
  principal,
  principalSet,
  providerName,
  roleOfSession,
  roleSession,
} from './principal.ts';

export type GcpIdentity = Extract<IdentitySpec, { kind: 'gcp' }>;

/** What is known of whoever stands behind a federated identity. */
export interface Known {
  /** As AWS knows us. */
  readonly caller?: CallerIdentity | undefined;
  /** The claim `sub` of a token that is shown to Google. */
  readonly sub?: string | undefined;
  /** The role that was assumed on the way, with its path: a session's ARN has none. */
  readonly roleArn?: string | undefined;
}

/** As whom Google knows a federated identity, by the mapping that `auth setup` makes. */
export interface FederatedName {
  /** `google.subject` */
  readonly subject: string | undefined;
  /** As IAM policies name it. */
  readonly member: string | undefined;
  readonly role: string | undefined;
  readonly account: string | undefined;
}

export function federatedName(
  { audience, from, expect }: GcpIdentity,
  { caller, sub, roleArn: assumed }: Known,
): FederatedName {
  const provider = audience === undefined ? undefined : providerName(audience);
  const session = caller === undefined ? undefined : roleSession(caller.arn);
  const role = session?.role ?? expect?.roleName;
  const account = session?.account ?? caller?.account ?? expect?.awsAccountId;
  const subject =
    from === 'aws-signature'
      ? caller?.userId
      : (sub ?? (from === 'aws-token' ? (assumed ?? roleArn(caller, account, role)) : undefined));
  const one = provider === undefined || subject === undefined ? undefined : principal(provider, subject);
  const session_ =
    account === undefined || role === undefined ? undefined : roleOfSession(account, role, partitionOf(caller));
  const ofRole =
    provider === undefined || session_ === undefined ? undefined : principalSet(provider, 'aws_role', session_);
  return { subject, role, account, member: from === 'aws-signature' ? ofRole : one };
}

/** What AWS puts into `sub` of its tokens: the role, not the session. A path of the role cannot be told from here. */
function roleArn(caller: CallerIdentity | undefined, account: string | undefined, role: string | undefined) {
  if (caller !== undefined && roleSession(caller.arn) === undefined) return caller.arn;
  return account === undefined || role === undefined
    ? undefined
    : `arn:${partitionOf(caller)}:iam::${account}:role/${role}`;
}

const partitionOf = (caller: CallerIdentity | undefined): string => caller?.arn.split(':')[1] ?? 'aws';

/** The role by which the first service account is borrowed. With delegates it has to pass the request on too. */
export const borrowingRole = ({ from, delegates = [] }: GcpIdentity) =>
  from === 'metadata' || delegates.length > 0
    ? ('roles/iam.serviceAccountTokenCreator' as const)
    : ('roles/iam.workloadIdentityUser' as const);

/** The user's own names, for the instructions of a refusal. */
export function factsOf(identity: GcpIdentity, known: Known = {}): Facts {
  const { audience, serviceAccount, delegates, quotaProject, from } = identity;
  const { subject, member, role, account } = federatedName(identity, known);
  const name = audience === undefined ? undefined : providerName(audience);
  const signed = from === 'aws-signature';
  // The federated identity borrows the first account of the chain; that one borrows the next.
  const borrowed = delegates?.[0] ?? serviceAccount;
  const session = `arn:${partitionOf(known.caller)}:sts::${account ?? 'AWS_ACCOUNT'}:assumed-role/${role ?? 'ROLE'}/`;
  return {
    audience,
    pool: name?.pool,
    provider: name?.provider,
    poolNumber: name?.projectNumber,
    serviceAccount,
    role,
    awsAccount: account,
    arn: known.caller?.arn ?? known.sub,
    subject,
    member,
    project: quotaProject,
    bindAccount: borrowed,
    bindProject: borrowed === undefined ? undefined : accountProject(borrowed),
    bindRole: borrowingRole(identity),
    updateProvider: signed ? 'update-aws' : 'update-oidc',
    mapping: mappingFlag(signed ? AWS_MAPPING : OIDC_MAPPING),
    condition: signed ? `assertion.arn.startsWith('${session}')` : `assertion.sub == '${subject ?? 'SUBJECT'}'`,
  };
}
