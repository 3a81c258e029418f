import { z } from 'zod';

/** One thing that is too lax, or will not work. */
export interface LintFinding {
  readonly rule:
    | 'no-condition'
    | 'contains'
    | 'no-trailing-slash'
    | 'session-name'
    | 'pool-wide'
    | 'unmapped-attribute'
    | 'subject-too-long'
    | 'web-identity-sub'
    | 'web-identity-aud'
    | 'disabled';
  readonly severity: 'error' | 'warning';
  /** The provider, binding or statement. */
  readonly place: string;
  readonly message: string;
  readonly fix: string;
}

/** A workload identity provider as `gcloud … providers describe --format=json` prints it. */
export const providerSchema = z.object({
  name: z.string().regex(/\/workloadIdentityPools\/[^/]+\/providers\//),
  attributeCondition: z.string().optional(),
  attributeMapping: z.record(z.string(), z.string()).default({}),
  state: z.string().optional(),
  disabled: z.boolean().optional(),
  aws: z.object({ accountId: z.string() }).optional(),
});
export type ProviderSettings = z.output<typeof providerSchema>;

/** Makes findings about one place. */
export const findingAt =
  (place: string) =>
  (rule: LintFinding['rule'], severity: LintFinding['severity'], message: string, fix: string): LintFinding => ({
    rule,
    severity,
    place,
    message,
    fix,
  });

export function lintProvider(provider: ProviderSettings): readonly LintFinding[] {
  const { name, attributeCondition: condition = '', attributeMapping: mapping, aws, state, disabled } = provider;
  const place = name.replace(/^.*workloadIdentityPools\//, '');
  const found = findingAt(place);
  const pin = `--attribute-condition="assertion.arn.startsWith('arn:aws:sts::${aws?.accountId ?? 'ACCOUNT'}:assumed-role/ROLE/')"`;
  const findings: LintFinding[] = [];
  if (state === 'DELETED' || disabled === true)
    findings.push(
      found(
        'disabled',
        'error',
        `the provider is ${state === 'DELETED' ? 'deleted' : 'disabled'}`,
        'Undelete or enable it.',
      ),
    );
  if (condition.trim() === '' || condition.trim() === 'true') {
    const who = aws === undefined ? 'every identity of the issuer' : `every role and user of account ${aws.accountId}`;
    findings.push(found('no-condition', 'error', `no attribute condition: ${who} is trusted`, `Set ${pin}`));
  }
  const pinned = /assertion\.(?:arn|userid|sub)|attribute\.|google\.subject|^reference$/.test(condition);
  if (aws !== undefined && condition.trim() !== '' && condition.trim() !== 'true' && !pinned)
    findings.push(
      found(
        'no-condition',
        'error',
        `the condition pins no role: every role and user of account ${aws.accountId} that fits it is trusted`,
        `Set ${pin}`,
      ),
    );
  if (/\.contains\(|\.matches\(/.test(condition))
    findings.push(
      found(
        'contains',
        'error',
        '`contains` or `matches` also fits other names, and session names, which callers choose',
        `Use startsWith with the whole ARN: ${pin}`,
      ),
    );
  const begins = [...condition.matchAll(/arn\.startsWith\(\s*(['"])(.*?)\1\s*\)/g)].map((match) => match[2] ?? '');
  for (const prefix of begins.filter((prefix) => prefix.includes(':assumed-role/') && !prefix.endsWith('/')))
    findings.push(
      found(
        'no-trailing-slash',
        'error',
        `"${prefix}" also fits roles whose name only begins so`,
        'End the prefix with the role name and a slash.',
      ),
    );
  if (/assertion\.arn\.endsWith\(|assertion\.arn\s*==/.test(condition))
    findings.push(
      found(
        'session-name',
        'warning',
        'the condition looks at the session name, which whoever assumes the role chooses',
        `Pin account and role only: ${pin}`,
      ),
    );
  // With no mapping at all Google's default holds: arn as subject, and aws_role in its full form.
  const mapped =
    Object.keys(mapping).length === 0 && aws !== undefined
      ? ['google.subject', 'attribute.aws_role']
      : Object.keys(mapping);
  const used = new Set([...condition.matchAll(/attribute\.([a-z0-9_]+)/g)].map((match) => `attribute.${match[1]}`));
  for (const attribute of used)
    if (!mapped.includes(attribute))
      findings.push(
        found(
          'unmapped-attribute',
          'error',
          `the condition uses ${attribute}, which is not mapped: it is always false`,
          `Add ${attribute} to --attribute-mapping.`,
        ),
      );
  if (aws !== undefined && /^assertion\.arn\b/.test(mapping['google.subject'] ?? 'assertion.arn'))
    findings.push(
      found(
        'subject-too-long',
        'warning',
        'google.subject is assertion.arn, which exceeds 127 bytes with long role and session names',
        'Map google.subject=assertion.userid.',
      ),
    );
  return findings;
}
