import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compose } from '../../config/composition.ts';
import { tokens } from '../../config/tokens.ts';
import { LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from '../cloud/local-cloud.ts';
import { READER } from '../doctor/rows.ts';
import { leakIn, searchForLeaks } from '../leaks.ts';
import { temporaryFolder } from '../support.ts';

let cloud: LocalCloud;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let file: string;

beforeEach(async () => {
  cloud = await localCloud();
  folder = await temporaryFolder();
  file = join(folder.path, 'p.yaml');
  cloud.awsSts.assumable.set('lake-writer', undefined);
  const writer = { kind: 'aws', roleArn: 'arn:aws:iam::111122223333:role/lake-writer' };
  await writeFile(
    file,
    JSON.stringify({
      name: 'p',
      identities: { writer, reader: READER },
      source: { use: 'gcs', with: { bucket: 'acme-exports', identity: 'reader' } },
      sink: { use: 's3', with: { bucket: 'acme-lake', identity: 'writer', region: 'eu-west-1' } },
    }),
  );
});

afterEach(async () => {
  await cloud[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function token(...flags: string[]): Promise<string> {
  const lines: string[] = [];
  const line = (text: string): void => void lines.push(text);
  const cli = compose(cloud.environment).get(tokens.cli);
  expect(await cli(['auth', 'token', file, ...flags], { out: line, err: line, terminal: undefined }, '0')).toBe(0);
  return lines.join('\n');
}

describe('isthmus auth token', () => {
  it('prints who one is, step by step, and no secret', async () => {
    for (const text of [
      await token(),
      await token('--json'),
      await token('--identity', 'writer'),
      await token('--audience', 'https://a'),
    ])
      searchForLeaks('auth token', text);
    expect(await token()).toMatch(/identity reader[\s\S]*impersonation +exports-reader@acme/);
    expect(await token('--identity', 'writer')).toContain('assumed-role/lake-writer/isthmus-p');
    expect(JSON.parse(await token('--audience', 'https://a', '--json'))).toMatchObject({
      claims: { aud: 'https://a', email: LOCAL_SERVICE_ACCOUNT },
    });
  });

  it('prints the access token and nothing else when asked to, with the scopes of the source', async () => {
    const printed = await token('--print-access-token');
    expect(cloud.googleSts.tokens.get(printed)).toMatchObject({
      principal: LOCAL_SERVICE_ACCOUNT,
      scopes: ['https://www.googleapis.com/auth/devstorage.read_only'],
    });
    const scope = 'https://www.googleapis.com/auth/bigquery.readonly';
    expect(cloud.googleSts.tokens.get(await token('--print-access-token', '--scope', scope))?.scopes).toEqual([scope]);
    expect(leakIn(printed)).toBeDefined();
  });

  it('prints an ID token for an audience', async () => {
    const printed = await token('--print-id-token', '--audience', 'https://a');
    expect(cloud.google.verify(printed)).toMatchObject({ claims: { aud: 'https://a' } });
  });

  it('prints AWS credentials as a credential process does', async () => {
    const printed = JSON.parse(await token('--identity', 'writer', '--print-credentials')) as { AccessKeyId: string };
    expect(printed).toMatchObject({ Version: 1, Expiration: expect.stringMatching(/^\d{4}-/) });
    expect(cloud.awsSts.principals.get(printed.AccessKeyId)?.arn).toContain('lake-writer');
  });

  it.each([
    ['an identity that is not there', ['--identity', 'nobody'], /no identity "nobody"/],
    ['an access token of AWS', ['--identity', 'writer', '--print-access-token'], /is of kind aws/],
    ['credentials of Google', ['--print-credentials'], /for identities of kind aws/],
    ['an ID token for nobody', ['--print-id-token'], /needs --audience/],
  ])('refuses %s', async (_what, flags, message) => {
    await expect(token(...flags)).rejects.toThrow(message);
  });
});
