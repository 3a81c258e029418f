import { z } from 'zod';
import { judge } from './condition.ts';

/** One thing that is too lax, or will not work. */
export interface LintFinding {
  readonly rule:
    | 'no-condition'
    | 'not-pinned'
    | 'contains'
    | 'session-name'
    | 'pool-wide'
    | 'everybody'
    | 'unmapped-attribute'
    | 'subject-too-long'
    | 'web-identity-sub'
    | 'web-identity-aud'
    | 'whole-service'
    | 'whole-account'
    | 'every-resource'
    | 'disabled'
    | 'not-judged';
  readonly severity: 'error' | 'warning';
  /** The provider, binding or statement. */
  readonly place: string;
  readonly message: string;
  readonly fix: string;
}

/** A workload identity provider as `gcloud … providers describe --format=json` prints it. */
export const providerSchema = z.object({
  name: z.string().regex(/workloadIdentityPools\/[^/]+\/providers\//),
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
  const found = findingAt(name.replace(/^.*workloadIdentityPools\//, ''));
  const findings: LintFinding[] = [];
  if (state === 'DELETED' || disabled === true) {
    const what = state === 'DELETED' ? 'deleted' : 'disabled';
    findings.push(found('disabled', 'error', `the provider is ${what}`, 'Undelete or enable it.'));
  }
  const pin =
    aws === undefined
      ? '--attribute-condition="assertion.sub == \'SUBJECT\'"'
      : `--attribute-condition="assertion.arn.startsWith('arn:aws:sts::${aws.accountId}:assumed-role/ROLE/')"`;
  const who = aws === undefined ? 'every identity of the issuer' : `every role and user of account ${aws.accountId}`;
  const { pinned, why } = judge(condition, aws === undefined ? 'oidc' : 'aws');
  if (/\.contains\(|\.matches\(/.test(condition)) {
    const message = '`contains` and `matches` also fit other names, and session names, which callers choose';
    findings.push(found('contains', 'error', message, `Compare the whole: ${pin}`));
  } else if (condition.trim() === '')
    findings.push(found('no-condition', 'error', `no attribute condition: ${who} is trusted`, `Set ${pin}`));
  else if (!pinned) findings.push(found('not-pinned', 'error', `the condition is too wide: ${why}`, `Set ${pin}`));
  if (/assertion\.arn\.endsWith\(|assertion\.arn\s*==/.test(condition)) {
    const message = 'the condition looks at the session name, which whoever assumes the role chooses';
    findings.push(found('session-name', 'warning', message, `Pin account and role only: ${pin}`));
  }
  // With no mapping at all Google's default holds: arn as subject, and aws_role in its full form.
  const usual = ['google.subject', 'attribute.aws_role'];
  const mapped = Object.keys(mapping).length === 0 && aws !== undefined ? usual : Object.keys(mapping);
  for (const attribute of new Set([...condition.matchAll(/attribute\.[a-z0-9_]+/g)].map(([text]) => text))) {
    if (mapped.includes(attribute)) continue;
    const message = `the condition uses ${attribute}, which is not mapped: it is always false`;
    findings.push(found('unmapped-attribute', 'error', message, `Add ${attribute} to --attribute-mapping.`));
  }
  if (aws !== undefined && /^assertion\.arn\b/.test(mapping['google.subject'] ?? 'assertion.arn')) {
    const message = 'google.subject is assertion.arn, which exceeds 127 bytes with long role and session names';
    findings.push(found('subject-too-long', 'warning', message, 'Map google.subject=assertion.userid.'));
  }
  return findings;
}
