import { inspect } from 'node:util';
import { AwsClient } from 'google-auth-library';
import { describe, expect, it } from 'vitest';
import type { AwsCredentials } from '../../core/api/index.ts';
import { ServerClock } from '../../core/auth/clock.ts';
import { exchangeToken } from '../../core/auth/google-sts.ts';
import { AWS_REQUEST_TYPE, awsSubjectToken } from '../../core/auth/subject-token.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from '../cloud/local-cloud.ts';
import { roleSession } from '../cloud/principals.ts';
import { pluginContext } from '../support.ts';

const SCOPES = ['https://www.googleapis.com/auth/devstorage.read_only'];
const MINUTE = 60_000;
const options = { clock: new ServerClock(Date.now) };
const request = { scopes: SCOPES };

const exchange = (cloud: LocalCloud, subjectToken: string, audience = LOCAL_AUDIENCE) =>
  exchangeToken(
    cloud.googleSts.url,
    { subject: { type: AWS_REQUEST_TYPE, token: subjectToken }, audience, scopes: SCOPES, facts: async () => ({}) },
    options,
  );

const ours = ({ session }: LocalCloud, now = Date.now(), credentials: AwsCredentials = session) =>
  awsSubjectToken(LOCAL_AUDIENCE, credentials, 'eu-west-1', now);

describe('a subject token', () => {
  it('of ours is accepted by a strict Google STS', async () => {
    await using cloud = await localCloud();
    const { token, expiresAt } = await exchange(cloud, ours(cloud));
    expect(token).toMatch(/^ya29\./);
    expect(expiresAt).toBeGreaterThan(Date.now() + 59 * MINUTE);
  });

  it("of google-auth-library's own AWS client is refused: its target header is not signed", async () => {
    await using cloud = await localCloud();
    const { accessKeyId, secretAccessKey, sessionToken } = cloud.session;
    const client = new AwsClient({
      audience: LOCAL_AUDIENCE,
      subject_token_type: 'urn:ietf:params:aws:token-type:aws4_request',
      aws_security_credentials_supplier: {
        getAwsRegion: async () => 'eu-west-1',
        getAwsSecurityCredentials: async () => ({ accessKeyId, secretAccessKey, token: sessionToken ?? '' }),
      },
    });
    const token = await client.retrieveSubjectToken();
    await expect(exchange(cloud, token)).rejects.toThrow(/UnsignedTarget.*must be a signed header/);
  });

  it('aimed at another provider is refused, though that one trusts the same role', async () => {
    await using cloud = await localCloud();
    const other = LOCAL_AUDIENCE.replace('providers/isthmus', 'providers/other');
    cloud.googleSts.providers.push({ audience: other, awsAccountId: cloud.session.account, roleName: 'exports' });
    await expect(exchange(cloud, ours(cloud), other)).rejects.toThrow(/does not name this provider/);
    const retargeted = encodeURIComponent(decodeURIComponent(ours(cloud)).replace(LOCAL_AUDIENCE, other));
    await expect(exchange(cloud, retargeted, other)).rejects.toThrow(/SignatureDoesNotMatch/);
  });

  it('of 16 minutes ago, or ahead, is refused with a hint at the clock', async () => {
    await using cloud = await localCloud();
    await expect(exchange(cloud, ours(cloud, Date.now() - 16 * MINUTE))).rejects.toMatchObject({
      id: 'STS_CLOCK',
      hint: expect.stringContaining('clock'),
    });
    await expect(exchange(cloud, ours(cloud, Date.now() + 16 * MINUTE))).rejects.toThrow(/not yet current/);
    await exchange(cloud, ours(cloud, Date.now() - 14 * MINUTE));
  });

  it('of a key that AWS does not know, or with another session token, is refused', async () => {
    await using cloud = await localCloud();
    await expect(exchange(cloud, ours(cloud, Date.now(), roleSession('exports', 'x')))).rejects.toThrow(
      /InvalidClientTokenId/,
    );
    const altered = { ...cloud.session, sessionToken: 'altered' };
    await expect(exchange(cloud, ours(cloud, Date.now(), altered))).rejects.toThrow(/InvalidClientTokenId/);
  });

  it('is refused whichever byte of its signed parts is changed', async () => {
    await using cloud = await localCloud();
    const token = JSON.parse(decodeURIComponent(ours(cloud))) as { headers: { key: string; value: string }[] };
    for (const header of token.headers) {
      const value = header.value;
      header.value = `${value.slice(0, -1)}${value.endsWith('0') ? '1' : '0'}`;
      await expect(exchange(cloud, encodeURIComponent(JSON.stringify(token)))).rejects.toMatchObject({
        code: 'unauthenticated',
      });
      header.value = value;
    }
    await exchange(cloud, encodeURIComponent(JSON.stringify(token)));
  });

  it('of a role that the attribute condition does not name is refused', async () => {
    await using cloud = await localCloud();
    const other = roleSession('other', 'x');
    cloud.awsSts.principals.set(other.accessKeyId, other);
    await expect(exchange(cloud, ours(cloud, Date.now(), other))).rejects.toMatchObject({
      id: 'STS_ATTRIBUTE_CONDITION',
      hint: expect.stringContaining('--attribute-condition='),
    });
  });
});

