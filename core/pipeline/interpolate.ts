import type { JsonValue } from '../api/json.ts';
import { looksSecret } from '../api/text.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Names that hold credentials. There is no place for one in a pipeline. */
const CREDENTIAL_NAME =
  /SECRET|TOKEN|PASSW(OR)?D|PASSPHRASE|PRIVATE|CREDENTIAL|API_?KEY|ACCESS_?KEY|_PWD$|(^|_)(PASS|PAT|AUTH)$|(DATABASE|DB|REDIS|MONGO\w*|AMQP|POSTGRES\w*)_(URL|URI|DSN)|CONNECTION_?STRING/i;

const REFERENCE = /\$(\$\{|\{([^}]*)(\}|$))/g;
const NAME = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/;

/**
 * Replaces `${NAME}` and `${NAME:-default}`; `$${` stands for a literal `${`. Once: what a value holds is not looked
 * at again, and the result stays one text, so a value cannot inject anything.
 *
 * @param report gets one sentence for each mistake; values are never in it.
 */
export function interpolate(text: string, environment: Environment, report: (message: string) => void): string {
  return text.replaceAll(REFERENCE, (whole, rest: string, inside: string | undefined, end: string | undefined) => {
    if (rest === '${') return '${';
    const found = NAME.exec(inside ?? '');
    const name = found?.[1];
    if (name === undefined || end !== '}') {
      report(`bad reference "${whole}": write \${NAME} or \${NAME:-default}`);
      return '';
    }
    if (CREDENTIAL_NAME.test(name)) {
      report(`\${${name}} names a credential: pipelines hold no secrets, use identities instead`);
      return '';
    }
    // As in a shell, `:-` also replaces an empty value.
    const value = environment[name] || (found?.[2] ?? environment[name]);
    if (value === undefined)
      report(`environment variable ${name} is not set; give it a default with \${${name}:-default}`);
    else if (looksSecret(value))
      report(`the value of ${name} looks like a secret: pipelines hold no secrets, use identities instead`);
    else return value;
    return '';
  });
}

/** The names of the variables that a pipeline reads, each once, in order. */
export function variablesIn(data: JsonValue): readonly string[] {
  const names = new Set<string>();
  const walk = (value: JsonValue): void => {
    if (typeof value === 'string') {
      for (const [, rest, inside] of value.matchAll(REFERENCE)) {
        const name = NAME.exec(inside ?? '')?.[1];
        if (rest !== '${' && name !== undefined) names.add(name);
      }
    } else if (typeof value === 'object' && value !== null) Object.values(value).forEach(walk);
  };
  walk(data);
  return [...names].sort();
}
