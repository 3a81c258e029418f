import { describe, expect, it } from 'vitest';
import { originOf } from '../../core/auth/aws-origin.ts';
import { regionResolver } from '../../core/auth/aws-region.ts';
import { CredentialCache } from '../../core/auth/cached.ts';
import { ServerClock } from '../../core/auth/clock.ts';
import { failureSaid } from '../../core/auth/failures/table.ts';
import { googleHosts } from '../../core/auth/gcp-identity.ts';
import { PUBLIC_AUTH_ENDPOINTS } from '../../core/auth/steps.ts';
import { gcpIdentity } from '../../core/pipeline/identity-spec.ts';
import { numericId } from '../cloud/iam-credentials.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from '../cloud/local-cloud.ts';
import { caught } from '../leaks.ts';
import { testBroker } from '../support.ts';

const MINUTE = 60_000;
const READ = 'https://www.googleapis.com/auth/devstorage.read_only';
const request = { scopes: [READ] };
const federated = { kind: 'gcp', audience: LOCAL_AUDIENCE };
const reader = { ...federated, serviceAccount: LOCAL_SERVICE_ACCOUNT };
const ROLE = 'arn:aws:iam::111122223333:role/lake-writer';

const broker = (cloud: LocalCloud, identities: Record<string, object>, now = Date.now) =>
  testBroker({ endpoints: cloud.endpoints, credentials: cloud.session, identities, now });

describe('impersonation', () => {
  it('goes through delegates, each of which may impersonate the next', async () => {
    await using cloud = await localCloud();
    const [first, last] = ['first@acme.iam.gserviceaccount.com', 'last@acme.iam.gserviceaccount.com'];
    cloud.iamCredentials.workloadIdentityUsers.set(first, 'principal:').set(last, first);
    const chained = () =>
      broker(cloud, { chained: { ...federated, serviceAccount: last, delegates: [first] } }).gcp('chained', request);
    // That role lets nobody pass a request on.
    expect(await caught(chained()?.get())).toMatchObject({
      id: 'IMP_DENIED',
      hint: expect.stringMatching(/first@acme\S* --project=acme --role=roles\/iam\.serviceAccountTokenCreator/),
    });
    cloud.iamCredentials.tokenCreators.set(first, 'principal:').set(last, first);
    const token = await chained()?.get();
    expect(cloud.googleSts.tokens.get(token?.token ?? '')).toMatchObject({ principal: last, scopes: [READ] });
    const direct = broker(cloud, { direct: { ...federated, serviceAccount: last } });
    expect(await caught(direct.gcp('direct', request)?.get())).toMatchObject({ id: 'IMP_DENIED' });
  });

  it('gives a token for as long as `lifetime` says, and tells what more than an hour needs', async () => {
    await using cloud = await localCloud();
    const identities = { short: { ...reader, lifetime: '10m' }, long: { ...reader, lifetime: '12h' } };
    const token = await broker(cloud, identities).gcp('short', request)?.get();
    expect((token?.expiresAt ?? 0) - Date.now()).toBeLessThanOrEqual(10 * MINUTE);
    expect(await caught(broker(cloud, identities).gcp('long', request)?.get())).toMatchObject({
      code: 'invalid_config',
      id: 'IMP_LIFETIME',
      hint: expect.stringContaining('allowServiceAccountCredentialLifetimeExtension'),
    });
    cloud.iamCredentials.longLived.add(LOCAL_SERVICE_ACCOUNT);
    await broker(cloud, identities).gcp('long', request)?.get();
  });

  it('makes ID tokens for an audience, anew each time', async () => {
    await using cloud = await localCloud();
    const made = broker(cloud, { reader });
    const signal = new AbortController().signal;
    const tokens = [
      await made.idToken('reader', 'https://a', signal),
      await made.idToken('reader', 'https://a', signal),
    ];
    expect(tokens[0]).not.toBe(tokens[1]);
    expect(cloud.google.verify(tokens[0] ?? '')).toMatchObject({
      claims: { aud: 'https://a', email: LOCAL_SERVICE_ACCOUNT },
    });
    const direct = broker(cloud, { federated });
    expect(await caught(direct.idToken('federated', 'https://a', signal))).toMatchObject({ code: 'invalid_config' });
  });
});

