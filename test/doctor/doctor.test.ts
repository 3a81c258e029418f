import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { compose } from '../../config/composition.ts';
import { tokens } from '../../config/tokens.ts';
import { ERROR_CODES } from '../../core/api/error-codes.ts';
import { AUTH_FAILURES } from '../../core/auth/failures/table.ts';
import { DOCTOR_EXIT, type Finding } from '../../core/doctor/finding.ts';
import { type LocalCloud, localCloud } from '../cloud/local-cloud.ts';
import type { Variables } from '../core/places.ts';
import { seed } from '../demo/seed.ts';
import { searchForLeaks } from '../leaks.ts';
import { temporaryFolder } from '../support.ts';
import { BROKEN, ELSEWHERE, READER, SAID, type Setting } from './rows.ts';

let cloud: LocalCloud;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;

beforeEach(async () => {
  cloud = await localCloud();
  folder = await temporaryFolder();
  seed(cloud);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await cloud[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

interface Answer {
  readonly code: number;
  readonly text: string;
}

/** Runs the command line in a process that has these variables and no others of AWS. */
async function isthmus(variables: Variables, ...args: string[]): Promise<Answer> {
  for (const name of Object.keys(process.env)) if (/^(AWS|ECS)_/.test(name)) vi.stubEnv(name, undefined);
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
  const printed: string[] = [];
  const line = (text: string): void => void printed.push(text);
  const environment = { ISTHMUS_ENDPOINTS: JSON.stringify(cloud.endpoints), ...variables };
  const cli = compose(environment).get(tokens.cli);
  const code = await cli(args, { out: line, err: line, terminal: undefined }, '0.0.0');
  const text = printed.join('\n');
  searchForLeaks(args.join(' '), text);
  return { code, text };
}

async function pipeline({ identities, source }: Setting): Promise<string> {
  const file = join(folder.path, 'p.yaml');
  const text = {
    name: 'patient',
    identities: identities ?? { reader: READER, writer: { kind: 'aws' } },
    source: source ?? { use: 'gcs', with: { bucket: 'acme-exports', prefix: '2026/', identity: 'reader' } },
    sink: {
      use: 's3',
      with: { bucket: 'acme-lake', region: 'eu-west-1', ...(identities?.writer ? { identity: 'writer' } : {}) },
    },
  };
  await writeFile(file, JSON.stringify(text));
  return file;
}

const parsed = (text: string) => JSON.parse(text) as { exitCode: number; findings: Finding[] };

describe('a healthy set-up', () => {
  it('passes every step, with evidence, and ends 0', async () => {
    const { code, text } = await isthmus(cloud.environment, 'doctor', await pipeline({}), '--json');
    const { findings } = parsed(text);
    expect(code).toBe(0);
    expect(findings.filter(({ verdict }) => verdict === 'fail' || verdict === 'warn')).toEqual([]);
    expect(new Set(findings.map(({ step }) => step))).toEqual(
      new Set([
        'runtime',
        'config',
        'aws-source',
        'aws-identity',
        'subject-token',
        'google-sts',
        'impersonation',
        'source',
        'sink',
      ]),
    );
    expect(cloud.s3.pendingUploads()).toBe(0);
    expect(cloud.s3.buckets.get('acme-lake')?.objects.size).toBe(0);
  });

  it('offline, sends nothing to anybody', async () => {
    const { code, text } = await isthmus(cloud.environment, 'doctor', await pipeline({}), '--offline');
    expect(code).toBe(0);
    expect(text).toMatch(/PASS {2}subject-token .*verified offline/);
    expect(text).toContain('attribute.aws_role/arn:aws:sts::111122223333:assumed-role/exports');
    for (const server of [cloud.awsSts, cloud.googleSts, cloud.iamCredentials, cloud.gcs, cloud.s3, cloud.imds])
      expect(server.requests).toEqual([]);
  });

  it('without a pipeline, examines the process', async () => {
    const { code, text } = await isthmus(cloud.environment, 'doctor');
    expect(code).toBe(0);
    expect(text).toContain('assumed-role/exports');
    expect(cloud.googleSts.requests).toEqual([]);
  });

  it('with an identity from Google to AWS, walks that way too', async () => {
    const roleArn = 'arn:aws:iam::111122223333:role/lake-writer';
    cloud.awsSts.webIdentityRoles.set('lake-writer', { issuer: cloud.google, claims: {} });
    const file = await pipeline({
      identities: {
        reader: { kind: 'gcp', from: 'metadata' },
        writer: { kind: 'aws', roleArn, google: 'reader', audience: 'https://isthmus/aws' },
      },
    });
    const nowhere = { HOME: folder.path, AWS_REGION: 'eu-west-1', AWS_EC2_METADATA_DISABLED: 'true' };
    const { code, text } = await isthmus(nowhere, 'doctor', file);
    expect(text).toMatch(/PASS {2}google-to-aws .*assumed arn:aws:iam::111122223333:role\/lake-writer/);
    expect(text).not.toContain('aws-source');
    expect(code).toBe(0);
  });
});

describe('each way to fail is recognised, with its step, a fix and an exit code', () => {
  it.each(BROKEN)('$id', async ({ id, arrange }) => {
    const setting = await arrange({ cloud, folder: folder.path });
    const { code, text } = await isthmus(
      setting.variables ?? cloud.environment,
      'doctor',
      await pipeline(setting),
      '--json',
    );
    const { findings, exitCode } = parsed(text);
    const bad = findings.filter(({ verdict }) => verdict === 'fail' || verdict === 'warn');
    const finding = bad.find((one) => one.id === id);
    expect(finding, JSON.stringify(bad, null, 2)).toBeDefined();
    expect(finding?.step).toBe(AUTH_FAILURES[id].step);
    expect(finding?.fix).toMatch(/\w{3}/);
    expect(finding?.fix, 'half a command').not.toMatch(/…$/);
    expect(finding?.fix, 'a name was left out of the fix').not.toMatch(/(?<!extract\('[^']*)\{\w+\}|undefined/);
    expect(finding?.fix, 'a name that is known was left out').not.toMatch(
      /\b(?:MEMBER|PRINCIPAL|AWS_ACCOUNT|POOL|POOL_NUMBER|SERVICE_ACCOUNT|AUDIENCE|ROLE_ARN|TOKEN_AUDIENCE|BIND_PROJECT|BIND_ACCOUNT|MAPPING|CONDITION)\b/,
    );
    expect(code).toBe(exitCode);
    if (finding?.verdict === 'fail') expect(Object.values(DOCTOR_EXIT)).toContain(code);
    searchForLeaks(`doctor ${id}`, text);
  });

  it.each([...Object.keys(ERROR_CODES), ...Object.keys(ERROR_CODES).map((code) => `Isthmus.${code}`)])(
    'explains %s as docs/errors.md does, also as Lambda prints it',
    async (code) => {
      const answer = await isthmus({}, 'doctor', '--explain', code, '--json');
      expect(JSON.parse(answer.text)).toMatchObject({ id: code.replace('Isthmus.', '') });
    },
  );

  it.each(SAID)('%s, said by another library: %s', async (id, text) => {
    const answer = await isthmus({}, 'doctor', '--explain', text, '--json');
    expect(answer.code).toBe(0);
    expect(JSON.parse(answer.text)).toMatchObject({ id });
  });

  it('a key of an IAM user is warned of', async () => {
    const keys = { ...cloud.environment, AWS_ACCESS_KEY_ID: 'AKIA0123456789ABCDEF', AWS_SESSION_TOKEN: '' };
    const { text } = await isthmus(keys, 'doctor', '--json');
    expect(parsed(text).findings).toContainEqual(
      expect.objectContaining({ verdict: 'warn', id: 'AWS_LONG_LIVED_KEY' }),
    );
  });

  it('no way to fail is left out', () => {
    const shown = new Set([...BROKEN.map(({ id }) => id), ...SAID.map(([id]) => id), ...ELSEWHERE]);
    expect(Object.keys(AUTH_FAILURES).filter((id) => !shown.has(id as never))).toEqual([]);
    expect(shown.size).toBeGreaterThan(45);
  });
});

describe('the doctor', () => {
  it('gives the very line that mends a missing binding', async () => {
    cloud.gcs.bucket('acme-exports', []);
    const { code, text } = await isthmus(cloud.environment, 'doctor', await pipeline({}));
    expect(code).toBe(19);
    expect(text).toContain(
      'fix: gcloud storage buckets add-iam-policy-binding gs://acme-exports --role=roles/storage.objectViewer --member="serviceAccount:exports-reader@acme.iam.gserviceaccount.com"',
    );
    expect(text).toContain('the identity lacks storage.objects.list, lacks storage.objects.get');
  });

  it('names the sink that cannot be written, though it can be listed', async () => {
    const body = '<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>';
    cloud.s3.faults.add('POST /acme-lake/', { kind: 'answer', status: 403, body }, Number.POSITIVE_INFINITY);
    const { code, text } = await isthmus(cloud.environment, 'doctor', await pipeline({}));
    expect(code).toBe(20);
    expect(text).toMatch(
      /PASS {2}sink .*list[\s\S]*FAIL {2}sink .*write[\s\S]*Allow s3:PutObject on arn:aws:s3:::acme-lake\/\*/,
    );
  });

  it('says what was not reached, and sends nothing to Google as the wrong role', async () => {
    const setting = { identities: { reader: { ...READER, expect: { roleName: 'others' } } } };
    const { code, text } = await isthmus(cloud.environment, 'doctor', await pipeline(setting));
    expect(code).toBe(12);
    expect(text).toMatch(/SKIP {2}google-sts .*nothing was sent to Google/);
    expect(cloud.googleSts.requests.filter(({ method }) => method === 'POST')).toEqual([]);
  });

  it('warns of a clock that is wrong, and of tokens that a library would print', async () => {
    const variables = { ...cloud.environment, GOOGLE_SDK_NODE_LOGGING: 'all' };
    const later = Date.now() + 3_600_000;
    vi.spyOn(Date, 'now').mockImplementation(() => later);
    const { text } = await isthmus(variables, 'doctor', await pipeline({}), '--json');
    vi.restoreAllMocks();
    const warnings = parsed(text).findings.filter(({ verdict }) => verdict === 'warn');
    expect(warnings.map(({ detail }) => detail).join()).toMatch(/GOOGLE_SDK_NODE_LOGGING/);
  });

  it('answers 2 with the mistakes of a pipeline that is not valid', async () => {
    const file = join(folder.path, 'bad.yaml');
    await writeFile(file, 'name: BAD\n');
    const { code, text } = await isthmus(cloud.environment, 'doctor', file);
    expect(code).toBe(2);
    expect(text).toMatch(/FAIL {2}config .*bad\.yaml:1:7: name:/);
    expect(text).toMatch(/PASS {2}aws-identity /);
  });

  it('refuses a code that nobody knows', async () => {
    const error = isthmus({}, 'doctor', '--explain', 'NO_SUCH_THING');
    await expect(error).rejects.toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining('NO_SUCH_THING'),
    });
  });

  it('says of a file that is not there that it is not there, not that a line of it is wrong', async () => {
    const { code, text } = await isthmus(cloud.environment, 'doctor', join(folder.path, 'none.yaml'));
    expect(code).toBe(2);
    expect(text).toMatch(/^isthmus doctor: .*none\.yaml/);
    expect(text).toContain('fix: Name a pipeline file that is there');
  });

  it('says offline that nothing was tried, rather than that all is well', async () => {
    const { text } = await isthmus(cloud.environment, 'doctor', await pipeline({}), '--offline');
    expect(text).toContain('Nothing is wrong as far as can be told offline');
    expect(text).not.toContain('Healthy');
  });

  it('goes on where only Google can be reached, since Google asks AWS who this is', async () => {
    const closed = { ...cloud.endpoints, awsSts: 'http://127.0.0.1:9' };
    const { expect: _, ...reader } = READER;
    const file = await pipeline({ identities: { reader, writer: { kind: 'aws' } } });
    const variables = { ...cloud.environment, ISTHMUS_ENDPOINTS: JSON.stringify(closed) };
    const { code, text } = await isthmus(variables, 'doctor', file);
    expect(text).toMatch(/WARN {2}aws-identity .*AWS could not be asked who this is/);
    expect(text).toMatch(/PASS {2}source /);
    expect(code).toBe(0);
  });

  it('looks offline too at the token of a pod', async () => {
    const reader = { kind: 'gcp', from: 'kubernetes-token', audience: READER.audience, tokenFile: '/nowhere/token' };
    const file = await pipeline({ identities: { reader, writer: { kind: 'aws' } } });
    const { code, text } = await isthmus(cloud.environment, 'doctor', file, '--offline');
    expect(code).toBe(DOCTOR_EXIT['subject-token']);
    expect(text).toMatch(/FAIL {2}subject-token .*\/nowhere\/token: ENOENT/);
  });

  it('tells credentials that were found from the answer of AWS to who they are', async () => {
    const body = '<ErrorResponse><Error><Code>InternalFailure</Code><Message>no</Message></Error></ErrorResponse>';
    cloud.awsSts.faults.add('POST /', { kind: 'answer', status: 400, body }, Number.POSITIVE_INFINITY);
    const { code, text } = await isthmus(cloud.environment, 'doctor');
    expect(code).toBe(DOCTOR_EXIT['aws-identity']);
    expect(text).toMatch(/PASS {2}aws-source +the process: lambda-role/);
    expect(text).toMatch(/FAIL {2}aws-identity +the process: /);
  });
});
