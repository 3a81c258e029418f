import { BrokerError } from '../../core/api/index.ts';

const PLACE = /\{\{\s*([^{}\s]+)\s*\}\}/g;

/** What a prompt names. */
export const membersOf = (prompt: string): string[] => [...prompt.matchAll(PLACE)].map(([, path = '']) => path);

type Members = Readonly<Record<string, unknown>> | null;

/**
 * Fills a prompt in: `{{name}}` and `{{a.b}}` stand for members of the row, `{{row}}` for the whole as JSON.
 *
 * @throws BrokerError `invalid_request` for a row that lacks a member: an empty place would be a wrong question.
 */
export function filled(prompt: string, row: unknown, text: string): string {
  return prompt.replace(PLACE, (_, path: string) => {
    if (path === 'row') return text;
    const value = path
      .split('.')
      .reduce<unknown>((one, name) => (isMap(one) && Object.hasOwn(one, name) ? one[name] : undefined), row);
    if (value === undefined) throw new BrokerError('invalid_request', `the row has no member "${path}"`);
    return typeof value === 'string' ? value : JSON.stringify(value);
  });
}

const isMap = (value: unknown): value is NonNullable<Members> => typeof value === 'object' && value !== null;
