import { createHash, randomBytes } from 'node:crypto';
import { combineCrc32c, EMPTY_CRC32C } from '../../core/api/checksum.ts';
import { compareKeys } from '../../core/api/keys.ts';
import { receive } from './s3-body.ts';
import { ALGORITHMS, type Algorithm, composite, FULL_OBJECT, hashOf } from './s3-checksums.ts';
import type { ChecksumType, S3Object, S3Part, S3Upload } from './s3-objects.ts';
import { checkConditions, etagOf, newVersion, objectHeaders, type S3Request, writtenHeaders } from './s3-requests.ts';
import { element, elements, escapeXml, s3Error, s3Xml } from './s3-xml.ts';
import { type Reply, readBody } from './server.ts';

const SMALLEST_PART = 5 * 1024 * 1024;
const MOST_PARTS = 10_000;

export function createUpload(request: S3Request): Reply {
  const { bucket, key, headers } = request;
  const algorithm = algorithmNamed(headers['x-amz-checksum-algorithm']);
  const type = headers['x-amz-checksum-type'] as ChecksumType | undefined;
  if (type === 'FULL_OBJECT' && algorithm !== undefined && !FULL_OBJECT.has(algorithm)) {
    throw s3Error(
      400,
      'InvalidRequest',
      `The FULL_OBJECT checksum type cannot be used with the ${algorithm} checksum algorithm.`,
    );
  }
  const upload: S3Upload = {
    id: randomBytes(24).toString('base64url'),
    key,
    headers: objectHeaders(request),
    tags: headers['x-amz-tagging'],
    algorithm,
    checksumType: type,
    initiated: new Date(),
    parts: new Map(),
  };
  bucket.uploads.set(upload.id, upload);
  return s3Xml(
    200,
    'InitiateMultipartUploadResult',
    `<Bucket>${bucket.name}</Bucket><Key>${escapeXml(key)}</Key><UploadId>${upload.id}</UploadId>`,
  );
}

const algorithmNamed = (name: string | undefined): Algorithm | undefined =>
  ALGORITHMS.find((known) => known === name?.toLowerCase());

function uploadOf({ bucket, key, query }: S3Request): S3Upload {
  const upload = bucket.uploads.get(query.get('uploadId') ?? '');
  if (upload !== undefined && upload.key === key) return upload;
  throw s3Error(
    404,
    'NoSuchUpload',
    'The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.',
  );
}

export async function uploadPart(request: S3Request): Promise<Reply> {
  const number = Number(request.query.get('partNumber'));
  if (!Number.isInteger(number) || number < 1 || number > MOST_PARTS) {
    throw s3Error(400, 'InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive');
  }
  const upload = uploadOf(request);
  const wanted = upload.algorithm === undefined ? [] : [upload.algorithm];
  const received = await receive(request.http, request.bucket.keep, wanted);
  if (received.chosen !== undefined && upload.algorithm !== undefined && received.chosen !== upload.algorithm) {
    throw s3Error(
      400,
      'InvalidRequest',
      `Checksum Type mismatch occurred, expected checksum Type: ${upload.algorithm}, actual checksum Type: ${received.chosen}`,
    );
  }
  if (request.bucket.wantsPartSums !== undefined && received.chosen === undefined)
    throw s3Error(400, 'InvalidArgument', request.bucket.wantsPartSums);
  uploadOf(request); // it may have been aborted while the body came
  const etag = `"${received.md5Hex === 'd'.repeat(32) ? randomBytes(16).toString('hex') : received.md5Hex}"`;
  upload.parts.set(number, {
    etag,
    size: received.size,
    checksums: received.checksums,
    chunks: received.chunks,
    lastModified: new Date(),
  });
  const sums = Object.entries(received.checksums).map(([name, value]) => [`x-amz-checksum-${name}`, value] as const);
  return { status: 200, headers: { etag, ...Object.fromEntries(sums) } };
}

export function abortUpload(request: S3Request): Reply {
  request.bucket.uploads.delete(uploadOf(request).id);
  return { status: 204 };
}

