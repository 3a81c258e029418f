import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { plugins } from '../../config/plugins.ts';
import { parsePipelineText } from '../../core/pipeline/load.ts';
import { setupOf, UNKNOWN } from '../../core/setup/model.ts';
import { awsScript, googleScript } from '../../core/setup/shell.ts';
import { accountsOf, awsTerraform } from '../../core/setup/terraform-aws.ts';
import { googleTerraform } from '../../core/setup/terraform-google.ts';
import { expected, grantsOf, PIPELINES, POOL, pipelineOf, SA } from './examples.ts';

it('with delegates each account may make tokens of the next, and the first too', () => {
  const reader = {
    kind: 'gcp',
    audience: `${POOL}/isthmus`,
    expect: expected,
    serviceAccount: SA,
    delegates: ['first@acme.iam.gserviceaccount.com'],
  };
  const roles = setupOf([pipelineOf('p', { reader })]).impersonations.map(({ role }) => role);
  expect(roles).toEqual(['roles/iam.serviceAccountTokenCreator', 'roles/iam.serviceAccountTokenCreator']);
});

describe('what a set-up knows of its surroundings', () => {
  it('makes no service account that Google makes', () => {
    const compute = '123456789-compute@developer.gserviceaccount.com';
    const reader = { kind: 'gcp', audience: `${POOL}/isthmus`, expect: expected, serviceAccount: compute };
    const setup = setupOf([pipelineOf('p', { reader })]);
    expect(googleTerraform(setup)).not.toContain('"google_service_account"');
    expect(googleTerraform(setup)).toContain(`projects/-/serviceAccounts/${compute}`);
    expect(googleScript(setup)).not.toContain('service-accounts create');
    expect(googleScript(setup)).toContain(`projects/-/serviceAccounts/${compute}`);
  });

  it('gives a role of EC2 the profile that an instance takes it by', () => {
    const pipeline = pipelineOf('p', { reader: { kind: 'gcp', audience: `${POOL}/isthmus`, expect: expected } });
    const setup = setupOf([pipeline], { place: 'ec2' });
    expect(awsTerraform(setup, '111122223333')).toContain('aws_iam_instance_profile');
    expect(awsScript(setup, '111122223333')).toContain('create-instance-profile');
    expect(awsTerraform(setupOf([pipeline]), '111122223333')).not.toContain('aws_iam_instance_profile');
  });

  it('takes nothing of a plugin for a command', () => {
    const setup = setupOf([
      pipelineOf('p', { reader: { kind: 'gcp', audience: `${POOL}/isthmus`, expect: expected } }),
    ]);
    const [binding] = setup.bindings;
    const bindings = ['x; touch y; :', "x'; touch y", 'x$(touch y)'].map((project) => ({
      on: { project },
      role: '`touch y`',
      member: binding?.member ?? '',
      reason: 'be bad',
    }));
    const script = googleScript({ ...setup, bindings }) ?? '';
    const folder = spawnSync('bash', ['--norc', '-c', `cd "$(mktemp -d)"; gcloud() { :; }; ${script}\nls`], {
      encoding: 'utf8',
      env: { PATH: '/usr/bin:/bin', REPLACE: '1' },
    });
    expect(folder).toMatchObject({ status: 0, stdout: '' });
  });

  it('keeps what a plugin says of a grant inside the comment', () => {
    const setup = setupOf([
      pipelineOf('p', { reader: { kind: 'gcp', audience: `${POOL}/isthmus`, expect: expected } }),
    ]);
    const bindings = setup.bindings.map((binding) => ({ ...binding, reason: 'read\ntouch /tmp/owned\n' }));
    const lines = [googleScript({ ...setup, bindings }), googleTerraform({ ...setup, bindings })]
      .join('\n')
      .split('\n');
    expect(lines.filter((line) => line.startsWith('touch'))).toEqual([]);
    expect(lines.filter((line) => line.includes('touch'))).toHaveLength(2);
  });
});

