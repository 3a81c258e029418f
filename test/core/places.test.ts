import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { IdentityBroker } from '../../core/auth/broker.ts';
import { CredentialCache } from '../../core/auth/cached.ts';
import { authRuntime } from '../../core/auth/runtime.ts';
import { type AuthStep, PUBLIC_AUTH_ENDPOINTS } from '../../core/auth/steps.ts';
import { identitySpec } from '../../core/pipeline/identity-spec.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from '../cloud/local-cloud.ts';
import { caught } from '../leaks.ts';
import { temporaryFolder } from '../support.ts';
import { PLACES, type Place, ssoProfile, type Variables } from './places.ts';

const request = { scopes: ['https://www.googleapis.com/auth/devstorage.read_only'] };
const AWS_JWT_AUDIENCE = LOCAL_AUDIENCE.replace('providers/isthmus', 'providers/aws-token');
const CLUSTER_AUDIENCE = LOCAL_AUDIENCE.replace('providers/isthmus', 'providers/cluster');
const CLUSTER_SUB = 'system:serviceaccount:default:exports';

let cloud: LocalCloud;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;

beforeEach(async () => {
  cloud = await localCloud();
  folder = await temporaryFolder();
  const { outbound } = cloud.awsSts;
  cloud.googleSts.providers.push(
    { audience: AWS_JWT_AUDIENCE, issuer: outbound, sub: 'arn:aws:iam::111122223333:role/exports' },
    { audience: CLUSTER_AUDIENCE, issuer: cloud.cluster, sub: CLUSTER_SUB },
  );
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await cloud[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** A broker as a process with these variables has it; the AWS SDK reads them from the process itself. */
function brokerIn(variables: Variables, identities: Readonly<Record<string, object>>, steps: AuthStep[] = []) {
  for (const name of Object.keys(process.env)) if (/^(AWS|ECS)_/.test(name)) vi.stubEnv(name, undefined);
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
  const specs = Object.entries(identities).map(([name, identity]) => [name, identitySpec.parse(identity)]);
  return new IdentityBroker({
    pipeline: 'places',
    identities: Object.fromEntries(specs),
    runtime: authRuntime(variables, { ...PUBLIC_AUTH_ENDPOINTS, ...cloud.endpoints }),
    cache: new CredentialCache(Date.now),
    observe: (step) => steps.push(step),
  });
}

const PROOFS = {
  'aws-signature': async () => ({ from: 'aws-signature', audience: LOCAL_AUDIENCE }),
  'aws-token': async () => ({ from: 'aws-token', audience: AWS_JWT_AUDIENCE }),
  'kubernetes-token': async () => {
    const tokenFile = join(folder.path, 'projected');
    await writeFile(tokenFile, cloud.cluster.token({ aud: `https:${CLUSTER_AUDIENCE}`, sub: CLUSTER_SUB }));
    return { from: 'kubernetes-token', audience: CLUSTER_AUDIENCE, tokenFile };
  },
} as const;

describe.each(PLACES)('in $name', (place: Place) => {
  describe.each(Object.keys(PROOFS) as (keyof typeof PROOFS)[])('by %s', (proof) => {
    it.each([
      ['directly', {}],
      ['as a service account', { serviceAccount: LOCAL_SERVICE_ACCOUNT }],
    ])('a Google token is had %s', async (_how, extra) => {
      const steps: AuthStep[] = [];
      const variables = await place.variables(cloud, folder.path);
      const before = { ...process.env };
      const reader = { kind: 'gcp', ...(await PROOFS[proof]()), ...extra };
      const broker = brokerIn(variables, { reader }, steps);
      const stubbed = { ...process.env };
      const token = await broker.gcp('reader', request)?.get();
      expect(token?.token).toMatch(/^ya29\./);
      const owner = cloud.googleSts.tokens.get(token?.token ?? '')?.principal;
      expect(owner).toMatch('serviceAccount' in extra ? LOCAL_SERVICE_ACCOUNT : /^principal:/);
      const aws = steps.find(({ step }) => step === 'aws-source');
      if (proof === 'kubernetes-token') expect(aws).toBeUndefined();
      else expect(aws?.detail).toContain(place.origin);
      expect({ ...process.env }).toEqual(stubbed);
      expect(Object.keys(before).length).toBeGreaterThan(0);
    });
  });

  it('the region is found, and EC2 metadata is the last to be asked', async () => {
    const broker = brokerIn(await place.variables(cloud, folder.path), {});
    const runtime = authRuntime(await place.variables(cloud, folder.path), PUBLIC_AUTH_ENDPOINTS);
    expect(await runtime.region()).toEqual({ name: 'eu-west-1', from: place.region });
    expect(await broker.awsRegion()).toBe('eu-west-1');
    if (place.region !== 'EC2 metadata') expect(cloud.imds.requests).toHaveLength(0);
  });

  it('`require` accepts this source and refuses any other', async () => {
    const broker = brokerIn(await place.variables(cloud, folder.path), {
      right: { kind: 'aws', require: ['lambda-role', place.origin] },
      wrong: { kind: 'aws', require: place.origin === 'task-role' ? 'pod-role' : 'task-role' },
    });
    await broker.aws('right').get();
    expect(await caught(broker.aws('wrong').get())).toMatchObject({ code: 'wrong_identity', id: 'AWS_WRONG_ORIGIN' });
  });
});

describe('several identities in one process', () => {
  it('are kept apart, and none of them is written into the environment', async () => {
    const variables = await (PLACES[0] as Place).variables(cloud, folder.path);
    for (const role of ['one', 'two']) cloud.awsSts.assumable.set(role, undefined);
    const arn = (role: string): string => `arn:aws:iam::111122223333:role/${role}`;
    const broker = brokerIn(variables, {
      one: { kind: 'aws', roleArn: arn('one') },
      two: { kind: 'aws', roleArn: arn('two'), aws: 'one' },
    });
    const before = { ...process.env };
    const [one, two] = await Promise.all([broker.aws('one').get(), broker.aws('two').get()]);
    const whoIs = (key: string | undefined): string => cloud.awsSts.principals.get(key ?? '')?.arn ?? '';
    expect(whoIs(one?.accessKeyId)).toContain('assumed-role/one/isthmus-places');
    expect(whoIs(two?.accessKeyId)).toContain('assumed-role/two/isthmus-places');
    expect({ ...process.env }).toEqual(before);
  });
});

describe('where an AWS source fails, the reason is named', () => {
  const reasons: readonly (readonly [string, string, () => Promise<Variables>])[] = [
    ['nothing anywhere', 'AWS_NO_CREDENTIALS', async () => ({ AWS_EC2_METADATA_DISABLED: 'true', HOME: folder.path })],
    [
      'EC2 metadata that refuses',
      'AWS_IMDS_UNAUTHORIZED',
      async () => ({ AWS_EC2_METADATA_SERVICE_ENDPOINT: cloud.sso.url, HOME: folder.path }),
    ],
    ['an SSO session that has ended', 'AWS_SSO_EXPIRED', () => ssoProfile(cloud, folder.path, new Date(0))],
    [
      'a rotated token of Pod Identity',
      'AWS_CONTAINER_REFUSED',
      async () => {
        const place = PLACES.find(({ name }) => name === 'EKS with Pod Identity') as Place;
        const variables = await place.variables(cloud, folder.path);
        cloud.container.podToken = 'rotated';
        return variables;
      },
    ],
    [
      'a web identity token that is not mounted',
      'AWS_WEB_IDENTITY_FILE',
      async () => ({
        AWS_WEB_IDENTITY_TOKEN_FILE: join(folder.path, 'nowhere'),
        AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/exports',
        HOME: folder.path,
      }),
    ],
    [
      'a profile that does not exist',
      'AWS_PROFILE_MISSING',
      async () => ({ AWS_PROFILE: 'nobody', HOME: folder.path }),
    ],
    [
      'a temporary key without its session token',
      'AWS_SESSION_TOKEN_MISSING',
      async () => ({ AWS_ACCESS_KEY_ID: 'ASIA0123456789ABCDEF', AWS_SECRET_ACCESS_KEY: 'cAnArY', HOME: folder.path }),
    ],
  ];

  it.each(reasons)('%s', async (_what, id, variables) => {
    const broker = brokerIn(
      { AWS_REGION: 'eu-west-1', AWS_EC2_METADATA_SERVICE_ENDPOINT: cloud.sso.url, ...(await variables()) },
      {},
    );
    expect(await caught(broker.aws(undefined).get())).toMatchObject({ id });
  });

  it('a rotated token of Pod Identity is read anew', async () => {
    const place = PLACES.find(({ name }) => name === 'EKS with Pod Identity') as Place;
    const variables = await place.variables(cloud, folder.path);
    const broker = brokerIn(variables, {});
    await broker.aws(undefined).get();
    cloud.container.podToken = 'rotated-again';
    const file = variables.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE ?? '';
    expect(await readFile(file, 'utf8')).not.toBe('rotated-again');
    await writeFile(file, 'rotated-again');
    await brokerIn(variables, {}).aws(undefined).get();
  });
});
