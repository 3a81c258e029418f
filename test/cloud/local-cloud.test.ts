import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { fromValue, toValue } from '@google-cloud/aiplatform/build/src/helpers.js';
import { PredictionServiceClient } from '@google-cloud/aiplatform/build/src/v1/prediction_service_client.js';
import { BigQuery } from '@google-cloud/bigquery';
import { Storage } from '@google-cloud/storage';
import { credentials } from '@grpc/grpc-js';
import { AuthClient } from 'google-auth-library';
import { describe, expect, it } from 'vitest';
import { googleAuthClient } from '../../core/api/index.ts';
import { FIELDS, ROWS } from '../plugins/bigquery-cloud.ts';
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

/** A token of the local cloud, as its own STS would give one. */
const tokenOf = (cloud: LocalCloud): AuthClient => {
  const provider = {
    get: async () => ({
      token: cloud.tokenFor('tester@acme.iam.gserviceaccount.com'),
      expiresAt: Date.now() + 3_600_000,
    }),
  };
  return googleAuthClient(AuthClient, provider, { projectId: 'acme' });
};

describe("Google's own client of BigQuery", () => {
  const setup = async () => {
    const cloud = await localCloud();
    cloud.bigquery.users.add('tester@acme.iam.gserviceaccount.com');
    const sales = cloud.bigquery.dataset('acme', 'sales', 'EU');
    sales.table('orders', { fields: FIELDS, made: { count: 25, row: (n) => ({ ...ROWS[0], id: String(n) }) } });
    const client = new BigQuery({ authClient: tokenOf(cloud), projectId: 'acme', apiEndpoint: cloud.bigquery.url });
    return { ...cloud, client };
  };

  it('reads tables, rows page by page, and the results of a query', async () => {
    await using cloud = await setup();
    const table = cloud.client.dataset('sales').table('orders');
    const [metadata] = await table.getMetadata();
    expect(metadata).toMatchObject({ location: 'EU', numRows: '25', schema: { fields: { length: FIELDS.length } } });
    const [first, next] = await table.getRows({ maxResults: 10, autoPaginate: false });
    const [second] = await table.getRows({ ...next, maxResults: 100, autoPaginate: false });
    const rows = [...first, ...second];
    expect(rows).toHaveLength(25);
    expect(rows[24]).toMatchObject({
      id: 24,
      day: { value: '2026-11-24' },
      updated: { value: expect.stringContaining('2025-11-24T16:00:00.123456') },
    });
    const [job] = await cloud.client.createQueryJob({ query: 'SELECT * FROM `acme.sales.orders`', location: 'EU' });
    expect((await job.getQueryResults())[0]).toHaveLength(25);
    expect((await cloud.client.dataset('sales').getTables())[0].map(({ id }) => id)).toEqual(['orders']);
  });

  it('is told of a job id that is used already, of another location, and of a view', async () => {
    await using cloud = await setup();
    const configuration = { query: { query: 'SELECT * FROM `acme.sales.orders`', useLegacySql: false } };
    await cloud.client.createJob({ configuration, jobId: 'one', location: 'EU' });
    await expect(cloud.client.createJob({ configuration, jobId: 'one', location: 'EU' })).rejects.toMatchObject({
      code: 409,
      errors: [{ reason: 'duplicate' }],
    });
    await expect(cloud.client.createJob({ configuration, jobId: 'two', location: 'US' })).rejects.toMatchObject({
      code: 404,
    });
    await expect(cloud.client.job('one', { location: 'US' }).getMetadata()).rejects.toMatchObject({ code: 404 });
  });
});

describe("Google's own client of Vertex AI", () => {
  it('predicts, generates, and runs batch jobs over gRPC', async () => {
    await using cloud = await localCloud();
    cloud.vertexai.models.set('endpoints/7', (instance) => ({ seen: instance }));
    cloud.vertexai.models.set('models/gemini', () => ({
      candidates: [{ content: { role: 'model', parts: [{ text: 'hi' }] }, finishReason: 'STOP' }],
    }));
    const { hostname, port } = new URL(await cloud.vertexai.grpc());
    const options = {
      apiEndpoint: hostname,
      port: Number(port),
      sslCreds: credentials.createInsecure(),
      authClient: tokenOf(cloud),
    } as never;
    const client = new PredictionServiceClient(options);
    const parent = 'projects/p/locations/l';
    const [{ predictions }] = await client.predict({
      endpoint: `${parent}/endpoints/7`,
      instances: [toValue([[1, 2], [3]]) as never],
    });
    expect(fromValue(predictions?.[0] as never)).toEqual({ seen: [[1, 2], [3]] });
    const model = `${parent}/publishers/google/models/gemini`;
    const [answer] = await client.generateContent({ model, contents: [{ role: 'user', parts: [{ text: 'x' }] }] });
    expect(answer.candidates?.[0]).toMatchObject({ finishReason: 'STOP', content: { parts: [{ text: 'hi' }] } });
    await expect(client.predict({ endpoint: `${parent}/endpoints/8`, instances: [] })).resolves.toBeDefined();
    await client.close();
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
