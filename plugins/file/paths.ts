import { BrokerError, keyBytes, type Refusal } from '../../core/api/index.ts';

/** Names that no program could open on Windows; refused everywhere, so that a folder can be moved. */
const RESERVED = /^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$/i;
const LONGEST_NAME = 255;
/** Of the files that the sink is still writing; never items. */
export const TEMPORARY = '.isthmus-part';

/**
 * Why a key cannot be a path below the root exactly as it is; undefined when it can. Nothing is normalised: two keys
 * must never become one file.
 */
export function pathRefusal(key: string): Refusal | undefined {
  const why = reason(key);
  if (why === undefined) return undefined;
  return {
    code: 'key_refused',
    message: `"${key}" cannot be a file name: ${why}`,
    hint: new BrokerError('key_refused', '').hint,
  };
}

function reason(key: string): string | undefined {
  if (key === '') return 'it is empty';
  if (key.startsWith('/')) return 'it begins with "/"';
  if (key.endsWith('/')) return 'it ends with "/"';
  if (/\p{Cc}/u.test(key) || key.includes('\\')) return 'it holds a control character or a backslash';
  for (const segment of key.split('/')) {
    if (segment === '') return 'it holds "//"';
    if (segment === '.' || segment === '..') return `it holds "${segment}" as a part`;
    if (keyBytes(segment) > LONGEST_NAME) return `a part has more than ${LONGEST_NAME} bytes`;
    if (RESERVED.test(segment) || /[. ]$/.test(segment)) return `"${segment}" is a reserved name`;
    if (segment.endsWith(TEMPORARY)) return `"${TEMPORARY}" marks unfinished files`;
  }
  return key.isWellFormed() ? undefined : 'it is not valid Unicode';
}
