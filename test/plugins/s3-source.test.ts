import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { s3Source } from '../../plugins/s3/index.ts';
import { localCloud } from '../cloud/local-cloud.ts';
import { runContext } from '../conformance/run-context.ts';
import { sourceSuite } from '../conformance/source-suite.ts';
import { pluginContext } from '../support.ts';

async function fixture(objects: Readonly<Record<string, Buffer>> = {}, options: object = {}) {
  const cloud = await localCloud();
  const bucket = cloud.s3.bucket('exports');
  bucket.put('outside', 'not below the prefix');
  for (const [key, bytes] of Object.entries(objects)) bucket.put(`2026/${key}`, bytes);
  const context = pluginContext({ endpoints: cloud.endpoints, credentials: cloud.session });
  const config = s3Source.config.parse({ bucket: 'exports', prefix: '2026/', region: 'eu-west-1', ...options });
  return {
    cloud,
    bucket,
    source: s3Source.create(config, { ...context, use: { deletes: true } }),
    remove: async (key: string) => bucket.remove(`2026/${key}`),
    replace: async (key: string, bytes: Buffer) => void bucket.put(`2026/${key}`, bytes),
    [Symbol.asyncDispose]: () => cloud[Symbol.asyncDispose](),
  };
}

sourceSuite('s3 source', fixture);

const never = new AbortController().signal;
const all = { signal: never, run: runContext() };

