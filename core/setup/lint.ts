import { z } from 'zod';
import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';

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
const providerSchema = z.object({
  name: z.string().regex(/\/workloadIdentityPools\/[^/]+\/providers\//),
  attributeCondition: z.string().optional(),
  attributeMapping: z.record(z.string(), z.string()).default({}),
  state: z.string().optional(),
  disabled: z.boolean().optional(),
  aws: z.object({ accountId: z.string() }).optional(),
});
export type ProviderSettings = z.output<typeof providerSchema>;

/** An IAM policy as `gcloud … get-iam-policy --format=json` prints it. */
const policySchema = z.object({
  bindings: z.array(z.object({ role: z.string(), members: z.array(z.string()).default([]) })),
});

const oneOrMany = z.union([z.string().transform((text) => [text]), z.array(z.string())]);

/** A trust policy of AWS. */
const trustSchema = z.object({
  Statement: z.array(
    z.object({
      Effect: z.string(),
      Principal: z.object({ Federated: oneOrMany.optional() }).loose().optional(),
      Action: oneOrMany.optional(),
      Condition: z.record(z.string(), z.record(z.string(), z.unknown())).default({}),
    }),
  ),
});

/**
 * Reads settings of either cloud and names what is lax or will not work.
 *
 * @param text JSON of `gcloud … describe`, `list` or `get-iam-policy`, of a trust policy, or a Terraform file.
 * @throws BrokerError `invalid_config` when it is none of them.
 */
export function lintSettings(text: string, file: string): readonly LintFinding[] {
  const json = parsed(text);
  if (json === undefined && /\.tf$/.test(file)) return lintTerraform(text);
  const many = Array.isArray(json) ? json : [json];
  const findings = many.map((value) => lintValue(value));
  if (json !== undefined && findings.every((found) => found !== undefined)) return findings.flat() as LintFinding[];
  throw new BrokerError(
    'invalid_config',
    `${visible(file)}: this is no provider, IAM policy, trust policy or Terraform`,
    {
      hint: 'Make it with: gcloud iam workload-identity-pools providers describe … --format=json, gcloud … get-iam-policy --format=json, or aws iam get-role --query Role.AssumeRolePolicyDocument',
    },
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function lintValue(value: unknown): readonly LintFinding[] | undefined {
  const provider = providerSchema.safeParse(value);
  if (provider.success) return lintProvider(provider.data);
  const policy = policySchema.safeParse(value);
  if (policy.success)
    return policy.data.bindings.flatMap(({ role, members }) => members.flatMap((one) => lintMember(role, one)));
  const trust = trustSchema.safeParse(value);
  return trust.success ? trust.data.Statement.flatMap(lintStatement) : undefined;
}

export function lintProvider(provider: ProviderSettings): readonly LintFinding[] {
  const { name, attributeCondition: condition = '', attributeMapping: mapping, aws, state, disabled } = provider;
  const place = name.replace(/^.*workloadIdentityPools\//, '');
  const found = (
    rule: LintFinding['rule'],
    severity: LintFinding['severity'],
    message: string,
    fix: string,
  ): LintFinding => ({
    rule,
    severity,
    place,
    message,
    fix,
  });
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

function lintMember(role: string, member: string): readonly LintFinding[] {
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

function lintStatement(
  statement: z.output<typeof trustSchema>['Statement'][number],
  index: number,
): readonly LintFinding[] {
  const google = statement.Principal?.Federated?.some((one) => /(^|\/)accounts\.google\.com$/.test(one)) === true;
  if (!google || statement.Effect !== 'Allow') return [];
  const keys = Object.values(statement.Condition).flatMap((variables) => Object.keys(variables));
  const found = (
    rule: LintFinding['rule'],
    severity: LintFinding['severity'],
    message: string,
    fix: string,
  ): LintFinding => ({
    rule,
    severity,
    place: `statement ${index + 1}`,
    message,
    fix,
  });
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

/** Terraform as text: the blocks of providers and the members of bindings. What is a reference is not looked into. */
function lintTerraform(source: string): readonly LintFinding[] {
  const findings: LintFinding[] = [];
  for (const { name, body } of blocks(source, 'google_iam_workload_identity_pool_provider')) {
    const condition = /attribute_condition\s*=\s*"((?:[^"\\]|\\.)*)"/.exec(body)?.[1];
    const written = /attribute_condition\s*=/.test(body);
    const mapping = /attribute_mapping\s*=\s*\{([^}]*(?:\{[^}]*\}[^}]*)*)\}/.exec(body)?.[1] ?? '';
    const pairs = [...mapping.matchAll(/"([a-z._0-9]+)"\s*=\s*"((?:[^"\\]|\\.)*)"/g)].map((match) => [
      match[1] ?? '',
      match[2] ?? '',
    ]);
    const accountId = /aws\s*\{\s*account_id\s*=\s*"?([^"\s}]+)/.exec(body)?.[1];
    findings.push(
      ...lintProvider({
        name: `workloadIdentityPools/terraform/providers/${name}`,
        // A reference cannot be judged; that there is a condition is all that is known.
        attributeCondition: condition ?? (written ? 'reference' : ''),
        attributeMapping: Object.fromEntries(pairs),
        ...(accountId === undefined ? {} : { aws: { accountId } }),
      }),
    );
  }
  for (const match of source.matchAll(/"(principalSet:\/\/iam\.googleapis\.com\/[^"]*\/\*)"/g))
    findings.push(
      ...lintMember(
        'a role',
        (match[1] ?? '').replace(/\$\{[^}]*\}/g, 'projects/P/locations/global/workloadIdentityPools/POOL'),
      ),
    );
  return findings;
}

function blocks(source: string, type: string): { name: string; body: string }[] {
  return [...source.matchAll(new RegExp(`resource\\s+"${type}"\\s+"([^"]+)"\\s*\\{`, 'g'))].map((match) => {
    const start = match.index + match[0].length;
    let depth = 1;
    let at = start;
    while (at < source.length && depth > 0) {
      if (source[at] === '{') depth++;
      if (source[at] === '}') depth--;
      at++;
    }
    return { name: match[1] ?? '', body: source.slice(start, at - 1) };
  });
}
