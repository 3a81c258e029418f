import { lintMember } from './lint-policies.ts';
import { type LintFinding, lintProvider } from './lint-provider.ts';

/** Terraform as text: the blocks of providers and the members of bindings. What is a reference is not looked into. */
export function lintTerraform(source: string): readonly LintFinding[] {
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
