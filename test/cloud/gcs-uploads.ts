import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { crc32c } from './body.ts';
import type { GcsBucket, GcsObject, PutOptions } from './gcs-objects.ts';
import { googleError } from './iam-credentials.ts';
import { json, type Reply, ReplyError, readBody } from './server.ts';

/** A session of a resumable upload. */
interface Session {
  readonly bucket: GcsBucket;
  readonly name: string;
  readonly metadata: Metadata;
  readonly conditions: URLSearchParams;
  readonly chunks: Buffer[];
  done?: GcsObject;
}

type Metadata = Omit<PutOptions, 'crc32c'> & {
  readonly name?: string;
  readonly crc32c?: string;
  readonly md5Hash?: string;
};

const QUANTUM = 256 * 1024;
const PARAMETERS = new Set([
  'uploadType',
  'name',
  'upload_id',
  'ifGenerationMatch',
  'ifMetagenerationMatch',
  'kmsKeyName',
  'predefinedAcl',
  'userProject',
  'fields',
  'projection',
  'prettyPrint',
  'alt',
]);

/**
 * Uploads of the JSON API: at once with metadata (`multipart`), and resumable.
 * Source: https://cloud.google.com/storage/docs/performing-resumable-uploads
 */
export class GcsUploads {
  readonly sessions = new Map<string, Session>();
  readonly #resource: (object: GcsObject) => object;

  constructor(resource: (object: GcsObject) => object) {
    this.#resource = resource;
  }

  async answer(request: IncomingMessage, url: URL, bucket: GcsBucket): Promise<Reply> {
    const query = url.searchParams;
    for (const name of query.keys())
      if (!PARAMETERS.has(name)) return googleError(400, 'INVALID_ARGUMENT', `Unknown parameter ${name}`);
    const type = query.get('uploadType');
    if (type === 'multipart' && request.method === 'POST') return this.#atOnce(request, query, bucket);
    if (type === 'media' && request.method === 'POST') {
      const metadata = { contentType: request.headers['content-type'] ?? 'application/octet-stream' };
      return this.#created(bucket, query.get('name') ?? '', await readBody(request), metadata, query);
    }
    if (type === 'resumable' && request.method === 'POST') return this.#begin(request, query, bucket);
    const session = this.sessions.get(query.get('upload_id') ?? '');
    if (session === undefined) return googleError(404, 'NOT_FOUND', 'No such upload session', 'notFound');
    if (request.method === 'DELETE') {
      this.sessions.delete(query.get('upload_id') ?? '');
      return { status: 499 };
    }
    return this.#chunk(request, session);
  }