describe('the s3 source', () => {
  it('tells metadata, headers and the checksum that S3 holds, and what has no place', async () => {
    await using f = await fixture();
    f.bucket.put('2026/a', 'hello', {
      headers: {
        'content-type': 'text/csv',
        'content-encoding': 'gzip',
        'x-amz-meta-owner': '=?UTF-8?B?R3LDtsOfZQ==?=',
        'x-amz-storage-class': 'STANDARD_IA',
        'x-amz-tagging-count': '2',
      },
    });
    expect(await Array.fromAsync(f.source.list(all))).toMatchObject([
      {
        key: 'a',
        size: 5,
        checksums: { crc32c: 'mnG7TA==', md5: 'XUFAKrxLKna5cZ2REBfFkg==' },
        headers: { contentType: 'text/csv', contentEncoding: 'gzip' },
        metadata: { owner: 'Größe' },
        storageClass: 'STANDARD_IA',
        uncarried: ['tags'],
      },
    ]);
  });

  it('takes the checksum of the checksums of parts for none of the object', async () => {
    await using f = await fixture();
    for (const [key, header] of [
      ['2026/a', { 'x-amz-checksum-crc32c': 'AAAAAA==-2' }],
      ['2026/b', { 'x-amz-checksum-crc32c': 'AAAAAA==', 'x-amz-checksum-type': 'COMPOSITE' }],
    ] as const)
      f.bucket.put(key, 'hello', { sum: 'none', headers: header });
    for (const { checksums } of await Array.fromAsync(f.source.list(all)))
      expect(checksums).not.toHaveProperty('crc32c');
  });

  it('takes the ETag for no MD5 where a key of KMS made it', async () => {
    await using f = await fixture();
    f.bucket.put('2026/a', 'hello', { sum: 'none', headers: { 'x-amz-server-side-encryption': 'aws:kms' } });
    expect((await Array.fromAsync(f.source.list(all)))[0]?.checksums).toEqual({});
  });

  it('refuses what is archived by name, and the rest goes on', async () => {
    await using f = await fixture();
    f.bucket.put('2026/a', 'cold', { headers: { 'x-amz-storage-class': 'DEEP_ARCHIVE' } });
    f.bucket.put('2026/b', 'restored', {
      headers: {
        'x-amz-storage-class': 'GLACIER',
        'x-amz-restore': 'ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"',
      },
    });
    const [a, b] = await Array.fromAsync(f.source.list(all));
    expect(a?.problem).toMatchObject({ code: 'source_archived' });
    expect(b?.problem).toBeUndefined();
  });

  it('refuses one that may not be looked at by name', async () => {
    await using f = await fixture({ a: Buffer.from('a'), b: Buffer.from('b') });
    f.cloud.s3.faults.add('HEAD /exports/2026/a', { kind: 'answer', status: 403 }, Number.POSITIVE_INFINITY);
    const [a, b] = await Array.fromAsync(f.source.list(all));
    expect(a?.problem).toMatchObject({ code: 'permission_denied' });
    expect(b?.problem).toBeUndefined();
  });

  it('asks what a HEAD could not say: a customer’s key, another region, a token that has ended', async () => {
    const denied = (code: string, message: string) => ({
      kind: 'answer' as const,
      status: 400,
      body: `<Error><Code>${code}</Code><Message>${message}</Message></Error>`,
    });
    await using f = await fixture({ a: Buffer.from('a'), b: Buffer.from('b') });
    const { faults } = f.cloud.s3;
    faults.add('HEAD /exports/2026/a', { kind: 'answer', status: 400 }, Number.POSITIVE_INFINITY);
    const sse = 'The object was stored using a form of Server Side Encryption.';
    faults.add('GET /exports/2026/a', denied('InvalidRequest', sse), 1);
    const [a, b] = await Array.fromAsync(f.source.list(all));
    expect(a?.problem).toMatchObject({ code: 'source_encrypted' });
    expect(b?.problem).toBeUndefined();
    faults.add('GET /exports/2026/a', denied('AuthorizationHeaderMalformed', 'the region is wrong'), 1);
    await expect(Array.fromAsync(f.source.list(all))).rejects.toMatchObject({ code: 'wrong_region' });
    await using g = await fixture({ a: Buffer.from('a') });
    g.cloud.s3.faults.add('HEAD /exports/2026/a', { kind: 'answer', status: 400 }, 1);
    g.cloud.s3.faults.add('GET /exports/2026/a', denied('ExpiredToken', 'The provided token has expired.'), 1);
    expect((await Array.fromAsync(g.source.list(all)))[0]).toMatchObject({ key: 'a', size: 1 });
  });

  it('refuses by name an object whose size the server does not tell', async () => {
    const page =
      '<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>2026/a</Key><Size>5</Size><ETag>"1"</ETag></Contents></ListBucketResult>';
    const served = createServer(({ method }, response) => {
      response.writeHead(200, { etag: '"1"' }).end(method === 'HEAD' ? undefined : page);
    });
    served.listen(0, '127.0.0.1');
    await once(served, 'listening');
    const endpoint = `http://127.0.0.1:${(served.address() as AddressInfo).port}`;
    await using f = await fixture({}, { endpoint });
    const [a] = await Array.fromAsync(f.source.list(all));
    served.closeAllConnections();
    served.close();
    expect(a).toMatchObject({ key: 'a', problem: { code: 'invalid_request' } });
  });

  it('resumes a body that breaks off', async () => {
    const large = Buffer.alloc(300_000, 'isthmus ');
    await using f = await fixture({ a: large });
    f.cloud.s3.faults.add('GET /exports/2026/a', { kind: 'reset-body', at: 100_000 });
    const [item] = await Array.fromAsync(f.source.list(all));
    const read = await Array.fromAsync(await f.source.open(item as never, { signal: never }));
    expect(Buffer.concat(read.map((chunk) => Buffer.from(chunk))).equals(large)).toBe(true);
  });

  it('lists what its globs select, and tells the key of a URL', async () => {
    await using f = await fixture({ 'a.csv': Buffer.from('1'), 'a.txt': Buffer.from('2') }, { include: ['*.csv'] });
    expect((await Array.fromAsync(f.source.list(all))).map(({ key }) => key)).toEqual(['a.csv']);
    expect(f.source.keyOf?.('s3://exports/2026/x/y')).toBe('x/y');
    expect(f.source.keyOf?.('s3://other/2026/x')).toBeUndefined();
  });
});
