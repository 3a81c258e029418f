import { lintMember } from './lint-policies.ts';
import { findingAt, type LintFinding, lintProvider } from './lint-provider.ts';

/**
 * Terraform as text: the blocks of providers, and the members of bindings. What is not written out there (a variable, a
 * local, a document of AWS) cannot be judged, and that is said.
 */
export function lintTerraform(written: string): readonly LintFinding[] {
  const source = withoutComments(written);
  const findings: LintFinding[] = [];
  for (const { name, body } of blocks(source, 'google_iam_workload_identity_pool_provider')) {
    const { text: condition, reference } = attribute(body, 'attribute_condition');
    const found = findingAt(`terraform/providers/${name}`);
    const fix = 'Check what it is made of: gcloud … providers describe --format=json, then --check that.';
    if (reference)
      findings.push(found('not-judged', 'warning', 'the condition is a reference and was not judged', fix));
    const accountId = /aws\s*\{\s*account_id\s*=\s*"?([^"\s}]+)/.exec(body)?.[1];
    const settings = {
      name: `workloadIdentityPools/terraform/providers/${name}`,
      attributeCondition: condition,
      attributeMapping: mapping(body),
      ...(accountId === undefined ? {} : { aws: { accountId } }),
    };
    const judged = lintProvider(settings);
    findings.push(...(reference ? judged.filter(({ rule }) => rule !== 'no-condition') : judged));
  }
  findings.push(...lintMembers(source));
  if (/resource\s+"aws_iam_role"|data\s+"aws_iam_policy_document"/.test(source)) {
    const fix =
      'Check the policies themselves: aws iam get-role --role-name ROLE, and get-role-policy, then --check what they print.';
    findings.push(
      findingAt('terraform/aws')('not-judged', 'warning', 'policies of AWS in Terraform were not judged', fix),
    );
  }
  return findings;
}

const TEXT = /"((?:[^"\\]|\\.)*)"/g;
const MEMBERS = /\bmembers?\s*=\s*(\[(?:"(?:[^"\\]|\\.)*"|[^\]"])*\]|[^\n]*)/g;

/** The members of bindings, and whatever else looks like one: an argument of a module, a list in a local. */
function lintMembers(source: string): readonly LintFinding[] {
  const findings: LintFinding[] = [];
  const judged = new Set<number>();
  for (const { 0: all, 1: value = '', index } of source.matchAll(MEMBERS)) {
    const start = index + all.length - value.length;
    const role = attribute(around(source, index), 'role').text || 'a role';
    const texts = [...value.matchAll(TEXT)];
    for (const { 1: member = '', index: at } of texts) {
      judged.add(start + at);
      findings.push(...lintMember(role, member.replace(/\$\{[^}]*\}/g, POOL)));
    }
    const unknown = texts.some(([, member = '']) => /^\$\{[^}]*\}$/.test(member));
    if (!unknown && /^[\s,[\]]*$/.test(value.replace(TEXT, ''))) continue;
    const fix = 'Check what is granted: gcloud … get-iam-policy --format=json, then --check that.';
    findings.push(findingAt(role)('not-judged', 'warning', 'a member is a reference and was not judged', fix));
  }
  for (const { 1: member = '', index } of source.matchAll(TEXT))
    if (!judged.has(index)) findings.push(...lintMember('a role', member.replace(/\$\{[^}]*\}/g, POOL)));
  return findings;
}

/** The innermost block around a place. */
function around(source: string, place: number): string {
  const open: number[] = [];
  for (const { 0: found, index } of source.matchAll(/"(?:[^"\\]|\\.)*"|[{}]/g)) {
    if (found === '{') open.push(index);
    if (found !== '}') continue;
    const start = open.pop() ?? 0;
    if (start < place && place < index) return source.slice(start, index);
  }
  return source;
}

/** What a reference inside of a member most likely is: the name of a pool. */
const POOL = 'projects/PROJECT/locations/global/workloadIdentityPools/POOL';

/** Comments are no settings; quoted text is none of them. */
const withoutComments = (source: string): string =>
  source.replace(/"(?:[^"\\\n]|\\.)*"|\/\*[\s\S]*?\*\/|(?:#|\/\/)[^\n]*/g, (found) =>
    found.startsWith('"') ? found : '',
  );

/** The text of an attribute, of one line or a here-document; `reference` when it is something else. */
function attribute(body: string, name: string): { readonly text: string; readonly reference: boolean } {
  const value = new RegExp(`\\b${name}\\s*=\\s*([^\\n]*)`).exec(body);
  const rest = value?.[1]?.trim() ?? 'null';
  if (rest === 'null') return { text: '', reference: false };
  const quoted = /^"((?:[^"\\]|\\.)*)"$/.exec(rest)?.[1];
  if (quoted !== undefined) {
    const text = quoted.replace(/\\(.)/g, '$1');
    // `${var.account}` inside of an otherwise written condition stands for a value; an account has twelve digits.
    const filled = text.replace(/\$\{[^}]*account[^}]*\}/gi, '000000000000').replace(/\$\{[^}]*\}/g, 'reference');
    return { text: filled, reference: false };
  }
  const marker = /^<<-?(\w+)$/.exec(rest)?.[1];
  const after = body.slice((value?.index ?? 0) + (value?.[0].length ?? 0));
  const heredoc = marker === undefined ? undefined : new RegExp(`^([\\s\\S]*?)\\n\\s*${marker}\\b`).exec(after)?.[1];
  return heredoc === undefined ? { text: '', reference: true } : { text: heredoc, reference: false };
}

function mapping(body: string): Record<string, string> {
  const text = /attribute_mapping\s*=\s*\{([^}]*(?:\{[^}]*\}[^}]*)*)\}/.exec(body)?.[1] ?? '';
  const pairs = text.matchAll(/"([a-z._0-9]+)"\s*=\s*"((?:[^"\\]|\\.)*)"/g);
  return Object.fromEntries([...pairs].map((match) => [match[1] ?? '', match[2] ?? '']));
}

function blocks(source: string, type: string): { name: string; body: string }[] {
  return [...source.matchAll(new RegExp(`resource\\s+"${type}"\\s+"([^"]+)"\\s*\\{`, 'g'))].map((match) => {
    const start = match.index + match[0].length;
    let depth = 1;
    let at = start;
    for (; at < source.length && depth > 0; at++) {
      if (source[at] === '"') {
        for (at++; at < source.length && source[at] !== '"'; at++) if (source[at] === '\\') at++;
      } else if (source[at] === '{') depth++;
      else if (source[at] === '}') depth--;
    }
    return { name: match[1] ?? '', body: source.slice(start, at - 1) };
  });
}