export async function completeUpload(request: S3Request): Promise<Reply> {
  const { bucket, key, query, headers } = request;
  const xml = (await readBody(request.http)).toString();
  const again = bucket.completed.get(query.get('uploadId') ?? '');
  if (again !== undefined && !bucket.uploads.has(query.get('uploadId') ?? '')) return completed(bucket.name, again);
  const upload = uploadOf(request);
  const parts = listedParts(xml, upload);
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  const announced = headers['x-amz-mp-object-size'];
  if (announced !== undefined && Number(announced) !== size) {
    throw s3Error(
      400,
      'InvalidRequest',
      'The provided x-amz-mp-object-size header does not match the size of the object.',
    );
  }
  const { checksums, type } = await wholeChecksum(upload, parts);
  for (const name of ALGORITHMS) {
    const sent = headers[`x-amz-checksum-${name}`];
    if (sent !== undefined && sent !== checksums[name])
      throw s3Error(400, 'BadDigest', `The ${name.toUpperCase()} you specified did not match the calculated checksum.`);
  }
  const digest = createHash('md5');
  for (const part of parts) digest.update(Buffer.from(part.etag.replaceAll('"', ''), 'hex'));
  checkConditions(request);
  if (!bucket.uploads.has(upload.id))
    throw s3Error(404, 'NoSuchUpload', 'The specified multipart upload does not exist.');
  const object: S3Object = {
    key,
    size,
    etag: etagOf(`${digest.digest('hex')}-${parts.length}`, upload.headers),
    lastModified: new Date(),
    headers: upload.headers,
    tags: upload.tags,
    checksums,
    checksumType: type,
    parts: parts.length,
    version: newVersion(bucket),
    chunks: parts.flatMap((part) => part.chunks),
  };
  bucket.store(object);
  bucket.uploads.delete(upload.id);
  bucket.completed.set(upload.id, object);
  return completed(bucket.name, object);
}

function listedParts(xml: string, upload: S3Upload): S3Part[] {
  const listed = elements(xml, 'Part');
  if (listed.length === 0 || !xml.includes('<CompleteMultipartUpload')) {
    throw s3Error(
      400,
      'MalformedXML',
      'The XML you provided was not well-formed or did not validate against our published schema',
    );
  }
  let last = 0;
  const parts = listed.map((text) => {
    const number = Number(element(text, 'PartNumber'));
    if (number <= last)
      throw s3Error(
        400,
        'InvalidPartOrder',
        'The list of parts was not in ascending order. Parts must be ordered by part number.',
      );
    last = number;
    const part = upload.parts.get(number);
    const etag = (element(text, 'ETag') ?? '').replaceAll('"', '');
    const sums = ALGORITHMS.every((name) =>
      [undefined, part?.checksums[name]].includes(element(text, `Checksum${name.toUpperCase()}`)),
    );
    if (part === undefined || part.etag.replaceAll('"', '') !== etag || !sums) {
      throw s3Error(
        400,
        'InvalidPart',
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
      );
    }
    return part;
  });
  if (parts.slice(0, -1).some((part) => part.size < SMALLEST_PART)) {
    throw s3Error(400, 'EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed size');
  }
  return parts;
}

async function wholeChecksum(
  upload: S3Upload,
  parts: readonly S3Part[],
): Promise<{ checksums: S3Object['checksums']; type: ChecksumType }> {
  const algorithm = upload.algorithm ?? 'crc64nvme';
  const type = upload.checksumType ?? (algorithm === 'crc64nvme' ? 'FULL_OBJECT' : 'COMPOSITE');
  if (type === 'COMPOSITE') {
    return {
      checksums: {
        [algorithm]: await composite(
          algorithm,
          parts.map((part) => part.checksums[algorithm] ?? ''),
        ),
      },
      type,
    };
  }
  if (algorithm === 'crc32c') {
    const sum = parts.reduce(
      (all, part) => combineCrc32c(all, part.checksums.crc32c ?? EMPTY_CRC32C, part.size),
      EMPTY_CRC32C,
    );
    return { checksums: { crc32c: sum }, type };
  }
  const hash = await hashOf(algorithm);
  for (const part of parts) for (const chunk of part.chunks) hash.update(chunk);
  return { checksums: { [algorithm]: hash.digest() }, type };
}

