import { z } from 'zod';
import { findingAt, type LintFinding } from './lint-provider.ts';

/** An IAM policy as `gcloud … get-iam-policy --format=json` prints it. */
export const policySchema = z.object({
  bindings: z.array(z.object({ role: z.string(), members: z.array(z.string()).default([]) })),
});

const oneOrMany = z.union([z.string().transform((text) => [text]), z.array(z.string())]);

/** A trust policy of AWS. */
export const trustSchema = z.object({
  Statement: z.array(
    z.object({
      Effect: z.string(),
      Principal: z.object({ Federated: oneOrMany.optional() }).loose().optional(),
      Action: oneOrMany.optional(),
      Condition: z.record(z.string(), z.record(z.string(), z.unknown())).default({}),
    }),
  ),
});

export function lintMember(role: string, member: string): readonly LintFinding[] {
  if (!/^principalSet:\/\/iam\.googleapis\.com\/.*\/workloadIdentityPools\/[^/]+\/\*$/.test(member)) return [];
  return [
    {
      rule: 'pool-wide',
      severity: 'error',
      place: `${role} to ${member}`,
      message: 'everybody whom any provider of the pool lets in is granted this',
      fix: `Grant it to ${member.replace(/\*$/, 'attribute.aws_role/ROLE')} instead.`,
    },
  ];
}

export function lintStatement(
  statement: z.output<typeof trustSchema>['Statement'][number],
  index: number,
): readonly LintFinding[] {
  const google = statement.Principal?.Federated?.some((one) => /(^|\/)accounts\.google\.com$/.test(one)) === true;
  if (!google || statement.Effect !== 'Allow') return [];
  const keys = Object.values(statement.Condition).flatMap((variables) => Object.keys(variables));
  const found = findingAt(`statement ${index + 1}`);
  const findings: LintFinding[] = [];
  if (!keys.includes('accounts.google.com:sub'))
    findings.push(
      found(
        'web-identity-sub',
        'error',
        'any Google account in the world can assume the role',
        'Compare accounts.google.com:sub with the numeric id of the service account.',
      ),
    );
  if (keys.includes('accounts.google.com:aud'))
    findings.push(
      found(
        'web-identity-aud',
        'warning',
        '`aud` is the azp of the token, which differs from place to place',
        'Compare accounts.google.com:oaud, the audience that was asked for.',
      ),
    );
  return findings;
}