describe('a downscoped token', () => {
  const open = (cloud: LocalCloud, token: string, path: string) =>
    fetch(`${cloud.gcs.url}/storage/v1/b/${path}`, { headers: { authorization: `Bearer ${token}` } });

  it('reads and lists below the prefix of the endpoint, and nothing else', async () => {
    await using cloud = await localCloud();
    const bucket = cloud.gcs.bucket('exports', [LOCAL_SERVICE_ACCOUNT]);
    bucket.put('2026/"a', 'x').name;
    bucket.put('2025/b', 'x');
    cloud.gcs.bucket('other', [LOCAL_SERVICE_ACCOUNT]).put('2026/"a', 'x');
    const limited = broker(cloud, { reader: { ...reader, downscope: true } });
    const within = [{ bucket: 'exports', prefix: '2026/"' }];
    const { token = '' } = (await limited.gcp('reader', { ...request, within })?.get()) ?? {};
    expect((await open(cloud, token, 'exports/o/2026%2F%22a')).status).toBe(200);
    expect((await open(cloud, token, 'exports/o?prefix=2026%2F%22')).status).toBe(200);
    for (const path of ['exports/o/2025%2Fb', 'exports/o', 'exports/o?prefix=2025%2F', 'other/o/2026%2F%22a'])
      expect((await open(cloud, token, path)).status).toBe(403);
  });

  it('is shared by nobody who needs another place, and is refused to a plugin that names none', async () => {
    await using cloud = await localCloud();
    const limited = broker(cloud, { reader: { ...reader, downscope: true } });
    const at = (prefix: string) =>
      limited.gcp('reader', { ...request, within: [{ bucket: 'exports', prefix }] })?.get();
    expect((await at('a/'))?.token).not.toBe((await at('b/'))?.token);
    expect(await caught(limited.gcp('reader', request)?.get())).toMatchObject({ code: 'invalid_config' });
  });
});

describe('a wrong clock', () => {
  it.each([20, -20])('of %i minutes is measured and corrected', async (minutes) => {
    await using cloud = await localCloud();
    const now = (): number => Date.now() + minutes * MINUTE;
    const checked = { ...reader, expect: { awsAccountId: '111122223333', roleName: 'exports' } };
    for (const identity of [reader, checked]) {
      const token = await broker(cloud, { reader: identity }, now).gcp('reader', request)?.get();
      // By the clock of this machine, the only one that a reader of `expiresAt` has.
      expect((token?.expiresAt ?? 0) - now()).toBeGreaterThan(59 * MINUTE);
      expect((token?.expiresAt ?? 0) - now()).toBeLessThan(61 * MINUTE);
    }
  });

  it('is named when the service is refusing all the same', async () => {
    await using cloud = await localCloud();
    const error_description =
      'Received invalid AWS response of type SignatureDoesNotMatch with error message: Signature expired: 20260101T000000Z is now earlier than 20260101T001600Z (20260101T003100Z - 15 min.)';
    const body = JSON.stringify({ error: 'invalid_grant', error_description });
    cloud.googleSts.faults.add('/v1/token', { kind: 'answer', status: 400, body }, 5);
    expect(await caught(broker(cloud, { reader }).gcp('reader', request)?.get())).toMatchObject({ id: 'STS_CLOCK' });
  });
});