const completed = (bucket: string, object: S3Object): Reply => {
  const sums = Object.entries(object.checksums)
    .map(([name, value]) => `<Checksum${name.toUpperCase()}>${value}</Checksum${name.toUpperCase()}>`)
    .join('');
  const inner = `<Location>http://s3/${bucket}/${escapeXml(encodeURIComponent(object.key))}</Location><Bucket>${bucket}</Bucket><Key>${escapeXml(object.key)}</Key><ETag>${escapeXml(object.etag)}</ETag>${sums}<ChecksumType>${object.checksumType}</ChecksumType>`;
  const { etag: _etag, ...headers } = writtenHeaders(object);
  return s3Xml(200, 'CompleteMultipartUploadResult', inner, headers);
};

const partSums = (part: S3Part): string =>
  Object.entries(part.checksums)
    .map(([name, value]) => `<Checksum${name.toUpperCase()}>${value}</Checksum${name.toUpperCase()}>`)
    .join('');

export function listParts(request: S3Request): Reply {
  const upload = uploadOf(request);
  const after = Number(request.query.get('part-number-marker') ?? 0);
  const parts = [...upload.parts].filter(([number]) => number > after).sort(([a], [b]) => a - b);
  const page = parts.slice(0, Math.min(1000, Number(request.query.get('max-parts') ?? 1000)));
  const entries = page.map(
    ([number, part]) =>
      `<Part><PartNumber>${number}</PartNumber><LastModified>${part.lastModified.toISOString()}</LastModified><ETag>${escapeXml(part.etag)}</ETag><Size>${part.size}</Size>${partSums(part)}</Part>`,
  );
  const truncated = parts.length > page.length;
  const marker = truncated ? `<NextPartNumberMarker>${page.at(-1)?.[0]}</NextPartNumberMarker>` : '';
  return s3Xml(
    200,
    'ListPartsResult',
    `<Bucket>${request.bucket.name}</Bucket><Key>${escapeXml(request.key)}</Key><UploadId>${upload.id}</UploadId>${marker}<IsTruncated>${truncated}</IsTruncated>${entries.join('')}`,
  );
}

export function listUploads({ bucket, query }: S3Request): Reply {
  const prefix = query.get('prefix') ?? '';
  const [key, id] = [query.get('key-marker') ?? '', query.get('upload-id-marker') ?? ''];
  const most = Math.min(1000, Number(query.get('max-uploads') ?? 1000));
  const url = query.get('encoding-type') === 'url';
  const encode = (text: string): string => (url ? encodeURIComponent(text).replace(/%20/g, '+') : escapeXml(text));
  const all = [...bucket.uploads.values()]
    .filter((upload) => upload.key.startsWith(prefix))
    .sort((a, b) => compareKeys(a.key, b.key) || compareKeys(a.id, b.id));
  // The marker need not be there any more.
  const isLeft = (upload: S3Upload): boolean =>
    compareKeys(upload.key, key) > 0 || (id !== '' && upload.key === key && compareKeys(upload.id, id) > 0);
  const left = all.filter(isLeft);
  const page = left.slice(0, most);
  const last = page.at(-1);
  const more = left.length > page.length && last !== undefined;
  const entries = page.map(
    (upload) =>
      `<Upload><Key>${encode(upload.key)}</Key><UploadId>${upload.id}</UploadId><Initiated>${upload.initiated.toISOString()}</Initiated></Upload>`,
  );
  const next = more
    ? `<NextKeyMarker>${encode(last.key)}</NextKeyMarker><NextUploadIdMarker>${last.id}</NextUploadIdMarker>`
    : '';
  const head = `<Bucket>${bucket.name}</Bucket><IsTruncated>${more}</IsTruncated>${next}`;
  return s3Xml(200, 'ListMultipartUploadsResult', head + entries.join(''));
}