  async #atOnce(request: IncomingMessage, query: URLSearchParams, bucket: GcsBucket): Promise<Reply> {
    const boundary = /boundary="?([^";]+)"?/.exec(request.headers['content-type'] ?? '')?.[1];
    if (boundary === undefined) return googleError(400, 'INVALID_ARGUMENT', 'Missing multipart boundary.');
    const body = await readBody(request);
    const parts = partsIn(body, boundary);
    if (parts.length !== 2) return googleError(400, 'INVALID_ARGUMENT', 'Multipart must have two parts.');
    const metadata = JSON.parse((parts[0] ?? '').toString()) as Metadata;
    return this.#created(
      bucket,
      query.get('name') ?? metadata.name ?? '',
      parts[1] ?? Buffer.alloc(0),
      metadata,
      query,
    );
  }

  async #begin(request: IncomingMessage, query: URLSearchParams, bucket: GcsBucket): Promise<Reply> {
    const metadata = JSON.parse((await readBody(request)).toString() || '{}') as Metadata;
    const id = randomUUID();
    const name = query.get('name') ?? metadata.name ?? '';
    expect(bucket, name, query);
    this.sessions.set(id, { bucket, name, metadata, conditions: query, chunks: [] });
    const host = `http://${request.headers.host}`;
    const location = `${host}/upload/storage/v1/b/${bucket.name}/o?uploadType=resumable&upload_id=${id}`;
    return { status: 200, headers: { location, 'content-length': '0' }, body: '' };
  }

  async #chunk(request: IncomingMessage, session: Session): Promise<Reply> {
    const body = await readBody(request);
    if (session.done !== undefined) return json(200, this.#resource(session.done));
    const range = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/.exec(request.headers['content-range'] ?? '');
    if (range === null) return googleError(400, 'INVALID_ARGUMENT', 'Failed to parse Content-Range header.');
    const held = session.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    const [, first, last, total = '*'] = range;
    if (first !== undefined) {
      if (Number(last) - Number(first) + 1 !== body.length)
        return googleError(400, 'INVALID_ARGUMENT', 'Content-Range does not fit the body.');
      if (Number(first) > held) return googleError(503, 'UNAVAILABLE', 'Invalid request: a gap in the upload.');
      const isLast = total !== '*' && Number(last) + 1 === Number(total);
      if (!isLast && body.length % QUANTUM !== 0)
        return googleError(400, 'INVALID_ARGUMENT', `Chunks must be multiples of ${QUANTUM} bytes.`);
      session.chunks.push(body.subarray(held - Number(first)));
    }
    const bytes = Buffer.concat(session.chunks);
    if (total === '*' || bytes.length < Number(total)) {
      const so = bytes.length === 0 ? {} : { range: `bytes=0-${bytes.length - 1}` };
      return { status: 308, headers: { ...so, 'content-length': '0' }, body: '' };
    }
    const told = /crc32c=([^,\s]+)/.exec(String(request.headers['x-goog-hash'] ?? ''))?.[1];
    const metadata = told === undefined ? session.metadata : { ...session.metadata, crc32c: told };
    return this.#created(session.bucket, session.name, bytes, metadata, session.conditions, session);
  }

  #created(
    bucket: GcsBucket,
    name: string,
    bytes: Buffer,
    metadata: Metadata,
    query: URLSearchParams,
    session?: Session,
  ): Reply {
    if (name === '' || Buffer.byteLength(name) > 1024 || /[\r\n]/.test(name) || name === '.' || name === '..')
      return googleError(400, 'INVALID_ARGUMENT', `Invalid object name: '${name}'`, 'invalid');
    const { crc32c: expected, md5Hash, name: _, ...options } = metadata;
    if (expected !== undefined && expected !== crc32c(bytes))
      return googleError(
        400,
        'INVALID_ARGUMENT',
        `Provided CRC32C "${expected}" doesn't match calculated CRC32C "${crc32c(bytes)}".`,
        'invalid',
      );
    expect(bucket, name, query);
    const object = bucket.put(name, bytes, options);
    if (md5Hash !== undefined && md5Hash !== object.md5Hash) {
      bucket.delete(name);
      return googleError(400, 'INVALID_ARGUMENT', `Provided MD5 hash "${md5Hash}" doesn't match calculated MD5 hash.`);
    }
    if (session !== undefined) session.done = object;
    return json(200, this.#resource(object));
  }
}

function expect(bucket: GcsBucket, name: string, query: URLSearchParams): void {
  const wanted = query.get('ifGenerationMatch');
  if (wanted === null || wanted === (bucket.get(name)?.generation ?? '0')) return;
  throw new ReplyError(
    googleError(
      412,
      'FAILED_PRECONDITION',
      'At least one of the pre-conditions you specified did not hold.',
      'conditionNotMet',
    ),
  );
}

/** The contents of the parts of a multipart/related body. */
function partsIn(body: Buffer, boundary: string): Buffer[] {
  const parts: Buffer[] = [];
  const line = Buffer.from(`--${boundary}`);
  for (let at = body.indexOf(line); at >= 0; ) {
    const begin = body.indexOf('\r\n\r\n', at) + 4;
    const end = body.indexOf(Buffer.concat([Buffer.from('\r\n'), line]), begin - 2);
    if (begin < 4 || end < 0) break;
    parts.push(body.subarray(begin, Math.max(begin, end)));
    at = end + 2;
    if (body.subarray(at + line.length, at + line.length + 2).toString() === '--') break;
  }
  return parts;
}
