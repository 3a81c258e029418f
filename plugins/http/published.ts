import type { Checksums, ContentHeaders } from '../../core/api/index.ts';

type Headers = Readonly<Record<string, string>>;
type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

/** What a server tells of what lies at a URL. */
export interface Published {
  readonly size: number | undefined;
  readonly checksums: Checksums;
  /** Hex; of the bytes as they are sent. */
  readonly sha256: string | undefined;
  readonly headers: ContentHeaders;
  readonly modifiedAt: string | undefined;
  /** A strong ETag, quotes included: that of exactly these bytes. */
  readonly etag: string | undefined;
  readonly ranges: boolean;
}

/**
 * Reads the answer to a HEAD or GET.
 *
 * Checksums: `Repr-Digest` and `Content-Digest` (RFC 9530), `Digest` (RFC 3230), `Content-MD5`, `x-goog-hash` of Cloud
 * Storage, `x-amz-checksum-*` of S3.
 */
export function published(headers: Headers): Published {
  const sums = { ...digests(headers.digest), ...digests(headers['repr-digest']) };
  const full = headers['x-amz-checksum-type'] !== 'COMPOSITE';
  // Undone on the way: it is that of the bytes as they are stored.
  const undone = headers['x-goog-stored-content-encoding'] === 'gzip' && headers['content-encoding'] !== 'gzip';
  const google = undone ? {} : googleHash(headers['x-goog-hash']);
  const crc32c = google.crc32c ?? (full ? headers['x-amz-checksum-crc32c'] : undefined) ?? sums.crc32c;
  const md5 = google.md5 ?? headers['content-md5'] ?? sums.md5;
  const sha256 = sums['sha-256'] ?? (full ? headers['x-amz-checksum-sha256'] : undefined);
  const length = headers['content-length'];
  const time = Date.parse(headers['last-modified'] ?? '');
  return {
    size: length !== undefined && /^\d{1,16}$/.test(length) ? Number(length) : undefined,
    checksums: {
      ...(isBase64(crc32c, 4) ? { crc32c } : {}),
      ...(isBase64(md5, 16) ? { md5 } : {}),
    },
    sha256: isBase64(sha256, 32) ? Buffer.from(sha256, 'base64').toString('hex') : undefined,
    headers: contentHeaders(headers),
    modifiedAt: Number.isNaN(time) ? undefined : new Date(time).toISOString(),
    etag: /^"[^"]*"$/.test(headers.etag ?? '') ? headers.etag : undefined,
    ranges: headers['accept-ranges'] === 'bytes',
  };
}

const isBase64 = (text: string | undefined, bytes: number): text is string =>
  text !== undefined && /^[A-Za-z0-9+/]+={0,2}$/.test(text) && Buffer.from(text, 'base64').length === bytes;

/** `sha-256=:base64:` of RFC 9530, `SHA-256=base64` of RFC 3230. */
function digests(header = ''): Readonly<Record<string, string>> {
  const found = [...header.matchAll(/([\w-]+)=:?([A-Za-z0-9+/]+={0,2}):?/g)];
  return Object.fromEntries(found.map(([, name = '', value = '']) => [name.toLowerCase(), value]));
}

const googleHash = (header = ''): { readonly crc32c?: string; readonly md5?: string } =>
  Object.fromEntries(
    [...header.matchAll(/(crc32c|md5)=([A-Za-z0-9+/]+={0,2})/g)].map(([, name, value]) => [name, value]),
  );

function contentHeaders(headers: Headers): ContentHeaders {
  const kept: Mutable<ContentHeaders> = {};
  const keep = (name: keyof ContentHeaders, value: string | undefined): void => {
    if (value) kept[name] = value;
  };
  keep('contentType', headers['content-type']);
  keep('contentEncoding', headers['content-encoding']);
  keep('contentDisposition', headers['content-disposition']);
  keep('contentLanguage', headers['content-language']);
  return kept;
}
