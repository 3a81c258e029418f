import { BrokerError, type Item, keyBytes, type Refusal, refusalOf, type StoredObject } from '../../core/api/index.ts';
import { refSchema } from '../google/storage/object.ts';
import type { GcsSinkConfig } from './sink-config.ts';

/** Source: https://cloud.google.com/storage/quotas#objects */
const LONGEST_NAME = 1024;
const LARGEST = 5 * 2 ** 40;
const METADATA_LIMIT = 8 * 1024;
/** What an object was made of, where steps made it (`Item.made`). */
const ORIGIN = 'isthmus-origin';

type Rules = Pick<GcsSinkConfig, 'prefix' | 'metadata' | 'storageClass'>;

/** What Cloud Storage cannot hold exactly, by name. Source: https://cloud.google.com/storage/docs/objects#naming */
export function gcsRefusal(item: Item, config: Rules): Refusal | undefined {
  const name = config.prefix + item.key;
  const refuse = (code: Refusal['code'], message: string): Refusal => refusalOf(new BrokerError(code, message));
  if (name === '') return refuse('key_refused', `${item.id}: the name would be empty`);
  if (!name.isWellFormed()) return refuse('key_refused', `${item.id}: the name is not valid Unicode`);
  if (name.length * 3 > LONGEST_NAME && keyBytes(name) > LONGEST_NAME)
    return refuse('key_refused', `"${name.slice(0, 80)}…" has ${keyBytes(name)} bytes, Cloud Storage allows 1024`);
  if (/[\r\n]/.test(name) || name === '.' || name === '..' || name.startsWith('.well-known/acme-challenge/'))
    return refuse('key_refused', `${item.id}: Cloud Storage allows no such name`);
  if (item.size !== undefined && item.size > LARGEST)
    return refuse('too_large', `${item.id} has ${item.size} bytes, Cloud Storage allows 5 TiB`);
  const bytes = Object.entries(gcsMetadata(item, config)).reduce((sum, one) => sum + keyBytes(one.join('')), 0);
  return bytes <= METADATA_LIMIT
    ? undefined
    : refuse('metadata_refused', `${item.id}: ${bytes} bytes of user metadata, Cloud Storage allows ${METADATA_LIMIT}`);
}

/** The user metadata that an object gets. */
export function gcsMetadata({ metadata = {}, made }: Item, config: Rules): Readonly<Record<string, string>> {
  const carried = config.metadata === 'drop' ? {} : metadata;
  return made === undefined ? carried : { ...carried, [ORIGIN]: made.origin };
}

/** The listing of Cloud Storage shows all there is to know: nothing has to be asked object by object. */
export function storedAs({ key, size = 0, checksums, modifiedAt, metadata, ref }: Item): StoredObject {
  const origin = metadata?.[ORIGIN];
  return {
    key,
    size,
    ...(checksums === undefined ? {} : { checksums }),
    complete: true,
    revision: refSchema.parse(ref).generation,
    ...(modifiedAt === undefined ? {} : { modifiedAt }),
    ...(origin === undefined ? {} : { origin }),
  };
}

/** What of an item is not carried, one sentence each. */
export function gcsLosses({ storageClass, uncarried = [] }: Item, config: Rules): readonly string[] {
  const lost = uncarried.map((name) => `${name} is not carried: Cloud Storage has no place for it`);
  const unmapped = storageClass !== undefined && storageClass !== 'STANDARD' && config.storageClass === undefined;
  return unmapped ? [...lost, `storage class ${storageClass} is not carried: set storageClass on the sink`] : lost;
}
