import type { IncomingMessage } from 'node:http';
import { createGunzip } from 'node:zlib';
import { compileGlob } from '../../core/api/glob.ts';
import { GcsBucket, type GcsObject } from './gcs-objects.ts';
import { GcsUploads } from './gcs-uploads.ts';
import { googleError } from './iam-credentials.ts';
import type { GoogleToken } from './principals.ts';
import { json, LocalServer, type Reply, ReplyError } from './server.ts';

const READ_SCOPES = ['cloud-platform', 'devstorage.read_only', 'devstorage.read_write', 'devstorage.full_control'].map(
  (scope) => `https://www.googleapis.com/auth/${scope}`,
);
const WRITE_SCOPES = READ_SCOPES.filter((scope) => !scope.endsWith('read_only'));
const LIST_PARAMETERS = new Set([
  'prefix',
  'startOffset',
  'endOffset',
  'matchGlob',
  'maxResults',
  'pageToken',
  'fields',
  'userProject',
  'projection',
  'prettyPrint',
  'alt',
  'versions',
]);
const GET_PARAMETERS = new Set([
  'alt',
  'generation',
  'ifGenerationMatch',
  'ifGenerationNotMatch',
  'ifMetagenerationMatch',
  'userProject',
  'fields',
  'projection',
  'prettyPrint',
]);

/**
 * The JSON API of Cloud Storage: buckets, listing, metadata, media with ranges and transcoding, deletion.
 * Source: https://cloud.google.com/storage/docs/json_api/v1
 */
export class LocalGcs extends LocalServer {
  readonly buckets = new Map<string, GcsBucket>();
  readonly #uploads = new GcsUploads(resource);
  readonly #tokens: ReadonlyMap<string, GoogleToken>;
  readonly #now: () => number;

  constructor(tokens: ReadonlyMap<string, GoogleToken>, now: () => number) {
    super();
    this.#tokens = tokens;
    this.#now = now;
  }

  /** Resumable uploads that were begun, and neither finished nor ended. */
  pendingUploads(): number {
    return [...this.#uploads.sessions.values()].filter(({ done }) => done === undefined).length;
  }

  /** Adds a bucket that these principals may read. */
  bucket(name: string, readers: readonly string[] = ['allUsers'], writers: readonly string[] = []): GcsBucket {
    const bucket = this.add(new GcsBucket(name), readers);
    for (const writer of writers) bucket.writers.add(writer);
    return bucket;
  }

  add<Bucket extends GcsBucket>(bucket: Bucket, readers: readonly string[] = ['allUsers']): Bucket {
    for (const reader of readers) bucket.readers.add(reader);
    this.buckets.set(bucket.name, bucket);
    return bucket;
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    const path = (request.url ?? '').split('?')[0] ?? '';
    const found = /^(?:\/download|\/upload)?\/storage\/v1\/b\/([^/]+)(?:\/o(?:\/(.*))?)?$/.exec(path);
    if (found === null) return this.#other(request, path, url);
    const [, bucketName = '', encodedName] = found;
    const bucket = this.buckets.get(decodeURIComponent(bucketName));
    if (!path.startsWith('/upload/')) this.#authorize(request, bucket, url);
    if (bucket === undefined) return googleError(404, 'NOT_FOUND', 'The specified bucket does not exist.', 'notFound');
    if (path.startsWith('/upload/')) {
      this.#mayWrite(request, bucket, 'storage.objects.create');
      return this.#uploads.answer(request, url, bucket);
    }
    if (!path.includes('/o')) return json(200, bucketResource(bucket));
    if (encodedName === undefined) return list(bucket, url.searchParams);
    if (encodedName.includes('/'))
      return googleError(404, 'NOT_FOUND', 'Not Found: the object name is not percent-encoded');
    const object = wanted(bucket, decodeURIComponent(encodedName), url.searchParams);
    if (request.method === 'DELETE') {
      this.#mayWrite(request, bucket);
      if (bucket.retention > 0) {
        const message = `Object '${bucket.name}/${object.name}' is subject to bucket's retention policy or object retention and cannot be deleted or overwritten`;
        return googleError(403, 'PERMISSION_DENIED', message, 'retentionPolicyNotMet');
      }
      bucket.delete(object.name);
      return { status: 204 };
    }
    return url.searchParams.get('alt') === 'media' ? media(request, object) : json(200, resource(object));
  }

  /** testIamPermissions: which of the permissions the caller holds. Needs none. */
  #other(request: IncomingMessage, path: string, url: URL): Reply {
    const name = /^\/storage\/v1\/b\/([^/]+)\/iam\/testPermissions$/.exec(path)?.[1];
    if (name === undefined) return googleError(404, 'NOT_FOUND', 'Not Found');
    const token = this.#token(request);
    const bucket = this.buckets.get(decodeURIComponent(name));
    if (bucket === undefined) return googleError(404, 'NOT_FOUND', 'The specified bucket does not exist.', 'notFound');
    const reads = bucket.readers.has('allUsers') || (token !== undefined && bucket.readers.has(token.principal));
    const writes = bucket.writers.has('allUsers') || (token !== undefined && bucket.writers.has(token.principal));
    const asked = url.searchParams.getAll('permissions');
    const permissions = asked.filter((permission) => (/\.(?:delete|create)$/.test(permission) ? writes : reads));
    return json(200, {
      kind: 'storage#testIamPermissionsResponse',
      ...(permissions.length > 0 ? { permissions } : {}),
    });
  }

