import { BrokerError, type ContentHeaders, type Item, type Refusal, z } from '../../../core/api/index.ts';
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

const text = z.string().optional();
const present = z.unknown().optional();
const objectSchema = z.object({
  name: z.string(),
  generation: z.string(),
  size: z.string().regex(/^\d+$/),
  crc32c: text,
  md5Hash: text,
  updated: text,
  contentType: text,
  contentEncoding: text,
  cacheControl: text,
  contentDisposition: text,
  contentLanguage: text,
  metadata: z.record(z.string(), z.string()).optional(),
  storageClass: text,
  customerEncryption: present,
  customTime: present,
  temporaryHold: present,
  eventBasedHold: present,
  retention: present,
  contexts: present,
});
type StorageObject = z.output<typeof objectSchema>;

/** An object resource as an item. @throws BrokerError `bad_response` */
export function objectItem(
  entry: unknown,
  { bucket, prefix, object }: Pick<StoragePlace, 'bucket' | 'prefix' | 'object'>,
  host: string,
): Item {
  const parsed = objectSchema.safeParse(entry);
  if (!parsed.success) throw new BrokerError('bad_response', `${host}: the listing holds an entry that is no object`);
  const found = parsed.data;
  const { name, generation, size, crc32c, md5Hash, updated, metadata, storageClass, customerEncryption } = found;
  const id = `gs://${bucket}/${name}#${generation}`;
  const item: Mutable<Item> = {
    id,
    key: object === undefined ? name.slice(prefix.length) : name,
    size: Number(size),
    checksums: checksumsOf(crc32c, md5Hash),
    headers: headersOf(found),
    ref: { name, generation },
  };
  if (updated !== undefined) item.modifiedAt = updated;
  if (metadata !== undefined) item.metadata = metadata;
  if (storageClass !== undefined) item.storageClass = storageClass;
  if (hasMore(found))
    item.uncarried = UNCARRIED.filter((field) => found[field] !== undefined && found[field] !== false);
  if (customerEncryption !== undefined) item.problem = encrypted(id);
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
  for (const name of HEADERS) if (found[name]) headers[name] = found[name];
  return headers;
}

function encrypted(id: string): Refusal {
  const { code, message, hint } = new BrokerError(
    'source_encrypted',
    `${id} is encrypted with a customer-supplied key`,
  );
  return { code, message, hint };
}