describe('from Google to AWS', () => {
  const attached = { kind: 'gcp', from: 'metadata' };
  const writer = { kind: 'aws', roleArn: ROLE, google: 'attached', audience: 'https://isthmus/aws' };
  const trust = (cloud: LocalCloud, claims: Record<string, string>) =>
    cloud.awsSts.webIdentityRoles.set('lake-writer', { issuer: cloud.google, claims });

  it('an attached service account becomes a role, with a fresh ID token for each session', async () => {
    await using cloud = await localCloud();
    trust(cloud, { sub: numericId(LOCAL_SERVICE_ACCOUNT), oaud: 'https://isthmus/aws' });
    const made = testBroker({ endpoints: cloud.endpoints, identities: { attached, writer } });
    const first = await made.aws('writer').get();
    const second = await made.aws('writer').get({ fresh: true });
    expect(cloud.awsSts.principals.get(second.accessKeyId)?.arn).toContain('assumed-role/lake-writer/isthmus-test');
    expect(first.accessKeyId).not.toBe(second.accessKeyId);
    const asked = cloud.googleMetadata.requests.filter(({ target }) => target.includes('/identity'));
    expect(asked.map(({ target }) => target)).toEqual(
      Array(2).fill(
        '/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Fisthmus%2Faws&format=full',
      ),
    );
  });

  it('a trust policy that compares `aud` refuses, with the values that it should compare', async () => {
    await using cloud = await localCloud();
    trust(cloud, { sub: numericId(LOCAL_SERVICE_ACCOUNT), aud: 'https://isthmus/aws' });
    const made = testBroker({ endpoints: cloud.endpoints, identities: { attached, writer } });
    const error = await caught(made.aws('writer').get());
    expect(error).toMatchObject({ id: 'WEB_DENIED', hint: expect.stringContaining(numericId(LOCAL_SERVICE_ACCOUNT)) });
  });

  it('an impersonated account can go there too, from an identity of AWS', async () => {
    await using cloud = await localCloud();
    trust(cloud, { sub: numericId(LOCAL_SERVICE_ACCOUNT), oaud: 'https://isthmus/aws' });
    const made = broker(cloud, { attached: reader, writer });
    expect(cloud.awsSts.principals.get((await made.aws('writer').get()).accessKeyId)?.arn).toContain('lake-writer');
  });

  it('reads Cloud Storage with the attached account, and with one that it impersonates', async () => {
    await using cloud = await localCloud();
    const other = 'other@acme.iam.gserviceaccount.com';
    cloud.iamCredentials.workloadIdentityUsers.set(other, LOCAL_SERVICE_ACCOUNT);
    const made = testBroker({
      endpoints: cloud.endpoints,
      identities: { attached, other: { ...attached, serviceAccount: other } },
    });
    const owner = async (name: string): Promise<unknown> =>
      cloud.googleSts.tokens.get((await made.gcp(name, request)?.get())?.token ?? '');
    expect(await owner('attached')).toMatchObject({ principal: LOCAL_SERVICE_ACCOUNT, scopes: [READ] });
    expect(await owner('other')).toMatchObject({ principal: other });
  });

  it('says that this is not Google Cloud where it is not', async () => {
    await using cloud = await localCloud();
    const elsewhere = { ...cloud.endpoints, googleMetadata: cloud.imds.url };
    const made = testBroker({ endpoints: elsewhere, identities: { attached } });
    expect(await caught(made.gcp('attached', request)?.get())).toMatchObject({ id: 'GOOGLE_NOT_HERE' });
    const nobody = testBroker({ endpoints: { googleMetadata: 'http://127.0.0.1:1' }, identities: { attached } });
    expect(await caught(nobody.gcp('attached', request)?.get())).toMatchObject({ id: 'GOOGLE_NOT_HERE' });
  });
});

describe('a chain of roles', () => {
  it('passes the external id and session tags on, and says what is missing', async () => {
    await using cloud = await localCloud();
    cloud.awsSts.assumable.set('lake-writer', { externalId: 'ext-1', tags: true });
    const sessionTags = { team: 'data & more', pipeline: 'nightly' };
    const identities = {
      writer: { kind: 'aws', roleArn: ROLE, externalId: 'ext-1', sessionTags, sessionName: 'nightly', duration: '15m' },
      without: { kind: 'aws', roleArn: ROLE },
    };
    const { accessKeyId, expiration } = await broker(cloud, identities).aws('writer').get();
    expect(cloud.awsSts.sessionTags.get(accessKeyId)).toEqual(sessionTags);
    expect(cloud.awsSts.principals.get(accessKeyId)?.arn).toMatch(/lake-writer\/nightly$/);
    expect((expiration?.getTime() ?? 0) - Date.now()).toBeLessThanOrEqual(15 * MINUTE);
    expect(await caught(broker(cloud, identities).aws('without').get())).toMatchObject({
      id: 'AWS_ASSUME_DENIED',
      hint: expect.stringContaining(ROLE),
    });
  });
});

