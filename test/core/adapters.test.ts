import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { BigQuery } from '@google-cloud/bigquery';
import { Storage } from '@google-cloud/storage';
import { AuthClient } from 'google-auth-library';
import { describe, expect, it } from 'vitest';
import { keyless } from '../../config/auth.ts';
import { authorizedFetch, awsSdkCredentials, googleAuthClient } from '../../core/api/index.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from '../cloud/local-cloud.ts';
import { caught } from '../leaks.ts';
import { localSecretManager } from './secret-manager.ts';

const reader = { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT };
const CLOUD_PLATFORM = 'https://www.googleapis.com/auth/cloud-platform';

const broker = (cloud: LocalCloud, identity: object = {}) =>
  keyless({ identities: { reader: { ...reader, ...identity } }, environment: cloud.environment });

function tokenOf(cloud: LocalCloud, identity: object = {}) {
  const provider = broker(cloud, identity).gcp('reader', { scopes: [CLOUD_PLATFORM] });
  if (provider === undefined) throw new Error('no provider');
  return provider;
}

describe("Google's own client libraries list something through our credentials", () => {
  it('@google-cloud/storage', async () => {
    await using cloud = await localCloud();
    const bucket = cloud.gcs.bucket('acme-exports', [LOCAL_SERVICE_ACCOUNT]);
    for (const name of ['a', 'b']) bucket.put(name, 'x');
    const authClient = googleAuthClient(AuthClient, tokenOf(cloud));
    const storage = new Storage({
      authClient,
      projectId: 'acme',
      apiEndpoint: cloud.gcs.url,
      useAuthWithCustomEndpoint: true,
    });
    const [files] = await storage.bucket('acme-exports').getFiles();
    expect(files.map(({ name }) => name)).toEqual(['a', 'b']);
    expect((await storage.bucket('acme-exports').file('a').download())[0].toString()).toBe('x');
    expect(cloud.googleSts.requests).toHaveLength(1);
  });

  it('@google-cloud/bigquery', async () => {
    await using cloud = await localCloud();
    // What of BigQuery is asked here: its datasets, by somebody whom the local Google knows.
    const asked: { url: string; payer: unknown }[] = [];
    const server = createServer((request, response) => {
      const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
      const known = cloud.googleSts.tokens.get(token)?.principal === LOCAL_SERVICE_ACCOUNT;
      asked.push({ url: request.url ?? '', payer: request.headers['x-goog-user-project'] });
      response.writeHead(known ? 200 : 401, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ datasets: [{ datasetReference: { projectId: 'acme', datasetId: 'sales' } }] }));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const apiEndpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const authClient = googleAuthClient(AuthClient, tokenOf(cloud, { quotaProject: 'acme-billing' }));
    const [datasets] = await new BigQuery({ authClient, projectId: 'acme', apiEndpoint }).getDatasets();
    server.close();
    server.closeAllConnections();
    expect(datasets.map(({ id }) => id)).toEqual(['sales']);
    expect(asked).toEqual([{ url: expect.stringContaining('/projects/acme/datasets'), payer: 'acme-billing' }]);
  });

  it('a gax client over gRPC: @google-cloud/secret-manager', async () => {
    await using cloud = await localCloud();
    await using service = await localSecretManager((token) => cloud.googleSts.tokens.get(token)?.principal);
    const { SecretManagerServiceClient } = await import('@google-cloud/secret-manager');
    const client = new SecretManagerServiceClient({
      authClient: googleAuthClient(AuthClient, tokenOf(cloud)),
      projectId: 'acme',
      apiEndpoint: 'localhost',
      port: service.port,
    });
    const [secrets] = await client.listSecrets({ parent: 'projects/acme' });
    await client.close();
    expect(secrets.map(({ name }) => name)).toEqual(['projects/acme/secrets/one']);
    expect(service.callers).toEqual([LOCAL_SERVICE_ACCOUNT]);
  });
});

it('google-auth-library 10 takes our credentials too, and its requests are tried again with a fresh token', async () => {
  await using cloud = await localCloud();
  cloud.gcs.bucket('acme-exports', [LOCAL_SERVICE_ACCOUNT]).put('a', 'x');
  const { AuthClient: Older } = await import('google-auth-library-10');
  const client = googleAuthClient(Older, tokenOf(cloud));
  const list = () =>
    client.request<{ items: { name: string }[] }>({ url: `${cloud.gcs.url}/storage/v1/b/acme-exports/o` });
  expect((await list()).data.items.map(({ name }) => name)).toEqual(['a']);
  cloud.googleSts.tokens.clear();
  expect((await list()).data.items).toHaveLength(1);
});