describe('the chain', () => {
  const context = (cloud: LocalCloud, identity: object = {}) =>
    pluginContext({
      endpoints: cloud.endpoints,
      credentials: cloud.session,
      identities: {
        reader: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT, ...identity },
      },
    }).credentials;

  it('makes one exchange for many callers, and none while the token is good', async () => {
    await using cloud = await localCloud();
    const provider = context(cloud).gcp('reader', request);
    const tokens = await Promise.all(Array.from({ length: 1000 }, () => provider?.get()));
    await provider?.get();
    expect(new Set(tokens.map((token) => token?.token)).size).toBe(1);
    expect(cloud.googleSts.requests).toHaveLength(1);
    expect(cloud.iamCredentials.requests).toHaveLength(1);
  });

  it('asks for no more scope than the plugin needs', async () => {
    await using cloud = await localCloud();
    const token = await context(cloud).gcp('reader', request)?.get();
    expect(cloud.googleSts.tokens.get(token?.token ?? '')?.scopes).toEqual(SCOPES);
  });

  it('sends nothing to Google when the AWS identity is not the expected one', async () => {
    await using cloud = await localCloud();
    const provider = context(cloud, { expect: { awsAccountId: '999999999999' } }).gcp('reader', request);
    await expect(provider?.get()).rejects.toMatchObject({ code: 'wrong_identity' });
    expect(cloud.googleSts.requests).toHaveLength(0);
  });

  it('assumes a role with an external id', async () => {
    await using cloud = await localCloud();
    cloud.awsSts.assumable.set('writer', 'secret-handshake');
    const { credentials } = pluginContext({
      endpoints: cloud.endpoints,
      credentials: cloud.session,
      identities: {
        writer: { kind: 'aws', roleArn: 'arn:aws:iam::111122223333:role/writer', externalId: 'secret-handshake' },
      },
    });
    const assumed = await credentials.aws('writer').get();
    expect(cloud.awsSts.principals.get(assumed.accessKeyId)?.arn).toContain(':assumed-role/writer/isthmus-test');
    expect(assumed.expiration?.getTime()).toBeGreaterThan(Date.now());
  });

  it('tries again after a passing fault, and not after a refusal', async () => {
    await using cloud = await localCloud();
    cloud.googleSts.faults.add('/v1/token', { kind: 'answer', status: 503 }, 2);
    cloud.iamCredentials.faults.add('generateAccessToken', { kind: 'reset-before' });
    await context(cloud).gcp('reader', request)?.get();
    const denied = context(cloud, { serviceAccount: 'other@acme.iam.gserviceaccount.com' }).gcp('reader', request);
    const before = cloud.iamCredentials.requests.length;
    await expect(denied?.get()).rejects.toMatchObject({
      code: 'impersonation_denied',
      hint: expect.stringContaining('workloadIdentityUser'),
    });
    expect(cloud.iamCredentials.requests).toHaveLength(before + 1);
  });

  it.each([
    ['an HTML page', { status: 200, body: '<html>captive portal</html>' }, 'bad_response'],
    ['no token', { status: 200, body: '{"expires_in":3600}' }, 'bad_response'],
    ['an empty refusal', { status: 403, body: '' }, 'bad_response'],
    ['a redirect', { status: 302, headers: { location: 'http://127.0.0.1:1/' } }, 'network'],
  ])('does not take %s for a token', async (_name, answer, code) => {
    await using cloud = await localCloud();
    cloud.googleSts.faults.add('/v1/token', { kind: 'answer', ...answer }, Number.POSITIVE_INFINITY);
    await expect(context(cloud).gcp('reader', request)?.get()).rejects.toMatchObject({ code });
  });

  it('never shows a secret in an error', async () => {
    await using cloud = await localCloud();
    const canaries = [
      cloud.session.secretAccessKey,
      cloud.session.sessionToken ?? '',
      'ya29.',
      encodeURIComponent(cloud.session.sessionToken ?? ''),
    ];
    const echo = JSON.stringify({
      error: 'invalid_grant',
      error_description: `you sent Bearer ya29.secret and ${cloud.session.accessKeyId}`,
    });
    cloud.googleSts.faults.add('/v1/token', { kind: 'answer', status: 400, body: echo });
    const refused: unknown = await context(cloud)
      .gcp('reader', request)
      ?.get()
      .catch((error: unknown) => error);
    const shown = inspect(refused, { depth: 10, showHidden: true }) + JSON.stringify(refused);
    for (const canary of [...canaries, cloud.session.accessKeyId]) expect(shown).not.toContain(canary);
  });
});
