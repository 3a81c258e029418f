import { z } from 'zod';
import { findingAt, type LintFinding } from './lint-provider.ts';

/** An IAM policy as `gcloud … get-iam-policy --format=json` prints it. */
export const policySchema = z.object({
  bindings: z.array(z.object({ role: z.string(), members: z.array(z.string()).default([]) })),
});

const oneOrMany = z.union([z.string().transform((text) => [text]), z.array(z.string())]);
const conditionSchema = z.record(z.string(), z.record(z.string(), oneOrMany)).default({});

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
    return [
      found('pool-wide', 'error', message, `Grant it to ${member.replace(/\*$/, 'attribute.aws_role/ROLE')} instead.`),
    ];
  }
  if (/\/attribute\.aws_account\/\d+$/.test(member)) {
    const message = 'every role of the AWS account that the provider lets in is granted this';
    const narrow = member.replace(/aws_account\/\d+$/, 'aws_role/ROLE');
    return [found('pool-wide', 'error', message, `Grant it to ${narrow} instead.`)];
  }
  return [];
}

/** A statement of a policy of AWS; `undefined` when it has not the form of one. */
export function lintStatement(value: unknown, index: number): readonly LintFinding[] | undefined {
  const parsed = statementSchema.safeParse(value);
  if (!parsed.success) return undefined;
  if (parsed.data.Effect !== 'Allow') return [];
  return parsed.data.Principal === undefined ? lintPermissions(parsed.data, index) : lintTrust(parsed.data, index);
}

function lintPermissions({ Action = [] }: Statement, index: number): readonly LintFinding[] {
  const wide = Action.filter((action) => action === '*' || /^[a-z0-9-]+:\*$/i.test(action));
  const message = `${wide.join(', ')}: more than any pipeline needs`;
  const fix = 'Allow the actions that `isthmus auth setup` prints for the pipeline.';
  return wide.length === 0 ? [] : [findingAt(`statement ${index + 1}`)('whole-service', 'error', message, fix)];
}

function lintTrust({ Principal, Condition }: Statement, index: number): readonly LintFinding[] {
  const found = findingAt(`statement ${index + 1}`);
  const findings: LintFinding[] = [];
  if (Principal?.AWS?.some((one) => one === '*' || one === 'arn:aws:iam::*:root') === true) {
    const narrowed = Object.keys(Condition).length > 0;
    const message = narrowed
      ? 'any AWS account may assume the role, as far as the condition allows'
      : 'any AWS account in the world may assume the role';
    findings.push(found('everybody', narrowed ? 'warning' : 'error', message, 'Name the role that may assume it.'));
  }
  if (Principal?.Federated?.some((one) => /(^|\/)accounts\.google\.com$/.test(one)) !== true) return findings;
  if (!pinsSubject(Condition)) {
    const message = 'any Google account in the world can assume the role, or more than one';
    const fix = 'Compare accounts.google.com:sub by StringEquals with the numeric id of the service account.';
    findings.push(found('web-identity-sub', 'error', message, fix));
  }
  if (Object.values(Condition).some((variables) => 'accounts.google.com:aud' in variables)) {
    const message = '`aud` is the azp of the token, which differs from place to place';
    const fix = 'Compare accounts.google.com:oaud, the audience that was asked for.';
    findings.push(found('web-identity-aud', 'warning', message, fix));
  }
  return findings;
}

/** Equal to ids without wildcards, and not only "if it exists". */
function pinsSubject(condition: Statement['Condition']): boolean {
  const plain = /^(?:ForAnyValue:)?StringEquals(?:IgnoreCase)?$/;
  return Object.entries(condition).some(([operator, variables]) => {
    const values = variables['accounts.google.com:sub'];
    if (values === undefined || values.length === 0) return false;
    const exact = values.every((value) => /^\d+$/.test(value));
    return exact && (plain.test(operator) || /^(?:ForAnyValue:)?StringLike$/.test(operator));
  });
}
