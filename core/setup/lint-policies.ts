import { z } from 'zod';
import { findingAt, type LintFinding } from './lint-provider.ts';

/** An IAM policy as `gcloud … get-iam-policy --format=json` prints it. */
export const policySchema = z.object({
  bindings: z.array(z.object({ role: z.string(), members: z.array(z.string()).default([]) })),
});

const oneOrMany = z.union([z.string().transform((text) => [text]), z.array(z.string())]);
const scalar = z.union([z.string(), z.number(), z.boolean()]).transform(String);
const values = z.union([scalar.transform((one) => [one]), z.array(scalar)]);
const conditionSchema = z.record(z.string(), z.record(z.string(), values)).default({});

/** A policy of AWS: of trust, where it names principals, or of permissions. */
export const awsPolicySchema = z.object({
  Statement: z.union([z.array(z.unknown()), z.unknown().transform((one) => [one])]),
});

const statementSchema = z.object({
  Effect: z.string(),
  Principal: z
    .union([
      z.literal('*').transform(() => ({ AWS: ['*'], Federated: undefined })),
      z.object({ AWS: oneOrMany.optional(), Federated: oneOrMany.optional() }),
    ])
    .optional(),
  NotPrincipal: z.unknown().optional(),
  NotAction: z.unknown().optional(),
  NotResource: z.unknown().optional(),
  Action: oneOrMany.optional(),
  Resource: oneOrMany.optional(),
  Condition: conditionSchema,
});
type Statement = z.output<typeof statementSchema>;

/** Whom a binding of Google lets in. */
export function lintMember(role: string, member: string): readonly LintFinding[] {
  const found = findingAt(`${role} to ${member}`);
  if (member === 'allUsers' || member === 'allAuthenticatedUsers') {
    const message = 'everybody in the world is granted this';
    return [found('everybody', 'error', message, 'Grant it to the principal of the workload instead.')];
  }
  if (/\/workloadIdentityPools\/[^/]+\/\*$/.test(member)) {
    const message = 'everybody whom any provider of the pool lets in is granted this';
    return [found('pool-wide', 'error', message, `Grant it to ${member.replace(/\*$/, ONE_ROLE)} instead.`)];
  }
  if (/\/attribute\.aws_account\/\d+$/.test(member)) {
    const message = 'every role of the AWS account that the provider lets in is granted this';
    const narrow = member.replace(/attribute\.aws_account\/\d+$/, ONE_ROLE);
    return [found('pool-wide', 'error', message, `Grant it to ${narrow} instead.`)];
  }
  if (member.startsWith('domain:')) {
    const message = 'everybody of a domain is granted this';
    return [found('everybody', 'error', message, 'Grant it to the principal of the workload instead.')];
  }
  if (/\/workloadIdentityPools\//.test(member) && /^roles\/(?:owner|editor|(?:.*\.)?\w*admin)$/i.test(role)) {
    const message = 'more than any pipeline needs';
    return [
      found('whole-service', 'error', message, 'Grant the roles that `isthmus auth setup` prints for the pipeline.'),
    ];
  }
  return [];
}

/** Both mappings, of `auth setup` and of Google, give the session of a role without the session's name. */
const ONE_ROLE = 'attribute.aws_role/arn:aws:sts::ACCOUNT:assumed-role/ROLE';

/** A statement of a policy of AWS; `undefined` when it has not the form of one. */
export function lintStatement(value: unknown, index: number): readonly LintFinding[] | undefined {
  const parsed = statementSchema.safeParse(value);
  if (!parsed.success) return undefined;
  if (parsed.data.Effect !== 'Allow') return [];
  const { Principal, NotPrincipal, NotAction, NotResource } = parsed.data;
  const found = findingAt(`statement ${index + 1}`);
  if (NotPrincipal !== undefined)
    return [found('everybody', 'error', 'everybody but those who are named is let in', 'Name in Principal who may.')];
  if (NotAction !== undefined)
    return [
      found('whole-service', 'error', 'everything but what is named is allowed', 'Name in Action what is needed.'),
    ];
  if (NotResource !== undefined)
    return [
      found('every-resource', 'error', 'everything but what is named may be used', 'Name in Resource what is needed.'),
    ];
  return Principal === undefined ? lintPermissions(parsed.data, index) : lintTrust(parsed.data, index);
}

