import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import { awsPolicySchema, lintMember, lintStatement, policySchema } from './lint-policies.ts';
import { type LintFinding, lintProvider, providerSchema } from './lint-provider.ts';
import { lintTerraform } from './lint-terraform.ts';

/**
 * Reads settings of either cloud and names what is lax or will not work.
 *
 * @param text JSON of `gcloud … describe`, `list` or `get-iam-policy`, of `aws iam get-role` or a policy, or Terraform.
 * @throws BrokerError `invalid_config` when it is none of them.
 */
export function lintSettings(text: string, file: string): readonly LintFinding[] {
  const json = parsed(text);
  if (json === undefined && /\.tf$/.test(file)) return lintTerraform(text);
  const many = Array.isArray(json) ? json : [json];
  const findings = many.map((value) => lintValue(value));
  if (json !== undefined && many.length > 0 && findings.every((found) => found !== undefined)) return findings.flat();
  throw new BrokerError('invalid_config', `${visible(file)}: this is no provider, policy, role or Terraform`, {
    hint: 'Make it with: gcloud iam workload-identity-pools providers describe … --format=json, gcloud … get-iam-policy --format=json, or aws iam get-role --role-name ROLE',
  });
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
  // `aws iam get-role` and `get-role-policy` wrap what they print.
  const wrapped = value as {
    readonly Role?: { readonly AssumeRolePolicyDocument?: unknown };
    readonly PolicyDocument?: unknown;
  };
  const document = wrapped?.Role?.AssumeRolePolicyDocument ?? wrapped?.PolicyDocument ?? value;
  const aws = awsPolicySchema.safeParse(document);
  const statements = aws.success ? aws.data.Statement.map(lintStatement) : [undefined];
  return statements.every((one) => one !== undefined) ? statements.flat() : undefined;
}
