import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ServerClock } from '../../core/auth/clock.ts';
import { exchangeToken } from '../../core/auth/google-sts.ts';
import { signRequest } from '../../core/auth/sigv4.ts';
import { AWS_REQUEST_TYPE, awsSubjectToken, checkSubjectToken } from '../../core/auth/subject-token.ts';
import { LOCAL_AUDIENCE, localCloud } from '../cloud/local-cloud.ts';
import { caught } from '../leaks.ts';

/** The credentials and the moment of AWS's published test suite. */
const EXAMPLE = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
const MOMENT = Date.parse('2015-08-30T12:36:00Z');

describe("AWS's published vectors", () => {
  const url = 'https://example.amazonaws.com/';
  const host = { host: 'example.amazonaws.com' };
  const form = { ...host, 'content-type': 'application/x-www-form-urlencoded' };
  it.each([
    ['get-vanilla', 'GET', url, host, '', '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
    ['post-vanilla', 'POST', url, host, '', '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b'],
    [
      'get-vanilla-query-order-key-case',
      'GET',
      `${url}?Param2=value2&Param1=value1`,
      host,
      '',
      'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
    ],
    [
      'post-x-www-form-urlencoded',
      'POST',
      url,
      form,
      'Param1=value1',
      'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a',
    ],
  ])('%s', (_name, method, href, headers, body, signature) => {
    const signed = signRequest({ method, url: new URL(href), headers, body }, EXAMPLE, {
      region: 'us-east-1',
      service: 'service',
      now: MOMENT,
    });
    expect(signed.authorization).toMatch(new RegExp(`Signature=${signature}$`));
  });

  it('post-sts-header-before: with a session token', () => {
    const sessionToken =
      'AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==';
    const signed = signRequest(
      { method: 'POST', url: new URL(url), headers: host, body: '' },
      { ...EXAMPLE, sessionToken },
      { region: 'us-east-1', service: 'service', now: MOMENT },
    );
    expect(signed.authorization).toMatch(/Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead$/);
  });

  it('the example of the documentation, IAM ListUsers', () => {
    const signed = signRequest(
      {
        method: 'GET',
        url: new URL('https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08'),
        headers: { host: 'iam.amazonaws.com', 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' },
        body: '',
      },
      EXAMPLE,
      { region: 'us-east-1', service: 'iam', now: MOMENT },
    );
    expect(signed.authorization).toMatch(/Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7$/);
  });
});

/** A hash in the form in which the AWS SDK wants one. */
class Sha256 {
  readonly #hash;
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash =
      secret === undefined
        ? createHash('sha256')
        : createHmac('sha256', typeof secret === 'string' ? secret : Buffer.from(secret as Uint8Array));
  }
  update(data: Uint8Array | string): void {
    this.#hash.update(data);
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): void {}
}

it('signs as the AWS SDK does, whatever the names, values, session token and region', async () => {
  const text = fc.string({ minLength: 1, maxLength: 20 });
  const token = fc.stringMatching(/^[A-Za-z0-9+/=]{1,40}$/);
  await fc.assert(
    fc.asyncProperty(
      // The SDK keeps names in a plain object, and so loses this one.
      fc.dictionary(
        text.filter((name) => name !== '__proto__'),
        text,
        { maxKeys: 4 },
      ),
      fc.option(token, { nil: undefined }),
      fc.constantFrom('us-east-1', 'eu-west-1', 'cn-north-1'),
      fc.date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true }),
      async (query, sessionToken, region, date) => {
        const credentials = { ...EXAMPLE, ...(sessionToken === undefined ? {} : { sessionToken }) };
        const url = new URL('https://sts.amazonaws.com/');
        for (const [name, value] of Object.entries(query)) url.searchParams.append(name, value);
        const headers = { host: url.host, 'x-goog-cloud-target-resource': LOCAL_AUDIENCE };
        const ours = signRequest({ method: 'POST', url, headers, body: '' }, credentials, {
          region,
          service: 'sts',
          now: date.getTime(),
        });
        const signer = new SignatureV4({
          credentials,
          region,
          service: 'sts',
          sha256: Sha256 as never,
          applyChecksum: false,
        });
        const theirs = await signer.sign(
          {
            method: 'POST',
            protocol: 'https:',
            hostname: url.hostname,
            path: '/',
            query: Object.fromEntries(url.searchParams),
            headers,
          },
          { signingDate: date },
        );
        expect(ours.authorization).toBe(theirs.headers.authorization);
      },
    ),
    { numRuns: 300 },
  );
});

describe('a subject token', () => {
  it('is refused by a strict STS whichever byte of a header is changed', async () => {
    await using cloud = await localCloud();
    const token = JSON.parse(
      decodeURIComponent(awsSubjectToken(LOCAL_AUDIENCE, cloud.session, 'eu-west-1', Date.now())),
    ) as { headers: { key: string; value: string }[] };
    const options = { clock: new ServerClock(Date.now) };
    const send = () =>
      exchangeToken(
        cloud.googleSts.url,
        {
          subject: { type: AWS_REQUEST_TYPE, token: encodeURIComponent(JSON.stringify(token)) },
          audience: LOCAL_AUDIENCE,
          scopes: ['s'],
          facts: async () => ({}),
        },
        options,
      );
    let changed = 0;
    for (const header of token.headers) {
      const value = header.value;
      for (let at = 0; at < value.length; at++) {
        const other = String.fromCharCode(value.charCodeAt(at) ^ 1);
        header.value = value.slice(0, at) + other + value.slice(at + 1);
        expect(await caught(send())).toMatchObject({ code: 'unauthenticated' });
        changed++;
      }
      header.value = value;
    }
    expect(changed).toBeGreaterThan(500);
    await send();
  });

  it('is checked by us, offline, before it goes out', async () => {
    await using cloud = await localCloud();
    const good = awsSubjectToken(LOCAL_AUDIENCE, cloud.session, 'eu-west-1', Date.now());
    expect(checkSubjectToken(good, LOCAL_AUDIENCE, cloud.session, 'eu-west-1')).toMatchObject({
      targetSigned: true,
      signatureHolds: true,
      signedHeaders: ['host', 'x-amz-date', 'x-amz-security-token', 'x-goog-cloud-target-resource'],
      fingerprint: expect.stringMatching(/^sha256:[0-9a-f]{12}$/),
    });
    const altered = encodeURIComponent(decodeURIComponent(good).replace('providers/isthmus', 'providers/others'));
    expect(checkSubjectToken(altered, LOCAL_AUDIENCE, cloud.session, 'eu-west-1').targetSigned).toBe(false);
    const other = { ...cloud.session, secretAccessKey: 'other' };
    expect(checkSubjectToken(good, LOCAL_AUDIENCE, other, 'eu-west-1').signatureHolds).toBe(false);
  });
});