function lintPermissions({ Action = [], Resource = [] }: Statement, index: number): readonly LintFinding[] {
  const found = findingAt(`statement ${index + 1}`);
  const fix = 'Allow what `isthmus auth setup` prints for the pipeline.';
  const wide = Action.filter((action) => action === '*' || /^[a-z0-9*-]+:\*$/i.test(action));
  if (wide.length > 0)
    return [found('whole-service', 'error', `${wide.join(', ')}: more than any pipeline needs`, fix)];
  // Other actions, such as asking for a token, have no resource that could be named.
  const everywhere = Resource.some((one) =>
    /^(?:\*|arn:aws[a-z-]*:s3:::\*.*|arn:aws[a-z-]*:iam::[^:]*:(?:role\/)?\*)$/.test(one),
  )
    ? Action.filter((action) => /^(?:s3:(?!ListAllMyBuckets$)|iam:|sts:(?:AssumeRole|\*))/i.test(action))
    : [];
  const message = `${everywhere.join(', ')} on every resource: more than any pipeline needs`;
  return everywhere.length === 0 ? [] : [found('every-resource', 'error', message, fix)];
}

function lintTrust({ Principal, Condition }: Statement, index: number): readonly LintFinding[] {
  const found = findingAt(`statement ${index + 1}`);
  const findings: LintFinding[] = [];
  const named = Principal?.AWS ?? [];
  if (named.some((one) => one === '*' || one === 'arn:aws:iam::*:root')) {
    const narrowed = Object.keys(Condition).length > 0;
    const message = narrowed
      ? 'any AWS account may assume the role, as far as the condition allows'
      : 'any AWS account in the world may assume the role';
    findings.push(found('everybody', narrowed ? 'warning' : 'error', message, 'Name the role that may assume it.'));
  }
  for (const one of named.filter((arn) => /^(?:\d{12}|arn:aws[a-z-]*:iam::\d{12}:root)$/.test(arn))) {
    const message = `whoever an administrator of account ${/\d{12}/.exec(one)?.[0]} lets may assume the role`;
    findings.push(found('whole-account', 'warning', message, 'Name the role that may assume it.'));
  }
  for (const one of Principal?.Federated ?? []) findings.push(...lintFederated(one, Condition, found));
  return findings;
}

function lintFederated(
  federated: string,
  condition: Statement['Condition'],
  found: ReturnType<typeof findingAt>,
): readonly LintFinding[] {
  const issuer = /^(?:.*:oidc-provider\/(.+)|(accounts\.google\.com))$/.exec(federated)?.slice(1).find(Boolean);
  if (issuer === undefined) {
    const fix = 'See whom it lets in; Isthmus uses OIDC only.';
    return [found('not-judged', 'warning', `${federated} is no OIDC provider and was not judged`, fix)];
  }
  const google = issuer === 'accounts.google.com';
  const findings: LintFinding[] = [];
  if (!pinsSubject(condition, `${issuer}:sub`, google)) {
    const message = google
      ? 'any Google account in the world can assume the role, or more than one'
      : `more than one identity of ${issuer} can assume the role`;
    const fix = google
      ? 'Compare accounts.google.com:sub by StringEquals with the numeric id of the service account.'
      : `Compare ${issuer}:sub by StringEquals with the one subject, such as system:serviceaccount:NAMESPACE:NAME.`;
    findings.push(found('web-identity-sub', 'error', message, fix));
  }
  if (google && Object.values(condition).some((variables) => 'accounts.google.com:aud' in variables)) {
    const message = '`aud` is the azp of the token, which differs from place to place';
    const fix = 'Compare accounts.google.com:oaud, the audience that was asked for.';
    findings.push(found('web-identity-aud', 'warning', message, fix));
  }
  return findings;
}

/** Equal to subjects without wildcards (or to any run of one repository), and not only "if it exists". */
function pinsSubject(condition: Statement['Condition'], key: string, google: boolean): boolean {
  return Object.entries(condition).some(([operator, variables]) => {
    // AWS compares keys whatever their case.
    const subjects = Object.entries(variables).find(([name]) => name.toLowerCase() === key.toLowerCase())?.[1] ?? [];
    const like = /^(?:ForAnyValue:)?StringLike$/.test(operator);
    const plain = /^(?:ForAnyValue:)?StringEquals(?:IgnoreCase)?$/.test(operator);
    if (subjects.length === 0 || !(like || plain)) return false;
    if (google) return subjects.every((subject) => /^\d+$/.test(subject));
    return plain || subjects.every((subject) => !/[*?]/.test(subject) || /^repo:[^*?/]+\/[^*?/:]+:/.test(subject));
  });
}
