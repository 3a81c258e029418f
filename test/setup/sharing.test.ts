import { describe, expect, it } from 'vitest';
import { plugins } from '../../config/plugins.ts';
import { parsePipelineText } from '../../core/pipeline/load.ts';
import { type AwsPlace, type Setup, setupOf } from '../../core/setup/model.ts';
import { awsScript } from '../../core/setup/shell.ts';
import { accountsOf, awsTerraform } from '../../core/setup/terraform-aws.ts';
import { googleTerraform } from '../../core/setup/terraform-google.ts';
import { expected, grantsOf, POOL, pipelineOf, ROLE, SA } from './examples.ts';

describe('pipelines that share a provider', () => {
  const reader = (roleName: string, more: object = {}) => ({
    kind: 'gcp',
    audience: `${POOL}/isthmus`,
    expect: { ...expected, roleName, ...more },
  });
  const role = (name: string): string => `arn:aws:sts::111122223333:assumed-role/${name}`;

  it('are set up at once: its condition lets each of their roles in, and each reads its own bucket', () => {
    const setup = setupOf([
      pipelineOf('one', { reader: reader('first') }),
      pipelineOf('two', { reader: reader('second') }),
    ]);
    expect(setup.providers.map(({ roles }) => roles.map(({ role: name }) => name))).toEqual([['first', 'second']]);
    const members = setup.bindings.map(({ on, member }) => ['bucket' in on && on.bucket, member.split('aws_role/')[1]]);
    expect(members).toEqual([
      ['acme-one', role('first')],
      ['acme-two', role('second')],
    ]);
    expect(googleTerraform(setup)).toMatch(/attribute_condition.*role\/first\/.*role\/second\//);
    expect(setup.roles.map(({ role: name }) => name)).toEqual(['first', 'second']);
  });

  it('may share the role too, which then may do what both need', () => {
    const setup = setupOf([
      pipelineOf('one', { reader: reader('first') }),
      pipelineOf('two', { reader: reader('first') }),
    ]);
    expect(setup.roles).toHaveLength(1);
    expect(setup.providers[0]?.roles).toHaveLength(1);
  });

  it('cannot be of two accounts, and roles of one name in two accounts are not one member', () => {
    const other = reader('first', { awsAccountId: '444455556666' });
    expect(() =>
      setupOf([pipelineOf('one', { reader: reader('first') }), pipelineOf('two', { reader: other })]),
    ).toThrow(/second AWS account/);
    const beside = { ...other, audience: `${POOL}/second` };
    const setup = setupOf([pipelineOf('one', { reader: reader('first') }), pipelineOf('two', { reader: beside })]);
    expect(new Set(setup.bindings.map(({ member }) => member)).size).toBe(2);
  });
});

describe('roles of AWS that pipelines share', () => {
  const google = { kind: 'gcp', from: 'metadata' };
  const nobody = { kind: 'anonymous' };
  const writer = { kind: 'aws', roleArn: ROLE };
  const pipeline = (name: string, identities: object, more: object = {}) =>
    parsePipelineText(
      JSON.stringify({
        name,
        identities: { reader: nobody, ...identities },
        source: { use: 'gcs', with: { bucket: 'acme-exports', identity: 'reader' } },
        sink: { use: 's3', with: { bucket: 'acme-lake', prefix: `${name}/`, identity: 'writer', ...more } },
      }),
      'p.yaml',
      { plugins, environment: {} },
    );

  it('let in the role of each, and hold a policy for each', () => {
    const setup = setupOf([pipeline('one', { writer }), pipeline('two', { writer })]);
    const shared = setup.roles.find(({ arn }) => arn === ROLE);
    expect(shared?.trust).toMatchObject({
      by: 'role',
      arns: [expect.stringMatching(/isthmus-one$/), expect.stringMatching(/isthmus-two$/)],
    });
    expect(shared?.policies.map((policy) => policy.pipeline)).toEqual(['one', 'two']);
    const script = awsScript(setup, '111122223333');
    expect(script).toContain('--policy-name isthmus-one ');
    expect(script).toContain('--policy-name isthmus-two ');
  });

  it('are made after those that they trust, whatever the order of the file', () => {
    const arn = (role: string): string => `arn:aws:iam::111122223333:role/${role}`;
    const chain = {
      writer: { kind: 'aws', roleArn: arn('last'), aws: 'middle' },
      middle: { kind: 'aws', roleArn: arn('middle') },
    };
    const roles = setupOf([pipeline('one', chain)]).roles.map(({ role }) => role);
    expect(roles).toEqual(['isthmus-one', 'middle', 'last']);
  });

  it('cannot be assumed by two service accounts, since AWS knows one by a number that is asked for once', () => {
    const other = { ...google, serviceAccount: SA };
    const one = { google, writer: { ...writer, google: 'google', audience: 'https://isthmus/aws' } };
    const two = {
      other,
      writer: { ...writer, google: 'other', audience: 'https://isthmus/aws', roleArn: `${ROLE}-2` },
    };
    expect(() => setupOf([pipeline('one', one), pipeline('two', two)])).toThrow(/assumed by several/);
  });

  it('of two AWS accounts may be assumed by two service accounts', () => {
    const other = { ...google, serviceAccount: SA };
    const one = { ...writer, google: 'google', audience: 'https://isthmus/aws' };
    const two = { ...one, google: 'other', roleArn: ROLE.replace('111122223333', '444455556666') };
    expect(setupOf([pipeline('one', { google, other, writer: one, second: two })]).roles).toHaveLength(2);
  });

  it('cannot be told apart where two pipelines have one name', () => {
    expect(() => setupOf([pipeline('one', { writer }), pipeline('one', { writer })])).toThrow(
      /two pipelines are named one/,
    );
  });

  it('are of the partition that the pipeline names', () => {
    const gov = { writer: { kind: 'aws', roleArn: 'arn:aws-us-gov:iam::111122223333:role/lake-writer' } };
    const roles = setupOf([pipeline('one', gov, { region: 'us-gov-west-1' })]).roles;
    expect(roles[0]?.arn).toMatch(/^arn:aws-us-gov:iam:/);
    expect(roles.flatMap(grantsOf).flatMap(({ resources }) => resources)).toContain('arn:aws-us-gov:s3:::acme-lake');
  });

  it.each([
    ['pod-role', 'pods.eks.amazonaws.com'],
    ['task-role', 'ecs-tasks.amazonaws.com'],
    ['lambda-role', 'lambda.amazonaws.com'],
    ['instance-role', 'ec2.amazonaws.com'],
    [['environment', 'task-role'], 'ecs-tasks.amazonaws.com'],
  ])('trust what starts a workload that requires %s: %s', (required, service) => {
    const one = pipeline('one', { writer: { kind: 'aws', require: required } });
    const terraform = (setup: Setup) => awsTerraform(setup, accountsOf(setup)[0] ?? '');
    expect(terraform(setupOf([one]))).toContain(service);
    expect(terraform(setupOf([one], { place: 'ecs' }))).toContain('ecs-tasks.amazonaws.com');
  });

  it('may be tagged where EKS Pod Identity starts the chain, since its tags go on from role to role', () => {
    const setup = (place: AwsPlace) => setupOf([pipeline('one', { writer })], { place });
    const trusted = (place: AwsPlace) => setup(place).roles.find(({ arn }) => arn === ROLE)?.trust;
    expect(trusted('eks')).toMatchObject({ tags: true });
    expect(trusted('lambda')).toMatchObject({ tags: false });
    expect(
      setup('eks')
        .roles.flatMap(grantsOf)
        .flatMap(({ actions }) => actions),
    ).toContain('sts:TagSession');
  });
});

describe('what is pinned by an id, or issued by one issuer', () => {
  it('cannot be two roles', () => {
    const reader = (provider: string, roleName: string) => ({
      kind: 'gcp',
      audience: `${POOL}/${provider}`,
      expect: { ...expected, roleName },
    });
    const both = [
      pipelineOf('one', { reader: reader('first', 'a') }),
      pipelineOf('two', { reader: reader('second', 'b') }),
    ];
    expect(() => setupOf(both, { roleId: 'AROA0123456789ABCDEF' })).toThrow(/a role id pins one role/);
    expect(setupOf(both).providers).toHaveLength(2);
  });

  it('cannot be two clusters', () => {
    const reader = (provider: string) => ({
      kind: 'gcp',
      from: 'kubernetes-token',
      audience: `${POOL}/${provider}`,
      tokenFile: '/var/run/token',
    });
    const both = [pipelineOf('one', { reader: reader('first') }), pipelineOf('two', { reader: reader('second') })];
    expect(() => setupOf(both)).toThrow(/two issuers/);
  });
});
