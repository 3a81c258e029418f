import { z } from 'zod';
import type { Item } from './item.ts';
import { visible } from './text.ts';

/** What an item offers to a template. `undefined`: this item has none. */
const FIELDS: Readonly<Record<string, (item: Item) => string | undefined>> = {
  key: ({ key }) => key,
  dir: ({ key }) => key.slice(0, key.lastIndexOf('/') + 1),
  name: ({ key }) => nameOf(key),
  stem: ({ key }) => stemOf(nameOf(key)),
  ext: ({ key }) => nameOf(key).slice(stemOf(nameOf(key)).length),
  generation: ({ id }) => /#([^#]+)$/.exec(id)?.[1],
  crc32c: ({ checksums }) =>
    checksums?.crc32c === undefined ? undefined : Buffer.from(checksums.crc32c, 'base64').toString('hex'),
  year: (item) => dateOf(item)?.slice(0, 4),
  month: (item) => dateOf(item)?.slice(5, 7),
  day: (item) => dateOf(item)?.slice(8, 10),
  date: (item) => dateOf(item)?.slice(0, 10),
};

export const KEY_FIELDS: readonly string[] = Object.keys(FIELDS);

const nameOf = (key: string): string => key.slice(key.lastIndexOf('/') + 1);
const stemOf = (name: string): string => name.slice(0, name.lastIndexOf('.') > 0 ? name.lastIndexOf('.') : undefined);

/** Of the last change, in UTC. */
function dateOf({ modifiedAt }: Item): string | undefined {
  const time = Date.parse(modifiedAt ?? '');
  return Number.isNaN(time) ? undefined : new Date(time).toISOString();
}

const FIELD = /\{([^{}]*)\}/g;

/** The names in braces. */
export const fieldsOf = (template: string): readonly string[] =>
  [...template.matchAll(FIELD)].map(([, name = '']) => name);

/** Which fields together hold the whole key. */
const WHOLE: readonly (readonly string[])[] = [['key'], ['dir', 'name'], ['dir', 'stem', 'ext']];
/** Fields that are as long in every item, so that what stands beside them can be told apart. */
const FIXED = new Set(['year', 'month', 'day', 'date', 'crc32c']);

/** A template of keys, ready for use. */
export interface KeyTemplate {
  /** Undefined when the item lacks what its key is to be made of. */
  of(item: Item): string | undefined;
  /** What all keys begin with. */
  readonly before: string;
  /** Keys come out in the order in which they go in. */
  readonly ordered: boolean;
  /** Two items of one source never get the same key. */
  readonly unique: boolean;
}

/** Compiles a template such as `{date}/{key}`. Its fields were checked before. */
export function keyTemplate(template: string): KeyTemplate {
  const names = fieldsOf(template);
  const flexible = names.filter((name) => !FIXED.has(name));
  const [before = ''] = template.split('{', 1);
  return {
    of: (item) => {
      let whole = true;
      const key = template.replace(FIELD, (_, name: string) => {
        const value = FIELDS[name]?.(item);
        whole &&= value !== undefined;
        return value ?? '';
      });
      return whole ? key : undefined;
    },
    before,
    ordered: names.length === 1 && template === `${before}{key}`,
    // In this order and with nothing in between: `{dir}{name}`; else `a-b` and `c` may be `a` and `b-c`.
    unique: WHOLE.some(
      (whole) => flexible.join() === whole.join() && template.includes(whole.map((n) => `{${n}}`).join('')),
    ),
  };
}

const listing = (field: string): string => `unknown field "${visible(field)}": ${KEY_FIELDS.join(', ')}`;

/** What many items share: of these alone a template would make one key for all of them. */
const SHARED = new Set(['dir', 'ext', 'year', 'month', 'day', 'date']);

/** An option that is a template of keys. @param unknown words the complaint about a field that there is not. */
export const keyTemplateText = (unknown: (field: string) => string = listing) =>
  z.string().superRefine((text, context) => {
    const report = (message: string): void => context.addIssue({ code: 'custom', message });
    const fields = fieldsOf(text);
    for (const field of fields) if (!KEY_FIELDS.includes(field)) return report(unknown(field));
    if (text.replaceAll(/\{[^{}]*\}/g, '').match(/[{}]/)) return report('a brace is not closed, or was never opened');
    if (/\p{Cc}/u.test(text)) return report('control character in template');
    if (fields.every((field) => SHARED.has(field)))
      return report('every item would get the same key: put {key} or {name} into it');
  });
