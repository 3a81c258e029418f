import { BrokerError, type ContentHeaders, type Item, type Refusal, refusalOf, z } from '../../../core/api/index.ts';
import type { StoragePlace } from './place.ts';

const HEADERS = ['contentType', 'contentEncoding', 'cacheControl', 'contentDisposition', 'contentLanguage'] as const;
/** For these no sink has a place. */
const UNCARRIED = ['customTime', 'temporaryHold', 'eventBasedHold', 'retention', 'contexts'] as const;

/** The fields of an object that we read. Source: https://cloud.google.com/storage/docs/json_api/v1/objects#resource */
export const FIELDS = [
  ...['name', 'generation', 'size', 'crc32c', 'md5Hash', 'updated', 'metadata', 'storageClass', 'customerEncryption'],
  ...HEADERS,
  ...UNCARRIED,
];

/** What an item of Cloud Storage refers to. */
export const refSchema = z.object({
  name: z.string(),
  generation: z.string(),
  /** Somebody asked for this very generation: another one is not what was meant. */
  pinned: z.literal(true).exactOptional(),
});

type TextField = 'crc32c' | 'md5Hash' | 'updated' | 'storageClass' | (typeof HEADERS)[number];
type OtherField = (typeof UNCARRIED)[number] | 'customerEncryption';

interface StorageObject
  extends Readonly<Partial<Record<TextField, string>>>,
    Readonly<Partial<Record<OtherField, unknown>>> {
  readonly name: string;
  readonly generation: string;
  readonly size: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** By hand, since there may be millions, and a schema takes three times as long. */
function isObject(entry: unknown): entry is StorageObject {
  if (typeof entry !== 'object' || entry === null) return false;
  const fields = entry as { readonly [Field in keyof StorageObject]: unknown };
  const { name, generation, size, metadata } = fields;
  if (typeof name !== 'string' || typeof generation !== 'string') return false;
  if (typeof size !== 'string' || !/^\d{1,16}$/.test(size)) return false;
  return TEXTS.every((field) => isText(fields[field])) && (metadata === undefined || isTexts(metadata));
}

const TEXTS: readonly TextField[] = ['crc32c', 'md5Hash', 'updated', 'storageClass', ...HEADERS];

const isText = (value: unknown): boolean => value === undefined || typeof value === 'string';

const isTexts = (value: unknown): value is Readonly<Record<string, string>> =>
  typeof value === 'object' && value !== null && Object.values(value).every((one) => typeof one === 'string');

/** An object resource as an item. @throws BrokerError `bad_response` */
export function objectItem(
  entry: unknown,
  { bucket, prefix, object }: Pick<StoragePlace, 'bucket' | 'prefix' | 'object'>,
  host: string,
): Item {
  if (!isObject(entry)) throw new BrokerError('bad_response', `${host}: the listing holds an entry that is no object`);
  const { name, generation, size, crc32c, md5Hash, updated, storageClass, metadata } = entry;
  const id = `gs://${bucket}/${name}#${generation}`;
  const item: Mutable<Item> = {
    id,
    key: object === undefined ? name.slice(prefix.length) : name,
    size: Number(size),
    checksums: checksumsOf(crc32c, md5Hash),
    headers: headersOf(entry),
    ref: { name, generation },
  };
  if (updated !== undefined) item.modifiedAt = updated;
  if (metadata !== undefined) item.metadata = metadata;
  if (storageClass !== undefined) item.storageClass = storageClass;
  if (hasMore(entry))
    item.uncarried = UNCARRIED.filter((field) => entry[field] !== undefined && entry[field] !== false);
  if (entry.customerEncryption !== undefined) item.problem = encrypted(id);
  return item;
}

const hasMore = (found: StorageObject): boolean =>
  UNCARRIED.some((field) => found[field] !== undefined && found[field] !== false);

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

function checksumsOf(crc32c: string | undefined, md5: string | undefined): NonNullable<Item['checksums']> {
  if (crc32c === undefined) return md5 === undefined ? {} : { md5 };
  return md5 === undefined ? { crc32c } : { crc32c, md5 };
}

function headersOf(found: StorageObject): ContentHeaders {
  const headers: Mutable<ContentHeaders> = {};
  for (const name of HEADERS) {
    const value = found[name];
    if (value) headers[name] = value;
  }
  return headers;
}

function encrypted(id: string): Refusal {
  return refusalOf(new BrokerError('source_encrypted', `${id} is encrypted with a customer-supplied key`));
}
