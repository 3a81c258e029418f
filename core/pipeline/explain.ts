import { closest } from 'fastest-levenshtein';
import type { z } from 'zod';
import { visible } from '../api/text.ts';
import type { Path } from './plain.ts';

export interface Explained {
  readonly path: Path;
  /** True when the key is wrong, not its value. */
  readonly ofKey: boolean;
  readonly message: string;
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'an integer',
  boolean: 'true or false',
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
  null: 'nothing',
};

/**
 * Turns what zod found into sentences with a place.
 *
 * @param keysAt the keys that are allowed at a path, for suggestions.
 * @param textAt the text that stands in the file for a scalar.
 */
export function explain(
  issue: z.core.$ZodIssue,
  keysAt: (path: Path) => readonly string[],
  textAt: (path: Path) => string | undefined,
): Explained[] {
  const one = (message: string): Explained[] => [{ path: issue.path, ofKey: false, message }];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({
        path: [...issue.path, key],
        ofKey: true,
        message: unknown('key', key, keysAt(issue.path)),
      }));
    case 'invalid_type':
      return one(wrongType(issue, textAt(issue.path)));
    case 'invalid_value':
      return one(wrongValue(issue.input, issue.values.map(String)));
    case 'invalid_union': {
      if (issue.discriminator === undefined) {
        // Of a text that may also be a mapping the mistake in the text is what there is to tell.
        const told = issue.errors.flat().find(({ code }) => code === 'invalid_value');
        const values =
          told?.code === 'invalid_value' && typeof issue.input === 'string' && !issue.message.startsWith('must')
            ? told.values.map(String)
            : [];
        return one(values.length > 0 ? wrongValue(issue.input, values) : issue.message);
      }
      const kinds =
        'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : ['gcp', 'aws', 'anonymous'];
      return one(`must be one of ${kinds.join(', ')}`);
    }
    case 'too_small':
      if (issue.message.startsWith('must')) return one(issue.message);
      return one(issue.origin === 'number' ? `must be at least ${issue.minimum}` : 'must not be empty');
    case 'too_big': {
      if (issue.message.startsWith('must')) return one(issue.message);
      const unit = issue.origin === 'string' ? ' characters' : issue.origin === 'array' ? ' entries' : '';
      return one(`must be at most ${issue.maximum}${unit}`);
    }
    default:
      return one(issue.message);
  }
}

/** `unknown key "sorce": did you mean "source"?` */
export function unknown(what: string, name: string, known: readonly string[]): string {
  const near =
    known.length === 0
      ? undefined
      : closest(
          name.toLowerCase(),
          known.map((one) => one),
        );
  const shown = `unknown ${what} "${visible(name)}"`;
  if (near !== undefined && isNear(name, near)) return `${shown}: did you mean "${near}"?`;
  return known.length === 0 ? shown : `${shown}: ${known.join(', ')}`;
}

function isNear(name: string, near: string): boolean {
  const short = name.toLowerCase();
  const rest = [...near.toLowerCase()].filter((character) => !short.includes(character)).length;
  return Math.abs(short.length - near.length) <= 2 && rest <= 2;
}

function wrongType(issue: z.core.$ZodIssueInvalidType, text: string | undefined): string {
  if (issue.message.startsWith('must')) return issue.message;
  if (issue.input === undefined) return 'is required';
  if (issue.expected === 'string' && ['number', 'boolean'].includes(typeof issue.input)) {
    const written = text ?? String(issue.input);
    const why = /^0\d/.test(written) ? ' (YAML drops the leading zero)' : '';
    return `must be text: write "${written}" in quotes${why}`;
  }
  if (issue.expected === 'boolean' && typeof issue.input === 'string' && /^(yes|no|on|off)$/i.test(issue.input)) {
    return `must be true or false (YAML 1.2: ${issue.input} is text)`;
  }
  const found =
    issue.input === null
      ? 'nothing'
      : Array.isArray(issue.input)
        ? 'a list'
        : (KINDS[typeof issue.input] ?? 'something else');
  return `must be ${KINDS[issue.expected] ?? issue.expected}, found ${found}`;
}

function wrongValue(input: unknown, values: readonly string[]): string {
  const near = typeof input === 'string' ? closest(input, [...values]) : undefined;
  const hint =
    typeof input === 'string' && near !== undefined && isNear(input, near) ? `: did you mean "${near}"?` : '';
  return `must be ${values.length === 1 ? values[0] : `one of ${values.join(', ')}`}${hint}`;
}
