import { BrokerError, type Item, keyBytes, type Refusal } from '../../core/api/index.ts';
import type { S3Config } from './config.ts';

const LONGEST_KEY = 1024;
const METADATA_LIMIT = 2048;
const LARGEST = 50 * 1000 ** 4;
/** What an object was made of, where steps made it (`Item.made`). */
export const ORIGIN = 'isthmus-origin';
const HEADER_TOKEN = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;
const PRINTABLE = /^[\x20-\x7e]*$/;

type Rules = Pick<S3Config, 'metadata' | 'provenance' | 'storageClass'>;

/** The user metadata that an object gets, before S3 has its say. Rules name it as S3 does: without regard to case. */
function metadataOf(item: Item, { metadata: rules, provenance }: Rules): readonly (readonly [string, string])[] {
  const own = rules === 'drop' ? [] : Object.entries(item.metadata ?? {});
  if (typeof rules === 'string' && !provenance && item.made === undefined) return own;
  const { remove = [], rename = {}, add = {} } = typeof rules === 'string' ? {} : rules;
  const removed = new Set(remove.map(lower));
  const renamed = new Map(Object.entries(rename).map(([from, to]) => [lower(from), to]));
  const kept = own
    .filter(([name]) => !removed.has(lower(name)))
    .map(([name, value]) => [renamed.get(lower(name)) ?? name, value] as const);
  const added = [
    ...Object.entries(add),
    ...(provenance ? [['isthmus-source', item.id] as const] : []),
    ...(item.made === undefined ? [] : [[ORIGIN, item.made.origin] as const]),
  ];
  const taken = new Set(added.map(([name]) => lower(name)));
  return [...kept.filter(([name]) => !taken.has(lower(name))), ...added];
}

const lower = (name: string): string => name.toLowerCase();

/** The metadata of an item as S3 can hold it. Keys become lower case; values that are not ASCII are RFC 2047 encoded. */
export function s3Metadata(item: Item, rules: Rules): Record<string, string> {
  return Object.fromEntries(metadataOf(item, rules).map(([name, value]) => [name.toLowerCase(), encoded(value)]));
}

const encoded = (value: string): string =>
  PRINTABLE.test(value) ? value : `=?UTF-8?B?${Buffer.from(value).toString('base64')}?=`;

/** What of an item is not carried exactly, one sentence each. */
export function s3Losses(item: Item, config: Rules): string[] {
  const coded = metadataOf(item, config).filter(([, value]) => !PRINTABLE.test(value));
  const lost = (item.uncarried ?? []).map((name) => `${name} is not carried: S3 has no place for it`);
  const { storageClass } = item;
  const unmapped =
    storageClass !== undefined && storageClass !== 'STANDARD' && storageClassOf(item, config) === undefined;
  if (unmapped) lost.push(`storage class ${storageClass} is not carried: set storageClass on the sink`);
  return [...coded.map(([name]) => `metadata "${name}" is stored RFC 2047 encoded`), ...lost];
}

/** By price and minimum duration. Source: https://cloud.google.com/storage/docs/storage-classes */
const MATCHING: Readonly<Record<string, 'STANDARD' | 'STANDARD_IA' | 'GLACIER_IR' | 'DEEP_ARCHIVE'>> = {
  STANDARD: 'STANDARD',
  REGIONAL: 'STANDARD',
  MULTI_REGIONAL: 'STANDARD',
  DURABLE_REDUCED_AVAILABILITY: 'STANDARD',
  NEARLINE: 'STANDARD_IA',
  COLDLINE: 'GLACIER_IR',
  ARCHIVE: 'DEEP_ARCHIVE',
};

function storageClassOf({ storageClass = '' }: Item, { storageClass: rule }: Rules) {
  if (rule === undefined || (typeof rule === 'string' && rule !== 'match')) return rule;
  const table = rule === 'match' ? MATCHING : rule;
  return Object.hasOwn(table, storageClass) ? table[storageClass] : undefined;
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
  // A character has at most three bytes for each of its units.
  if (key.length * 3 > LONGEST_KEY && keyBytes(key) > LONGEST_KEY) {
    return refuse(
      'key_refused',
      `"${key.slice(0, 80)}…" has ${keyBytes(key)} bytes with its prefix, S3 allows ${LONGEST_KEY}`,
    );
  }
  if (!key.isWellFormed()) return refuse('key_refused', `${item.id}: the name is not valid Unicode`);
  if (item.size !== undefined && item.size > LARGEST)
    return refuse('too_large', `${item.id} has ${item.size} bytes, S3 allows 50 TB`);
  for (const name in item.headers)
    if (!PRINTABLE.test(item.headers[name as keyof typeof item.headers] ?? ''))
      return refuse('metadata_refused', `${item.id}: ${name} holds characters that a header cannot carry`);
  return metadataRefusal(item, config, refuse);
}

function metadataRefusal(
  item: Item,
  config: S3Config,
  refuse: (code: Refusal['code'], message: string) => Refusal,
): Refusal | undefined {
  const { metadata, made } = item;
  if (metadata === undefined && made === undefined && config.metadata === 'carry' && !config.provenance)
    return undefined;
  const names = metadataOf(item, config).map(([name]) => name);
  if (names.length === 0) return undefined;
  const lowered = names.map(lower);
  const bad = lowered.findIndex((name) => !HEADER_TOKEN.test(name));
  if (bad >= 0)
    return refuse('metadata_refused', `${item.id}: the metadata name "${names[bad]}" is not possible in S3`);
  const twice = lowered.find((name, index) => lowered.indexOf(name) !== index);
  if (twice !== undefined)
    return refuse(
      'metadata_refused',
      `${item.id}: S3 cannot keep two metadata names that differ only in case: "${twice}"`,
    );
  const bytes = Object.entries(s3Metadata(item, config)).reduce(
    (sum, [name, value]) => sum + name.length + value.length,
    0,
  );
  if (bytes > METADATA_LIMIT)
    return refuse('metadata_refused', `${item.id}: ${bytes} bytes of user metadata, S3 allows ${METADATA_LIMIT}`);
  return undefined;
}

/** The headers that PutObject and CreateMultipartUpload share: they belong to the object, not to its bytes. */
export function objectHeaders(item: Item, config: S3Config): Record<string, string> {
  const { contentType, contentEncoding, cacheControl, contentDisposition, contentLanguage } = item.headers ?? {};
  const headers: Record<string, string> = { 'content-type': contentType ?? 'application/octet-stream' };
  const add = (name: string, value: string | undefined): void => {
    if (value !== undefined) headers[name] = value;
  };
  add('content-encoding', contentEncoding);
  add('cache-control', cacheControl);
  add('content-disposition', contentDisposition);
  add('content-language', contentLanguage);
  add('x-amz-storage-class', storageClassOf(item, config));
  add('x-amz-server-side-encryption', config.encryption);
  add('x-amz-server-side-encryption-aws-kms-key-id', config.kmsKeyId);
  add('x-amz-server-side-encryption-bucket-key-enabled', config.bucketKey?.toString());
  add('x-amz-tagging', config.tags && new URLSearchParams(config.tags).toString());
  for (const [name, value] of Object.entries(s3Metadata(item, config))) headers[`x-amz-meta-${name}`] = value;
  return headers;
}
