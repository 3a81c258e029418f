import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { compareKeys } from '../../core/api/keys.ts';
import { receive } from './s3-body.ts';
import { ALGORITHMS, type Algorithm } from './s3-checksums.ts';
import type { S3Bucket, S3Object } from './s3-objects.ts';
import { escapeXml, s3Error, s3Xml } from './s3-xml.ts';
import { type Reply, ReplyError } from './server.ts';

/** One request to one bucket, after its signature was verified. */
export interface S3Request {
  readonly http: IncomingMessage;
  readonly bucket: S3Bucket;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
}

const KEPT = [
  'content-type',
  'content-encoding',
  'cache-control',
  'content-disposition',
  'content-language',
  'expires',
];
const ENCRYPTION = [
  'x-amz-server-side-encryption',
  'x-amz-server-side-encryption-aws-kms-key-id',
  'x-amz-server-side-encryption-bucket-key-enabled',
];
const CLASSES = new Set([
  'STANDARD',
  'REDUCED_REDUNDANCY',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER',
  'DEEP_ARCHIVE',
  'GLACIER_IR',
]);

/** What belongs to the object itself among the headers of a PUT or CreateMultipartUpload. */
export function objectHeaders({ headers }: S3Request): Record<string, string> {
  const kept: Record<string, string> = {};
  let metadata = 0;
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue;
    if (KEPT.includes(name) || ENCRYPTION.includes(name) || name.startsWith('x-amz-meta-')) kept[name] = value;
    if (name.startsWith('x-amz-meta-'))
      metadata += name.length - 'x-amz-meta-'.length + Buffer.byteLength(value, 'latin1');
  }
  if (metadata > 2048)
    throw s3Error(400, 'MetadataTooLarge', 'Your metadata headers exceed the maximum allowed metadata size');
  if (kept['content-encoding'] === 'aws-chunked') delete kept['content-encoding'];
  const storage = headers['x-amz-storage-class'];
  if (storage !== undefined && !CLASSES.has(storage))
    throw s3Error(400, 'InvalidStorageClass', 'The storage class you specified is not valid');
  if (storage !== undefined && storage !== 'STANDARD') kept['x-amz-storage-class'] = storage;
  return { 'content-type': 'binary/octet-stream', ...kept };
}

/** KMS-encrypted objects have an ETag that looks like an MD5 and is none. */
export const etagOf = (md5Hex: string, headers: Readonly<Record<string, string>>): string =>
  `"${headers['x-amz-server-side-encryption']?.startsWith('aws:kms') === true ? randomBytes(16).toString('hex') : md5Hex}"`;

/** Conditional writes. Called at the moment of commit, with nothing awaited in between. */
export function checkConditions({ bucket, key, headers }: S3Request): void {
  const present = bucket.objects.get(key);
  if (headers['if-none-match'] === '*' && present !== undefined) throw preconditionFailed('If-None-Match');
  const match = headers['if-match'];
  if (match === undefined) return;
  if (present === undefined) throw s3Error(404, 'NoSuchKey', 'The specified key does not exist.');
  if (unquoted(match) !== unquoted(present.etag)) throw preconditionFailed('If-Match');
}

const unquoted = (etag: string): string => etag.replace(/^"|"$/g, '');
const preconditionFailed = (condition: string): ReplyError =>
  s3Error(412, 'PreconditionFailed', 'At least one of the pre-conditions you specified did not hold', {
    Condition: condition,
  });

export const checksumHeaders = (checksums: S3Object['checksums'], type: string): Record<string, string> => ({
  ...Object.fromEntries(Object.entries(checksums).map(([name, value]) => [`x-amz-checksum-${name}`, value])),
  ...(Object.keys(checksums).length === 0 ? {} : { 'x-amz-checksum-type': type }),
});

const encryptionOf = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => ENCRYPTION.includes(name)));

export const writtenHeaders = (object: S3Object): Record<string, string> => ({
  etag: object.etag,
  ...checksumHeaders(object.checksums, object.checksumType),
  ...encryptionOf(object.headers),
  ...(object.version === undefined ? {} : { 'x-amz-version-id': object.version }),
});

export const newVersion = (bucket: S3Bucket): string | undefined =>
  bucket.versioned ? randomBytes(16).toString('base64url') : undefined;

export async function putObject(request: S3Request): Promise<Reply> {
  const { bucket, key } = request;
  const headers = objectHeaders(request);
  const received = await receive(request.http, bucket.keep, ['crc64nvme']);
  const { crc64nvme, ...sent } = received.checksums;
  const checksums =
    received.chosen === undefined || received.chosen === 'crc64nvme' ? { crc64nvme: crc64nvme ?? '' } : sent;
  checkConditions(request);
  const object: S3Object = {
    key,
    size: received.size,
    etag: etagOf(received.md5Hex, headers),
    lastModified: new Date(),
    headers,
    tags: request.headers['x-amz-tagging'],
    checksums,
    checksumType: 'FULL_OBJECT',
    parts: undefined,
    version: newVersion(bucket),
    chunks: received.chunks,
  };
  bucket.store(object);
  return { status: 200, headers: writtenHeaders(object) };
}