describe('a token of a JWT', () => {
  const audience = LOCAL_AUDIENCE.replace('providers/isthmus', 'providers/aws-token');

  it('of AWS is asked for only as long as the session lives', async () => {
    await using cloud = await localCloud();
    cloud.googleSts.providers.push({
      audience,
      issuer: cloud.awsSts.outbound,
      sub: 'arn:aws:iam::111122223333:role/exports',
    });
    const expiration = new Date(Date.now() + 100_000);
    const ending = testBroker({
      endpoints: cloud.endpoints,
      credentials: { ...cloud.session, expiration },
      identities: { r: { kind: 'gcp', from: 'aws-token', audience } },
    });
    await ending.gcp('r', request)?.get();
  });

  it('of AWS needs an account that opted in', async () => {
    await using cloud = await localCloud();
    cloud.awsSts.outboundEnabled = false;
    const made = broker(cloud, { r: { kind: 'gcp', from: 'aws-token', audience } });
    expect(await caught(made.gcp('r', request)?.get())).toMatchObject({
      id: 'AWS_TOKEN_DISABLED',
      hint: expect.stringContaining('enable-outbound-web-identity-federation'),
    });
  });
});

it('a quota project goes with API calls, and to no token service', async () => {
  await using cloud = await localCloud();
  const token = await broker(cloud, { r: { ...reader, quotaProject: 'acme-billing' } })
    .gcp('r', request)
    ?.get();
  // The local token services refuse a request that has the header.
  expect(token?.quotaProject).toBe('acme-billing');
});

it.each([
  [{}, 'https://sts.googleapis.com', 'https://iamcredentials.googleapis.com'],
  [
    { stsLocation: 'europe-west1' },
    'https://sts.europe-west1.rep.googleapis.com',
    'https://iamcredentials.googleapis.com',
  ],
  [{ universeDomain: 'apis.example' }, 'https://sts.apis.example', 'https://iamcredentials.apis.example'],
])('the hosts of %j are built from constants', (options, sts, iamCredentials) => {
  const runtime = { endpoints: PUBLIC_AUTH_ENDPOINTS } as Parameters<typeof googleHosts>[1];
  expect(googleHosts(gcpIdentity.parse({ ...federated, ...options }), runtime)).toMatchObject({ sts, iamCredentials });
});

it('two pipelines of a process share what they both need, and not the sessions named after them', async () => {
  await using cloud = await localCloud();
  cloud.awsSts.assumable.set('lake-writer', undefined);
  const cache = new CredentialCache(Date.now);
  const identities = { reader, writer: { kind: 'aws', roleArn: ROLE } };
  const [one, two] = ['one', 'two'].map((pipeline) =>
    testBroker({ endpoints: cloud.endpoints, credentials: cloud.session, identities, pipeline, cache }),
  );
  expect(await one?.gcp('reader', request)?.get()).toBe(await two?.gcp('reader', request)?.get());
  expect(cloud.googleSts.requests).toHaveLength(1);
  expect(await one?.aws('writer').get()).not.toBe(await two?.aws('writer').get());
});

it('identities are fetched side by side: Google is asked while AWS still answers', async () => {
  await using cloud = await localCloud();
  cloud.awsSts.assumable.set('lake-writer', undefined);
  cloud.awsSts.faults.add('POST /', { kind: 'delay', ms: 100 });
  let overlapped = false;
  cloud.googleSts.onExchange = () => {
    overlapped = cloud.awsSts.requests.some(({ status }) => status === 0);
  };
  const made = broker(cloud, { reader, writer: { kind: 'aws', roleArn: ROLE } });
  const token = made.gcp('reader', request);
  made.warm();
  await Promise.all([token?.get(), made.aws('writer').get()]);
  expect(overlapped).toBe(true);
  expect(cloud.googleSts.requests).toHaveLength(1);
});

