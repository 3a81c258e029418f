/** What an attribute condition lets in, as far as can be told from its text. */
export interface Judged {
  /** Every alternative pins one role, or one subject of an OIDC issuer. */
  readonly pinned: boolean;
  /** Why it does not, one sentence; absent when nothing stands there at all. */
  readonly why?: string;
}

const ROLE = String.raw`arn:aws[a-z-]*:sts::\d{12}:assumed-role/[\w+=,.@-]+`;
const WORD = `(['"])`;

/** Comparisons of which each pins a role of AWS. */
const PINS_ROLE: readonly RegExp[] = [
  new RegExp(String.raw`^assertion\.arn\.startsWith\(${WORD}${ROLE}/[^'"]*\1\)$`),
  new RegExp(String.raw`^assertion\.arn==${WORD}${ROLE}/[^'"]+\1$`),
  new RegExp(String.raw`^attribute\.aws_role==${WORD}${ROLE}\1$`),
  new RegExp(String.raw`^attribute\.aws_rolein\[(?:${WORD}${ROLE}\1,?)+\]$`),
  new RegExp(String.raw`^(?:attribute\.aws_role_id|assertion\.userid\.extract\(['"]\{id\}:['"]\))==${WORD}AROA\w+\1$`),
  new RegExp(String.raw`^assertion\.userid\.startsWith\(${WORD}AROA\w+:[^'"]*\1\)$`),
];

/** Claims of which one value is one workload; others, such as `aud`, say less than they seem to. */
const CLAIM = String.raw`(?:google\.subject|assertion(?:\.sub|\[['"]sub['"]\])|(?:assertion|attribute)\.(?:subject|email|repository|repository_id|project_path|project_id|job_workflow_ref|terraform_workspace_id))`;

/** For an OIDC issuer: a claim with one value, or with one of some; or any run of one repository. */
const PINS_SUBJECT: readonly RegExp[] = [
  new RegExp(String.raw`^${CLAIM}==${WORD}[^'"]+\1$`),
  new RegExp(String.raw`^${WORD}[^'"]+\1==${CLAIM}$`),
  new RegExp(String.raw`^${CLAIM}in\[(?:(['"])[^'"]+\1,?)+\]$`),
  new RegExp(String.raw`^(?:google\.subject|assertion\.sub)\.startsWith\(${WORD}repo:[^'"/]+/[^'"/:]+:[^'"]*\1\)$`),
];

/**
 * Judges a condition: each of its alternatives (`||`) must pin, by at least one of what it joins (`&&`). What this does
 * not know counts as not pinned: a linter that lets something through is worse than one that asks.
 */
export function judge(condition: string, kind: 'aws' | 'oidc'): Judged {
  const text = withoutSpaces(condition);
  if (text === '') return { pinned: false };
  // Of what follows a comment or a choice, anything may be true.
  if (/\?|\/\//.test(withoutQuoted(text)))
    return { pinned: false, why: 'it holds a choice or a comment, which hide what it lets in' };
  const pins = kind === 'aws' ? PINS_ROLE : [...PINS_SUBJECT, ...PINS_ROLE];
  for (const alternative of split(unwrapped(text), '||')) {
    const joined = split(unwrapped(alternative), '&&').map(unwrapped);
    if (!joined.some((one) => pins.some((pin) => pin.test(one)))) {
      const what = kind === 'aws' ? 'no role' : 'no subject';
      return { pinned: false, why: `${alternative.slice(0, 120)} pins ${what}` };
    }
  }
  return { pinned: true };
}

const withoutQuoted = (text: string): string => text.replace(/(['"])(?:\\.|(?!\1).)*\1/g, "''");

/** Spaces mean nothing outside of quotes. */
const withoutSpaces = (text: string): string =>
  text.replace(/(['"])(?:\\.|(?!\1).)*\1|\s+/g, (found, quote: string | undefined) =>
    quote === undefined ? '' : found,
  );

/** Splits at an operator that stands in no quotes and no brackets. */
function split(text: string, operator: '||' | '&&'): string[] {
  const parts: string[] = [];
  let depth = 0;
  let quote = '';
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at] ?? '';
    if (quote !== '') {
      if (character === '\\') at++;
      else if (character === quote) quote = '';
    } else if (character === "'" || character === '"') quote = character;
    else if ('([{'.includes(character)) depth++;
    else if (')]}'.includes(character)) depth--;
    else if (depth === 0 && text.startsWith(operator, at)) {
      parts.push(text.slice(start, at));
      start = at + operator.length;
      at++;
    }
  }
  return [...parts, text.slice(start)];
}

/** Without brackets around the whole. */
function unwrapped(text: string): string {
  if (!text.startsWith('(') || !text.endsWith(')')) return text;
  let depth = 0;
  for (let at = 0; at < text.length - 1; at++) {
    if (text[at] === '(') depth++;
    if (text[at] === ')') depth--;
    if (depth === 0) return text;
  }
  return unwrapped(text.slice(1, -1));
}