  #mayWrite(request: IncomingMessage, bucket: GcsBucket, permission = 'storage.objects.delete'): void {
    const token = this.#token(request);
    const scoped = token?.scopes.some((scope) => WRITE_SCOPES.includes(scope)) === true;
    if (bucket.writers.has('allUsers') || (scoped && bucket.writers.has(token.principal))) return;
    const message = `${token?.principal ?? 'Anonymous caller'} does not have ${permission} access to the Google Cloud Storage object.`;
    throw new ReplyError(googleError(403, 'PERMISSION_DENIED', message, 'forbidden'));
  }

  #token(request: IncomingMessage): GoogleToken | undefined {
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    const token = bearer === undefined ? undefined : this.#tokens.get(bearer);
    if (bearer !== undefined && (token === undefined || token.expiresAt <= this.#now())) {
      throw new ReplyError(googleError(401, 'UNAUTHENTICATED', 'Invalid Credentials', 'authError'));
    }
    return token;
  }

  #authorize(request: IncomingMessage, bucket: GcsBucket | undefined, url: URL): void {
    const token = this.#token(request);
    if (bucket === undefined) return;
    if (bucket.requesterPays && url.searchParams.get('userProject') === null) {
      throw new ReplyError(
        googleError(
          400,
          'INVALID_ARGUMENT',
          'Bucket is a requester pays bucket but no user project provided.',
          'required',
        ),
      );
    }
    const reads =
      token?.scopes.some((scope) => READ_SCOPES.includes(scope)) === true && bucket.readers.has(token.principal);
    const limited = token?.within !== undefined && !withinBoundary(token.within, bucket.name, url);
    if (!limited && (bucket.readers.has('allUsers') || reads)) return;
    const who = token?.principal ?? 'Anonymous caller';
    const permission = url.pathname.endsWith('/o') ? 'storage.objects.list' : 'storage.objects.get';
    const message = `${who} does not have ${permission} access to the Google Cloud Storage ${permission.endsWith('list') ? 'bucket' : 'object'}. Permission '${permission}' denied on resource (or it may not exist).`;
    throw new ReplyError(
      googleError(
        token === undefined ? 401 : 403,
        token === undefined ? 'UNAUTHENTICATED' : 'PERMISSION_DENIED',
        message,
        token === undefined ? 'required' : 'forbidden',
      ),
    );
  }
}

/** Whether a credential access boundary allows the request: objects below the prefix, and listing below it. */
function withinBoundary(within: NonNullable<GoogleToken['within']>, bucket: string, url: URL): boolean {
  const object = /\/o\/(.+)$/.exec(url.pathname)?.[1];
  const name = object === undefined ? (url.searchParams.get('prefix') ?? '') : decodeURIComponent(object);
  const fits = (prefix: string, exact?: true): boolean =>
    exact ? object !== undefined && name === prefix : name.startsWith(prefix);
  return within.some((one) => one.bucket === bucket && fits(one.prefix, one.exact));
}

const bucketResource = ({ name, location, softDelete, retention }: GcsBucket): Record<string, unknown> => ({
  kind: 'storage#bucket',
  name,
  location,
  locationType: location.includes('-') ? 'region' : 'multi-region',
  storageClass: 'STANDARD',
  softDeletePolicy: { retentionDurationSeconds: String(softDelete) },
  ...(retention === 0 ? {} : { retentionPolicy: { retentionPeriod: String(retention), isLocked: true } }),
});

function list(bucket: GcsBucket, query: URLSearchParams): Reply {
  refuseUnknown(query, LIST_PARAMETERS);
  const prefix = query.get('prefix') ?? '';
  const most = Math.min(1000, Number(query.get('maxResults') ?? 1000));
  const glob = query.get('matchGlob');
  const matches = glob === null ? () => true : compileGlob(glob);
  const end = query.get('endOffset');
  const token = query.get('pageToken');
  const start = [
    prefix,
    query.get('startOffset') ?? '',
    token === null ? '' : Buffer.from(token, 'base64url').toString(),
  ].reduce((a, b) => (Buffer.compare(Buffer.from(a), Buffer.from(b)) > 0 ? a : b));
  const items: GcsObject[] = [];
  let next: string | undefined;
  for (const object of bucket.from(start)) {
    if (
      !object.name.startsWith(prefix) ||
      (end !== null && Buffer.compare(Buffer.from(object.name), Buffer.from(end)) >= 0)
    )
      break;
    if (!matches(object.name)) continue;
    if (items.length === most) {
      next = object.name;
      break;
    }
    items.push(object);
  }
  const nextPageToken = next === undefined ? {} : { nextPageToken: Buffer.from(next).toString('base64url') };
  const answer = {
    kind: 'storage#objects',
    ...(items.length === 0 ? {} : { items: items.map(resource) }),
    ...nextPageToken,
  };
  return json(200, masked(answer, query.get('fields')));
}

