import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { Storage } from '@google-cloud/storage';
import { describe, expect, it } from 'vitest';
import { type LocalCloud, localCloud } from './local-cloud.ts';
import { roleSession } from './principals.ts';

/** The official clients judge the local cloud: what they cannot use is not the protocol. */
const credentialsOf = ({ session }: LocalCloud) => ({
  accessKeyId: session.accessKeyId,
  secretAccessKey: session.secretAccessKey,
  sessionToken: session.sessionToken ?? '',
});

describe("Google's own client", () => {
  it('lists, pages, reads metadata and downloads from the local Cloud Storage', async () => {
    await using cloud = await localCloud();
    const bucket = cloud.gcs.bucket('exports');
    bucket.put('a/1', 'one', { contentType: 'text/plain', metadata: { owner: 'x' } });
    bucket.put('a/2', gzipSync('two'), { contentEncoding: 'gzip' });
    bucket.put('b', 'three');
    const remote = new Storage({ apiEndpoint: cloud.gcs.url, projectId: 'p' }).bucket('exports');
    const [first, next] = await remote.getFiles({ prefix: 'a/', maxResults: 1, autoPaginate: false });
    const [second] = await remote.getFiles({ ...next, autoPaginate: false });
    expect([...first, ...second].map(({ name }) => name)).toEqual(['a/1', 'a/2']);
    const [metadata] = await remote.file('a/1').getMetadata();
    expect(metadata).toMatchObject({ size: '3', contentType: 'text/plain', metadata: { owner: 'x' } });
    expect(String((await remote.file('a/1').download())[0])).toBe('one');
    expect(String((await remote.file('a/2').download())[0])).toBe('two');
  });
});

describe("Amazon's own clients", () => {
  it('learn from the local STS who they are, and a stranger does not', async () => {
    await using cloud = await localCloud();
    const options = { endpoint: cloud.awsSts.url, region: 'eu-west-1', maxAttempts: 1 };
    const known = new STSClient({ ...options, credentials: credentialsOf(cloud) });
    expect(await known.send(new GetCallerIdentityCommand({}))).toMatchObject({
      Account: '111122223333',
      Arn: cloud.session.arn,
    });
    const { accessKeyId, secretAccessKey } = roleSession('x', 'y');
    const stranger = new STSClient({ ...options, credentials: { accessKeyId, secretAccessKey } });
    await expect(stranger.send(new GetCallerIdentityCommand({}))).rejects.toMatchObject({
      name: 'InvalidClientTokenId',
    });
  });

  it('write and read the local S3, streams with a checksum in the trailer too', async () => {
    await using cloud = await localCloud();
    cloud.s3.bucket('lake');
    const client = new S3Client({
      endpoint: cloud.s3.url,
      region: 'eu-west-1',
      forcePathStyle: true,
      credentials: credentialsOf(cloud),
    });
    const Body = Readable.from([Buffer.from('in '), Buffer.from('pieces')]);
    await client.send(new PutObjectCommand({ Bucket: 'lake', Key: 'a//b', Body, ContentLength: 9 }));
    const { Body: stored } = await client.send(new GetObjectCommand({ Bucket: 'lake', Key: 'a//b' }));
    expect(String(await buffer(stored as Readable))).toBe('in pieces');
    const wrong = new PutObjectCommand({ Bucket: 'lake', Key: 'x', Body: 'x', ChecksumCRC32C: 'AAAAAA==' });
    await expect(client.send(wrong)).rejects.toMatchObject({ name: 'BadDigest' });
    expect(cloud.s3.buckets.get('lake')?.objects.has('x')).toBe(false);
  });
});
