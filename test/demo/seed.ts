import { gzipSync } from 'node:zlib';
import { patternBody } from '../cloud/body.ts';
import type { GcsBucket } from '../cloud/gcs-objects.ts';
import { LOCAL_SERVICE_ACCOUNT, type LocalCloud } from '../cloud/local-cloud.ts';

/** Fills the source of the reference pipeline with what real buckets hold, and makes its destination. */
export function seed(cloud: LocalCloud): GcsBucket {
  const bucket = cloud.gcs.bucket('acme-exports', [LOCAL_SERVICE_ACCOUNT]);
  bucket.put('2026/readme.txt', 'Carried between clouds without a key.\n', {
    contentType: 'text/plain; charset=utf-8',
    cacheControl: 'max-age=60',
  });
  bucket.put('2026/archive.bin', patternBody(64 * 2 ** 20), { contentType: 'application/octet-stream' });
  bucket.put('2026/empty', '', { contentType: 'application/octet-stream' });
  bucket.put('2026/page.html', gzipSync('<h1>Stored compressed, carried as it is</h1>'), {
    contentType: 'text/html',
    contentEncoding: 'gzip',
  });
  bucket.put('2026/composed.csv', 'id,value\n1,2\n', { contentType: 'text/csv', composite: true });
  bucket.put('2026/naïve/日本語 😀.txt', 'any legal name', { contentType: 'text/plain' });
  bucket.put('2026/a//b', 'a name that others skip silently', { contentType: 'text/plain' });
  bucket.put('2026/report.json', '{"ok":true}', {
    contentType: 'application/json',
    metadata: { owner: 'data-team', retention: '90d' },
  });
  cloud.s3.bucket('acme-lake');
  return bucket;
}