describe('a chain of roles', () => {
  it('is granted step by step, and each account gets its own module', () => {
    const arn = (account: string, role: string): string => `arn:aws:iam::${account}:role/path/${role}`;
    const pipeline = {
      name: 'p',
      identities: {
        nobody: { kind: 'anonymous' },
        base: { kind: 'aws' },
        middle: { kind: 'aws', roleArn: arn('111122223333', 'middle'), aws: 'base' },
        writer: { kind: 'aws', roleArn: arn('444455556666', 'writer'), aws: 'middle' },
      },
      source: { use: 'gcs', with: { bucket: 'acme-exports', identity: 'nobody' } },
      sink: { use: 's3', with: { bucket: 'acme-lake', identity: 'writer' } },
    };
    const setup = setupOf([parsePipelineText(JSON.stringify(pipeline), 'p.yaml', { plugins, environment: {} })]);
    expect(accountsOf(setup)).toEqual([UNKNOWN.awsAccount, '111122223333', '444455556666']);
    const [own, middle, writer] = setup.roles;
    expect(own).toMatchObject({ role: 'isthmus-p', trust: { by: 'place' } });
    expect(own && grantsOf(own).map(({ resources }) => resources)).toEqual([[arn('111122223333', 'middle')]]);
    expect(middle).toMatchObject({ trust: { by: 'role', arns: [own?.arn] } });
    expect(middle && grantsOf(middle).map(({ resources }) => resources)).toEqual([[arn('444455556666', 'writer')]]);
    expect(writer).toMatchObject({ trust: { by: 'role', arns: [middle?.arn] } });
    expect(writer && grantsOf(writer).flatMap(({ actions }) => actions)).toContain('s3:PutObject');
    expect(awsTerraform(setup, '444455556666')).toMatch(/path +(?:) *= "\/path\/"/);
    expect(awsTerraform(setup, '444455556666')).not.toContain('middle" {');
  });

  it('that begins with an id pins it', () => {
    const { identities } = PIPELINES.direct ?? {};
    const pipeline = {
      name: 'p',
      identities,
      source: { use: 'gcs', with: { bucket: 'acme-exports', identity: 'reader', userProject: 'acme-billing' } },
      sink: { use: 's3', with: { bucket: 'acme-lake' } },
    };
    const parsed = parsePipelineText(JSON.stringify(pipeline), 'p.yaml', { plugins, environment: {} });
    const source = googleTerraform(setupOf([parsed], { roleId: 'AROA0123456789ABCDEF' }));
    expect(source).toContain("&& assertion.userid.startsWith('AROA0123456789ABCDEF:')");
    expect(source).toContain('attribute.aws_role_id/AROA0123456789ABCDEF');
    expect(source).toMatch(/google_project_iam_member[\s\S]*acme-billing[\s\S]*serviceUsageConsumer/);
  });
});

describe('what cannot be set up', () => {
  const setup = (identities: object) => setupOf([pipelineOf('p', identities)]);
  const reader = { kind: 'gcp', audience: `${POOL}/isthmus` };

  it('says that the role to trust is not known', () => {
    expect(() => setup({ reader })).toThrow(/does not say which AWS role Google is to trust/);
  });

  it('refuses one provider for two AWS accounts', () => {
    const two = {
      reader: { ...reader, expect: expected },
      other: { ...reader, expect: { ...expected, awsAccountId: '444455556666' } },
    };
    expect(() => setup(two)).toThrow(/second AWS account/);
  });

  it('refuses to give two roles of one pipeline the rights of both', () => {
    const two = {
      reader: { ...reader, expect: expected },
      other: { ...reader, expect: { ...expected, roleName: 'other' } },
    };
    expect(() => setup(two)).toThrow(/several roles: exports, other/);
  });

  it('refuses one provider for two kinds of proof', () => {
    const two = { reader: { ...reader, expect: expected }, other: { ...reader, from: 'aws-token', expect: expected } };
    expect(() => setup(two)).toThrow(/two kinds of proof/);
  });
});
