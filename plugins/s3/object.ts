import { BrokerError, type ContentHeaders, type Item, type Refusal, refusalOf } from '../../core/api/index.ts';
import { md5OfEtag } from './page.ts';

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

const HEADERS: Readonly<Record<keyof ContentHeaders, string>> = {
  contentType: 'content-type',
  contentEncoding: 'content-encoding',
  cacheControl: 'cache-control',
  contentDisposition: 'content-disposition',
  contentLanguage: 'content-language',
};
const METADATA = 'x-amz-meta-';
/** What S3 keeps of an object for which no sink has a place, by its header. */
const UNCARRIED: Readonly<Record<string, string>> = {
  'x-amz-tagging-count': 'tags',
  'x-amz-object-lock-mode': 'objectLock',
  'x-amz-object-lock-legal-hold': 'legalHold',
  'x-amz-website-redirect-location': 'websiteRedirect',
  expires: 'expires',
};
/** Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html */
const ARCHIVED = new Set(['GLACIER', 'DEEP_ARCHIVE']);

/**
 * An object as an item, from the answer to a HEAD with `x-amz-checksum-mode: ENABLED`.
 *
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
 */
export function objectItem(bucket: string, key: string, name: string, answer: Readonly<Record<string, string>>): Item {
  const { etag = '', 'last-modified': modified = '', 'x-amz-storage-class': storageClass = 'STANDARD' } = answer;
  const id = `s3://${bucket}/${name}#${etag.replaceAll('"', '')}`;
  const item: Mutable<Item> = {
    id,
    key,
    size: Number(answer['content-length'] ?? 0),
    checksums: checksumsIn(answer),
    headers: headersIn(answer),
    storageClass,
    ref: { name, etag },
  };
  const time = Date.parse(modified);
  if (!Number.isNaN(time)) item.modifiedAt = new Date(time).toISOString();
  const metadata = Object.entries(answer)
    .filter(([header]) => header.startsWith(METADATA))
    .map(([header, value]) => [header.slice(METADATA.length), decoded(value)] as const);
  if (metadata.length > 0) item.metadata = Object.fromEntries(metadata);
  const uncarried = Object.entries(UNCARRIED).filter(([header]) => answer[header] !== undefined);
  if (uncarried.length > 0) item.uncarried = uncarried.map(([, what]) => what);
  const problem = archived(id, storageClass, answer);
  if (problem !== undefined) item.problem = problem;
  return item;
}

/** An ETag is an MD5 only of what was stored at once, and not under a key of KMS or of a customer. */
function checksumsIn(answer: Readonly<Record<string, string>>): NonNullable<Item['checksums']> {
  const { etag, 'x-amz-checksum-crc32c': crc32c, 'x-amz-checksum-type': type = 'FULL_OBJECT' } = answer;
  const encryption = answer['x-amz-server-side-encryption'] ?? 'AES256';
  const md5 = encryption === 'AES256' ? md5OfEtag(etag) : undefined;
  return {
    // Of parts it is `AAAAAA==-2`, and some servers do not say that it is.
    ...(type === 'FULL_OBJECT' && /^[A-Za-z0-9+/]{6}==$/.test(crc32c ?? '') ? { crc32c: crc32c as string } : {}),
    ...(md5 === undefined ? {} : { md5 }),
  };
}

function headersIn(answer: Readonly<Record<string, string>>): ContentHeaders {
  const headers: Mutable<ContentHeaders> = {};
  for (const [name, header] of Object.entries(HEADERS)) {
    // What clients of S3 send in chunks is kept by some servers as the encoding of the object.
    const value = answer[header]?.replace(/^aws-chunked,?\s*/, '');
    if (value) headers[name as keyof ContentHeaders] = value;
  }
  return headers;
}

/** RFC 2047, as S3 gives back what it cannot put into a header, and as the sink writes it. */
const decoded = (value: string): string =>
  value.replace(/=\?UTF-8\?([BQ])\?([^?]*)\?=/gi, (whole, kind: string, text: string) => {
    if (kind.toUpperCase() === 'B') return Buffer.from(text, 'base64').toString();
    const bytes = text
      .replaceAll('_', ' ')
      .replace(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    const read = Buffer.from(bytes, 'latin1').toString();
    return read.includes('\u{fffd}') ? whole : read;
  });

function archived(id: string, storageClass: string, answer: Readonly<Record<string, string>>): Refusal | undefined {
  const tier = answer['x-amz-archive-status'];
  const restored = /ongoing-request="false"/.test(answer['x-amz-restore'] ?? '');
  if (restored || (tier === undefined && !ARCHIVED.has(storageClass))) return undefined;
  return refusalOf(new BrokerError('source_archived', `${id} is in ${tier ?? storageClass}`));
}