/** Partial responses: `items(name,size),nextPageToken`. What the mask forgets is not in the answer. */
function masked(answer: Record<string, unknown>, mask: string | null): unknown {
  if (mask === null) return answer;
  const inner = /items\(([^)]*)\)/.exec(mask);
  const outer = mask.replace(/\([^)]*\)/g, '').split(',');
  const kept = Object.fromEntries(Object.entries(answer).filter(([name]) => outer.includes(name)));
  if (inner === null || !Array.isArray(kept.items)) return kept;
  const names = new Set(inner[1]?.split(','));
  const items = kept.items as Record<string, unknown>[];
  return {
    ...kept,
    items: items.map((item) => Object.fromEntries(Object.entries(item).filter(([name]) => names.has(name)))),
  };
}

function wanted(bucket: GcsBucket, name: string, query: URLSearchParams): GcsObject {
  refuseUnknown(query, GET_PARAMETERS);
  const generation = query.get('generation');
  const object = (generation === null ? undefined : bucket.older(name, generation)) ?? bucket.get(name);
  if (object === undefined || (generation !== null && generation !== object.generation)) {
    throw new ReplyError(googleError(404, 'NOT_FOUND', `No such object: ${bucket.name}/${name}`, 'notFound'));
  }
  const match = query.get('ifGenerationMatch');
  if (match !== null && match !== object.generation) {
    throw new ReplyError(
      googleError(
        412,
        'FAILED_PRECONDITION',
        'At least one of the pre-conditions you specified did not hold.',
        'conditionNotMet',
      ),
    );
  }
  return object;
}

function refuseUnknown(query: URLSearchParams, known: ReadonlySet<string>): void {
  for (const name of query.keys()) {
    if (!known.has(name))
      throw new ReplyError(googleError(400, 'INVALID_ARGUMENT', `Unknown parameter ${name}`, 'invalidParameter'));
  }
}

function resource({ body: _body, ...object }: GcsObject): Record<string, unknown> {
  return {
    kind: 'storage#object',
    id: `${object.bucket}/${object.name}/${object.generation}`,
    ...object,
    etag: Buffer.from(object.generation).toString('base64'),
  };
}

function media(request: IncomingMessage, object: GcsObject): Reply {
  if (object.customerEncryption !== undefined) {
    return googleError(
      400,
      'INVALID_ARGUMENT',
      'The target object is encrypted by a customer-supplied encryption key.',
      'resourceIsEncryptedWithCustomerEncryptionKey',
    );
  }
  const md5 = object.md5Hash === undefined ? '' : `,md5=${object.md5Hash}`;
  const headers: Record<string, string> = {
    'content-type': object.contentType ?? 'application/octet-stream',
    etag: `"${object.generation}"`,
    'x-goog-generation': object.generation,
    'x-goog-metageneration': object.metageneration,
    'x-goog-hash': `crc32c=${object.crc32c}${md5}`,
    'x-goog-stored-content-encoding': object.contentEncoding ?? 'identity',
    'x-goog-stored-content-length': object.size,
    'x-goog-storage-class': object.storageClass,
    ...(object.cacheControl === undefined ? {} : { 'cache-control': object.cacheControl }),
  };
  const size = object.body.size;
  // Decompressive transcoding: unless the client accepts gzip, it gets the decompressed bytes, without a length.
  const raw =
    /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? '')) || /no-transform/.test(object.cacheControl ?? '');
  if (object.contentEncoding === 'gzip' && !raw) {
    return { status: 200, headers: { ...headers, warning: '214 UploadServer gunzipped' }, body: gunzipped(object) };
  }
  if (object.contentEncoding !== undefined) headers['content-encoding'] = object.contentEncoding;
  const range = /^bytes=(\d+)-(\d*)$/.exec(String(request.headers.range ?? ''));
  if (range === null) return { status: 200, headers, body: object.body.read(0, size), length: size };
  const start = Number(range[1]);
  const end = Math.min(size, range[2] === '' ? size : Number(range[2]) + 1);
  if (start >= size) return { status: 416, headers: { 'content-range': `bytes */${size}` } };
  headers['content-range'] = `bytes ${start}-${end - 1}/${size}`;
  return { status: 206, headers, body: object.body.read(start, end), length: end - start };
}

async function* gunzipped(object: GcsObject): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip();
  for await (const chunk of object.body.read(0, object.body.size)) gunzip.write(chunk);
  gunzip.end();
  yield* gunzip;
}