it('a request whose stream was sent is not sent again: the other side would store nothing', async () => {
  let sent = 0;
  class Base {
    readonly transporter = {
      request: async () => {
        sent++;
        throw Object.assign(new Error('HTTP 401'), { status: 401 });
      },
    };
    async request(_options: object): Promise<unknown> {
      return undefined;
    }
  }
  const provider = { get: async () => ({ token: 'x', expiresAt: Number.POSITIVE_INFINITY }) };
  const client = googleAuthClient(Base, provider);
  for (const options of [{ data: Readable.from(['x']) }, { multipart: [{ content: Readable.from(['x']) }] }])
    await expect(client.request(options)).rejects.toThrow('401');
  expect(sent).toBe(2);
  await expect(client.request({ data: 'text' })).rejects.toThrow('401');
  expect(sent).toBe(4);
});

it('the AWS SDK lists something through our credentials, and asks again only when they end', async () => {
  await using cloud = await localCloud();
  cloud.s3.bucket('acme-lake');
  cloud.awsSts.assumable.set('lake-writer', undefined);
  const roleArn = 'arn:aws:iam::111122223333:role/lake-writer';
  const made = keyless({ identities: { writer: { kind: 'aws', roleArn } }, environment: cloud.environment });
  const client = new S3Client({
    region: 'eu-west-1',
    endpoint: cloud.s3.url,
    forcePathStyle: true,
    credentials: awsSdkCredentials(made.aws('writer')),
  });
  for (let call = 0; call < 3; call++) await client.send(new ListObjectsV2Command({ Bucket: 'acme-lake' }));
  client.destroy();
  expect(cloud.awsSts.requests).toHaveLength(1);
});

describe('fetch with a token', () => {
  it('lists something, and tries a token that was revoked once more with a fresh one', async () => {
    await using cloud = await localCloud();
    cloud.gcs.bucket('acme-exports', [LOCAL_SERVICE_ACCOUNT]).put('a', 'x');
    const ask = authorizedFetch(tokenOf(cloud), { mayReceive: ({ origin }) => origin === cloud.gcs.url });
    const list = async (): Promise<unknown> => (await ask(`${cloud.gcs.url}/storage/v1/b/acme-exports/o`)).json();
    expect(await list()).toMatchObject({ items: [{ name: 'a' }] });
    cloud.googleSts.tokens.clear();
    expect(await list()).toMatchObject({ items: [{ name: 'a' }] });
    expect(cloud.iamCredentials.requests).toHaveLength(2);
  });

  it.each([
    'https://evil.example/',
    'http://127.0.0.1:1/',
    'http://storage.googleapis.com/',
    'https://googleapis.com.evil.example/',
  ])('gives no token to %s', async (url) => {
    await using cloud = await localCloud();
    expect(await caught(authorizedFetch(tokenOf(cloud))(url))).toMatchObject({ code: 'invalid_request' });
    expect(cloud.googleSts.requests).toEqual([]);
  });
});

describe('the broker by itself', () => {
  it.each([
    ['a circle', { a: { kind: 'aws', roleArn: 'arn:aws:iam::111122223333:role/a', aws: 'a' } }, /a: refers to itself/],
    ['a name that is not there', { reader: { ...reader, aws: 'nobody' } }, /no identity "nobody" of kind aws/],
    ['an unknown key', { reader: { ...reader, secret: 'x' } }, /Unrecognized key: "secret"/],
    ['a universe that nobody allowed', { reader: { ...reader, universeDomain: 'evil.example' } }, /ISTHMUS_UNIVERSE/],
  ])('refuses %s', (_what, identities, message) => {
    expect(() => keyless({ identities, environment: {} })).toThrow(message);
  });

  it('takes a universe that the operator allows', () => {
    const identities = { reader: { ...reader, universeDomain: 'apis.example' } };
    const made = keyless({ identities, environment: { ISTHMUS_UNIVERSE_DOMAINS: 'other, apis.example' } });
    expect(made.universeDomain('reader')).toBe('apis.example');
  });
});
