/**
 * A server of two listings of so many equal objects, in Cloud Storage's form and in S3's, and of nothing else. It makes
 * pages faster than anybody can read them, so that a plan over it measures the planner. Prints its URL.
 */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import process from 'node:process';
import { crc32c } from '../cloud/body.ts';

const count = Number(process.argv[2] ?? 1_000_000);
const PAGE = 1000;
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

const requests = { gcs: 0, s3: 0 };

function gcsPage(query: URLSearchParams): string {
  requests.gcs++;
  const from = Number(query.get('pageToken') ?? 0);
  const items: string[] = [];
  for (let number = from; number < Math.min(count, from + PAGE); number++) items.push(before + name(number) + after);
  const next = from + PAGE < count ? `,"nextPageToken":"${from + PAGE}"` : '';
  return `{"items":[${items.join(',')}]${next}}`;
}

function s3Page(query: URLSearchParams): string {
  requests.s3++;
  const after = query.get('start-after') ?? '';
  const first = after === '' ? 0 : Math.max(0, Number(after.replace('m/', '').padEnd(9, '0') || 0));
  const from = Number(query.get('continuation-token') ?? first);
  const entries: string[] = [];
  for (let number = from; number < Math.min(count, from + PAGE); number++)
    entries.push(`<Contents><Key>${encodeURIComponent(name(number)).replaceAll('%2F', '/')}${tail}`);
  const more = from + PAGE < count;
  const next = more ? `<NextContinuationToken>${from + PAGE}</NextContinuationToken>` : '';
  return `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>lake</Name><EncodingType>url</EncodingType><IsTruncated>${more}</IsTruncated>${next}${entries.join('')}</ListBucketResult>`;
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://x');
  if (url.pathname === '/requests') return void response.end(JSON.stringify(requests));
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