describe('what a review found', () => {
  it('a service that is down is tried again without asking AWS who we are', async () => {
    await using cloud = await localCloud();
    cloud.googleSts.faults.add('/v1/token', { kind: 'answer', status: 503 }, 2);
    await broker(cloud, { federated }).gcp('federated', request)?.get();
    expect(cloud.awsSts.requests).toEqual([]);
  });

  it('a refusal names who was sent, though nothing was expected', async () => {
    await using cloud = await localCloud();
    cloud.googleSts.providers.length = 0;
    cloud.googleSts.providers.push({ audience: LOCAL_AUDIENCE, awsAccountId: '111122223333', roleName: 'other' });
    const error = await caught(broker(cloud, { federated }).gcp('federated', request)?.get());
    expect(error).toMatchObject({
      id: 'STS_ATTRIBUTE_CONDITION',
      message: expect.stringMatching(/sent as arn:aws:sts::111122223333:assumed-role\/exports\/.*google\.subject AROA/),
      hint: expect.stringContaining("assertion.arn.startsWith('arn:aws:sts::111122223333:assumed-role/exports/')"),
    });
  });

  it('a wait that a server wants to be longer than ours is not cut short', async () => {
    await using cloud = await localCloud();
    const fault = { kind: 'answer', status: 429, headers: { 'retry-after': '30' }, body: '{}' } as const;
    cloud.googleSts.faults.add('/v1/token', fault, Number.POSITIVE_INFINITY);
    const provider = broker(cloud, { federated }).gcp('federated', request);
    for (const fresh of [false, false, true]) await caught(provider?.get({ fresh }));
    expect(cloud.googleSts.requests).toHaveLength(1);
  });

  it('a token that has ended when it arrives is refused', async () => {
    await using cloud = await localCloud();
    const body = JSON.stringify({ accessToken: 'ya29.cAnArY', expireTime: '2001-01-01T00:00:00Z' });
    cloud.iamCredentials.faults.add('generateAccessToken', { kind: 'answer', status: 200, body });
    expect(await caught(broker(cloud, { reader }).gcp('reader', request)?.get())).toMatchObject({ id: 'IMP_NO_TOKEN' });
  });

  it('a clock learns nothing from a process that was frozen while it waited', () => {
    let now = Date.parse('2026-11-25T12:00:00Z');
    const clock = new ServerClock(() => now);
    const sentAt = now;
    now += 3_600_000;
    expect(clock.learn(new Date(sentAt).toUTCString(), sentAt)).toBe(false);
    expect(clock.offsetMs).toBeUndefined();
  });

  it('credentials of a container that the SDK did not mark are not those of the node', () => {
    const uri = 'http://169.254.170.2/v2/credentials/x';
    expect(originOf({}, { AWS_CONTAINER_CREDENTIALS_FULL_URI: uri, ECS_CONTAINER_METADATA_URI_V4: 'x' })).toBe(
      'task-role',
    );
    expect(originOf({}, {})).toBe('instance-role');
  });

  it.each(['x.evil.example/', 'eu-west-1.evil.example', 'EU-WEST-1'])('%j is no region', async (AWS_REGION) => {
    expect(await caught(regionResolver({ AWS_REGION })())).toMatchObject({ id: 'AWS_REGION_MISSING' });
  });

  it('what plugins ask for is remembered once', async () => {
    await using cloud = await localCloud();
    const made = broker(cloud, { reader });
    for (let call = 0; call < 100; call++) made.gcp('reader', { scopes: [READ] });
    expect(made.asked.get('reader')).toHaveLength(1);
  });

  it('Google and AWS quote each other: the last who spoke counts', () => {
    const quoted = (text: string): string => `Received invalid AWS response of type ${text}`;
    expect(failureSaid(quoted('ExpiredToken with error message: x'))).toBe('STS_AWS_TOKEN_EXPIRED');
    expect(failureSaid(quoted('SignatureDoesNotMatch with error message: Signature expired: x'))).toBe('STS_CLOCK');
    expect(failureSaid(quoted('SignatureDoesNotMatch with error message: x-goog-cloud-target-resource'))).toBe(
      'STS_SIGNATURE',
    );
  });
});
