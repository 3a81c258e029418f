import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import { lintMember, lintStatement, policySchema, trustSchema } from './lint-policies.ts';
import { type LintFinding, lintProvider, providerSchema } from './lint-provider.ts';
import { lintTerraform } from './lint-terraform.ts';

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