export function getObject(request: S3Request, head: boolean): Reply {
  const object = existing(request, head);
  const { headers } = request;
  const match = headers['if-match'];
  if (match !== undefined && unquoted(match) !== unquoted(object.etag)) throw preconditionFailed('If-Match');
  const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '');
  const base: Record<string, string> = {
    ...object.headers,
    etag: object.etag,
    'last-modified': object.lastModified.toUTCString(),
    'accept-ranges': 'bytes',
    ...(object.version === undefined ? {} : { 'x-amz-version-id': object.version }),
    ...(headers['x-amz-checksum-mode'] === 'ENABLED' && range === null
      ? checksumHeaders(object.checksums, object.checksumType)
      : {}),
  };
  if (head) return { status: 200, headers: base, body: noBytes(), length: object.size };
  const bytes = Buffer.concat(object.chunks);
  if (range === null) return { status: 200, headers: base, body: bytes };
  const start = Number(range[1]);
  const end = Math.min(object.size, range[2] === '' ? object.size : Number(range[2]) + 1);
  if (start >= object.size) throw s3Error(416, 'InvalidRange', 'The requested range is not satisfiable');
  return {
    status: 206,
    headers: { ...base, 'content-range': `bytes ${start}-${end - 1}/${object.size}` },
    body: bytes.subarray(start, end),
  };
}

async function* noBytes(): AsyncGenerator<Uint8Array> {}

function existing({ bucket, key }: S3Request, head = false): S3Object {
  const object = bucket.objects.get(key);
  if (object !== undefined) return object;
  throw head
    ? new ReplyError({ status: 404 })
    : s3Error(404, 'NoSuchKey', 'The specified key does not exist.', { Key: key });
}

export function deleteObject(request: S3Request): Reply {
  const present = request.bucket.objects.get(request.key);
  const match = request.headers['if-match'];
  if (match !== undefined && present === undefined)
    throw s3Error(404, 'NoSuchKey', 'The specified key does not exist.', { Key: request.key });
  if (match !== undefined && match !== '*' && present !== undefined && unquoted(match) !== unquoted(present.etag))
    throw preconditionFailed('If-Match');
  request.bucket.remove(request.key);
  return { status: 204 };
}

export function objectAttributes(request: S3Request): Reply {
  const object = existing(request);
  const wanted = new Set((request.headers['x-amz-object-attributes'] ?? '').split(',').map((name) => name.trim()));
  const xmlName = (name: Algorithm): string => `Checksum${name.toUpperCase()}`;
  const sums = ALGORITHMS.filter((name) => object.checksums[name] !== undefined)
    .map((name) => `<${xmlName(name)}>${object.checksums[name]}</${xmlName(name)}>`)
    .join('');
  const inner = [
    wanted.has('ETag') ? `<ETag>${unquoted(object.etag)}</ETag>` : '',
    wanted.has('Checksum') ? `<Checksum>${sums}<ChecksumType>${object.checksumType}</ChecksumType></Checksum>` : '',
    wanted.has('ObjectParts') && object.parts !== undefined
      ? `<ObjectParts><PartsCount>${object.parts}</PartsCount></ObjectParts>`
      : '',
    wanted.has('ObjectSize') ? `<ObjectSize>${object.size}</ObjectSize>` : '',
  ].join('');
  return s3Xml(200, 'GetObjectAttributesResponse', inner, { 'last-modified': object.lastModified.toUTCString() });
}

/** ListObjectsV2. Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html */
export function listObjects({ bucket, query }: S3Request): Reply {
  const prefix = query.get('prefix') ?? '';
  const most = Math.min(1000, Number(query.get('max-keys') ?? 1000));
  const token = query.get('continuation-token');
  const after = token === null ? (query.get('start-after') ?? '') : Buffer.from(token, 'base64url').toString();
  const url = query.get('encoding-type') === 'url';
  const encode = (text: string): string =>
    url ? encodeURIComponent(text).replace(/%2F/g, '/').replace(/%20/g, '+') : escapeXml(text);
  const matching = bucket.keys().filter((key) => key.startsWith(prefix) && compareKeys(key, after) > 0);
  const page = matching.slice(0, most);
  const entries = page.map((key) => {
    const object = bucket.objects.get(key);
    if (object === undefined) return '';
    const algorithm = Object.keys(object.checksums)[0]?.toUpperCase();
    const sums =
      algorithm === undefined
        ? ''
        : `<ChecksumAlgorithm>${algorithm}</ChecksumAlgorithm><ChecksumType>${object.checksumType}</ChecksumType>`;
    return `<Contents><Key>${encode(key)}</Key><LastModified>${object.lastModified.toISOString()}</LastModified><ETag>${escapeXml(object.etag)}</ETag>${sums}<Size>${object.size}</Size><StorageClass>${object.headers['x-amz-storage-class'] ?? 'STANDARD'}</StorageClass></Contents>`;
  });
  const truncated = matching.length > page.length;
  const next = truncated
    ? `<NextContinuationToken>${Buffer.from(page.at(-1) ?? '').toString('base64url')}</NextContinuationToken>`
    : '';
  const head = `<Name>${bucket.name}</Name><Prefix>${encode(prefix)}</Prefix><KeyCount>${page.length}</KeyCount><MaxKeys>${most}</MaxKeys>${url ? '<EncodingType>url</EncodingType>' : ''}<IsTruncated>${truncated}</IsTruncated>${next}`;
  return s3Xml(200, 'ListBucketResult', head + entries.join(''));
}
