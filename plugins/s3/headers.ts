import { BrokerError, type Item, keyBytes, type Refusal } from '../../core/api/index.ts';
import type { S3Config } from './config.ts';

const LONGEST_KEY = 1024;
const METADATA_LIMIT = 2048;
const LARGEST = 50 * 1000 ** 4;
const HEADER_TOKEN = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;
const PRINTABLE = /^[\x20-\x7e]*$/;

/** The metadata of an item as S3 can hold it. Keys become lower case; values that are not ASCII are RFC 2047 encoded. */
export function s3Metadata(item: Item): { readonly metadata: Record<string, string>; readonly notes: string[] } {
  const notes: string[] = [];
  const entries = Object.entries(item.metadata ?? {}).map(([name, value]) => {
    if (PRINTABLE.test(value)) return [name.toLowerCase(), value];
    notes.push(`metadata "${name}" is stored RFC 2047 encoded`);
    return [name.toLowerCase(), `=?UTF-8?B?${Buffer.from(value).toString('base64')}?=`];
  });
  return { metadata: Object.fromEntries(entries), notes };
}

/** What S3 cannot hold exactly, by name. Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html */
export function s3Refusal(item: Item, config: S3Config): Refusal | undefined {
  const key = config.prefix + item.key;
  const refuse = (code: Refusal['code'], message: string): Refusal => ({
    code,
    message,
    hint: new BrokerError(code, '').hint,
  });
  if (key === '') return refuse('key_refused', `${item.id}: the key would be empty`);
  if (keyBytes(key) > LONGEST_KEY) {
    return refuse(
      'key_refused',
      `"${key.slice(0, 80)}…" has ${keyBytes(key)} bytes with its prefix, S3 allows ${LONGEST_KEY}`,
    );
  }
  if (!key.isWellFormed()) return refuse('key_refused', `${item.id}: the name is not valid Unicode`);
  if (item.size !== undefined && item.size > LARGEST)
    return refuse('too_large', `${item.id} has ${item.size} bytes, S3 allows 50 TB`);
  const odd = Object.entries(item.headers ?? {}).find(([, value]) => value !== undefined && !PRINTABLE.test(value));
  if (odd !== undefined)
    return refuse('metadata_refused', `${item.id}: ${odd[0]} holds characters that a header cannot carry`);
  return config.metadata === 'drop' ? undefined : metadataRefusal(item, refuse);
}

function metadataRefusal(item: Item, refuse: (code: Refusal['code'], message: string) => Refusal): Refusal | undefined {
  const names = Object.keys(item.metadata ?? {});
  const lower = names.map((name) => name.toLowerCase());
  const bad = lower.findIndex((name) => !HEADER_TOKEN.test(name));
  if (bad >= 0)
    return refuse('metadata_refused', `${item.id}: the metadata name "${names[bad]}" is not possible in S3`);
  const twice = lower.find((name, index) => lower.indexOf(name) !== index);
  if (twice !== undefined)
    return refuse(
      'metadata_refused',
      `${item.id}: S3 cannot keep two metadata names that differ only in case: "${twice}"`,
    );
  const { metadata } = s3Metadata(item);
  const bytes = Object.entries(metadata).reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (bytes > METADATA_LIMIT)
    return refuse('metadata_refused', `${item.id}: ${bytes} bytes of user metadata, S3 allows ${METADATA_LIMIT}`);
  return undefined;
}

/** The fields that PutObject and CreateMultipartUpload share: they belong to the object, not to its bytes. */
export function objectFields(item: Item, config: S3Config) {
  const { contentType, contentEncoding, cacheControl, contentDisposition, contentLanguage } = item.headers ?? {};
  const metadata = config.metadata === 'drop' ? {} : s3Metadata(item).metadata;
  const tagging = config.tags === undefined ? undefined : new URLSearchParams(config.tags).toString();
  return definedOnly({
    ContentType: contentType ?? 'application/octet-stream',
    ContentEncoding: contentEncoding,
    CacheControl: cacheControl,
    ContentDisposition: contentDisposition,
    ContentLanguage: contentLanguage,
    Metadata: metadata,
    StorageClass: config.storageClass,
    ServerSideEncryption: config.encryption,
    SSEKMSKeyId: config.kmsKeyId,
    BucketKeyEnabled: config.bucketKey,
    Tagging: tagging,
  });
}

type Defined<T> = { [Key in keyof T]: Exclude<T[Key], undefined> };

/** Leaves out what is undefined; the SDK's types tell absent from undefined. */
function definedOnly<T extends object>(fields: T): Partial<Defined<T>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<Defined<T>>;
}
