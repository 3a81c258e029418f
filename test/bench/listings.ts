/**
 * A server of two listings of so many equal objects, in Cloud Storage's form and in S3's. It makes pages faster than
 * anybody can read them, so that a plan over it measures the planner. With `new` the sink is empty. Beside them lies a
 * bucket `state`, which keeps what is small and counts the rest. Prints its URL.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import process from 'node:process';
import { compareKeys } from '../../core/api/keys.ts';
import { crc32c } from '../cloud/body.ts';

const count = Number(process.argv[2] ?? 1_000_000);
const isNew = process.argv[3] === 'new';
const PAGE = 1000;
/** Shards are written and never read here. */
const KEPT = 256 * 1024;
const bytes = Buffer.alloc(1000, 'x');
const md5 = createHash('md5').update(bytes).digest();
const name = (number: number): string => `m/${String(number).padStart(9, '0')}`;
const [before, after] = JSON.stringify({
  name: '\u0000',
  generation: '1764000000000001',
  size: String(bytes.length),
  crc32c: crc32c(bytes),
  md5Hash: md5.toString('base64'),
  updated: '2026-11-25T00:00:00.000Z',
  storageClass: 'STANDARD',
  contentType: 'application/octet-stream',
}).split('\\u0000') as [string, string];
const tail = `</Key><LastModified>2026-11-26T00:00:00.000Z</LastModified><ETag>&quot;${md5.toString('hex')}&quot;</ETag><Size>${bytes.length}</Size><StorageClass>STANDARD</StorageClass></Contents>`;

const requests = { gcs: 0, s3: 0, puts: 0, bytes: 0 };
const kept = new Map<string, { readonly body: Buffer; readonly etag: string; readonly crc32c: string }>();
/** The first that does not come before this name. */
function placeOf(from: string): number {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareKeys(name(middle), from) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function gcsPage(query: URLSearchParams): string {
  requests.gcs++;
  const from = Number(query.get('pageToken') ?? placeOf(query.get('startOffset') ?? ''));
  const items: string[] = [];
  for (let number = from; number < Math.min(count, from + PAGE); number++) items.push(before + name(number) + after);
  const next = from + PAGE < count ? `,"nextPageToken":"${from + PAGE}"` : '';
  return `{"items":[${items.join(',')}]${next}}`;
}

const EMPTY =
  '<?xml version="1.0"?><ListBucketResult><Name>lake</Name><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated></ListBucketResult>';

function s3Page(query: URLSearchParams): string {
  requests.s3++;
  if (isNew) return EMPTY;
  const from = Number(query.get('continuation-token') ?? placeOf(query.get('start-after') ?? ''));
  const entries: string[] = [];
  for (let number = from; number < Math.min(count, from + PAGE); number++)
    entries.push(`<Contents><Key>${encodeURIComponent(name(number)).replaceAll('%2F', '/')}${tail}`);
  const more = from + PAGE < count;
  const next = more ? `<NextContinuationToken>${from + PAGE}</NextContinuationToken>` : '';
  return `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>lake</Name><EncodingType>url</EncodingType><IsTruncated>${more}</IsTruncated>${next}${entries.join('')}</ListBucketResult>`;
}

/** Enough of S3 for the files and values of a distributed run: its conditions included. */
function state(request: IncomingMessage, response: ServerResponse, key: string): void {
  const there = kept.get(key);
  const chunks: Buffer[] = [];
  let size = 0;
  request.on('data', (chunk: Buffer) => {
    size += chunk.byteLength;
    if (size <= KEPT) chunks.push(chunk);
  });
  request.on('end', () => {
    const answer = (status: number, headers: Record<string, string> = {}, body: Buffer | string = ''): void => {
      response.writeHead(status, {
        ...headers,
        'content-length': String(headers['content-length'] ?? Buffer.byteLength(body)),
      });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    const told = there && { etag: there.etag, 'x-amz-checksum-crc32c': there.crc32c };
    const refused = (code: string, status: number): void => answer(status, {}, `<Error><Code>${code}</Code></Error>`);
    if (request.method === 'PUT') {
      const { 'if-none-match': none, 'if-match': match } = request.headers;
      if ((none !== undefined && there !== undefined) || (match !== undefined && match !== there?.etag))
        return refused('PreconditionFailed', 412);
      requests.puts++;
      requests.bytes += size;
      const sum = String(request.headers['x-amz-checksum-crc32c'] ?? '');
      const etag = `"${requests.puts}"`;
      kept.set(key, { body: size <= KEPT ? Buffer.concat(chunks) : Buffer.alloc(0), etag, crc32c: sum });
      return answer(200, { etag, 'x-amz-checksum-crc32c': sum });
    }
    if (request.method === 'DELETE') {
      kept.delete(key);
      return answer(204);
    }
    if (there === undefined || told === undefined) return refused('NoSuchKey', 404);
    answer(200, { ...told, 'content-length': String(there.body.byteLength) }, there.body);
  });
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://x');
  if (url.pathname === '/requests') return void response.end(JSON.stringify(requests));
  if (url.pathname.startsWith('/state/')) return void state(request, response, url.pathname);
  const isS3 = url.searchParams.has('list-type');
  const body = isS3 ? s3Page(url.searchParams) : gcsPage(url.searchParams);
  response.writeHead(200, {
    'content-type': isS3 ? 'application/xml' : 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
});
server.listen(0, '127.0.0.1', () =>
  process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`),
);
process.once('SIGTERM', () => server.close(() => process.exit()));
