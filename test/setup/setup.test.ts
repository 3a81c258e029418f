import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compose } from '../../config/composition.ts';
import { plugins } from '../../config/plugins.ts';
import { tokens } from '../../config/tokens.ts';
import { parsePipelineText } from '../../core/pipeline/load.ts';
import { list, map, render, text } from '../../core/setup/hcl.ts';
import { type AwsPlace, type RoleSetup, referred, type Setup, setupOf, UNKNOWN } from '../../core/setup/model.ts';
import { awsScript, googleScript, trustDocument } from '../../core/setup/shell.ts';
import { accountsOf, awsTerraform } from '../../core/setup/terraform-aws.ts';
import { googleTerraform } from '../../core/setup/terraform-google.ts';
import { temporaryFolder } from '../support.ts';

const POOL = '//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/aws-prod/providers';
const expected = { awsAccountId: '111122223333', roleName: 'exports' };
const ROLE = 'arn:aws:iam::111122223333:role/lake-writer';
const SA = 'exports-reader@acme.iam.gserviceaccount.com';

/** One of each way of use. */
const PIPELINES: Readonly<Record<string, { identities: Record<string, object>; prefix?: string; sink?: object }>> = {
  direct: { identities: { reader: { kind: 'gcp', audience: `${POOL}/isthmus`, expect: expected } } },
  impersonated: {
    identities: {
      reader: {
        kind: 'gcp',
        audience: `${POOL}/isthmus`,
        expect: expected,
        serviceAccount: SA,
        delegates: ['first@acme.iam.gserviceaccount.com'],
      },
    },
    prefix: '2026/',
    sink: { encryption: 'aws:kms', kmsKeyId: 'alias/lake', tags: { team: 'data' } },
  },
  'aws-token': {
    identities: { reader: { kind: 'gcp', from: 'aws-token', audience: `${POOL}/aws-token`, expect: expected } },
  },
  kubernetes: {
    identities: {
      reader: {
        kind: 'gcp',
        from: 'kubernetes-token',
        audience: `${POOL}/cluster`,
        tokenFile: '/var/run/secrets/token',
        serviceAccount: SA,
      },
    },
  },
  reverse: {
    identities: {
      reader: { kind: 'gcp', from: 'metadata' },
      writer: { kind: 'aws', roleArn: ROLE, google: 'reader', audience: 'https://isthmus/aws/$(id)`id`' },
    },
  },
  chained: {
    identities: {
      reader: { kind: 'gcp', audience: `${POOL}/isthmus`, expect: expected },
      writer: { kind: 'aws', roleArn: ROLE, externalId: 'ext-1', sessionTags: { team: 'data' } },
    },
    prefix: `it's "$(id)" \`id\` \${x} %{y} \\`,
  },
};

function setupFor(name: string) {
  const { identities, prefix = '', sink = {} } = PIPELINES[name] ?? { identities: {} };
  const pipeline = {
    name,
    identities,
    source: { use: 'gcs', with: { bucket: 'acme-exports', prefix, identity: 'reader' } },
    sink: {
      use: 's3',
      with: {
        bucket: 'acme-lake',
        prefix: prefix && 'raw/',
        region: 'eu-west-1',
        ...sink,
        ...(identities.writer && { identity: 'writer' }),
      },
    },
  };
  const source = JSON.stringify(pipeline).replaceAll('${', () => '$${');
  return setupOf([parsePipelineText(source, 'p.yaml', { plugins, environment: {} })], { place: place(name) });
}

/** A pipeline that differs from others in its identities, and in the bucket that is named like it. */
const pipelineOf = (name: string, identities: object, prefix = '') =>
  parsePipelineText(
    JSON.stringify({
      name,
      identities,
      source: { use: 'gcs', with: { bucket: `acme-${name}`, prefix, identity: 'reader' } },
      sink: { use: 's3', with: { bucket: 'acme-lake' } },
    }),
    'p.yaml',
    { plugins, environment: {} },
  );

const grantsOf = ({ policies }: RoleSetup) => policies.flatMap(({ grants }) => grants);

/** EKS is where a pod's own token is. */
const place = (name: string): AwsPlace => (name === 'kubernetes' ? 'eks-irsa' : 'lambda');

/** All that is made for a pipeline, by what an administrator runs. */
function made(name: string): { terraform: string[]; shell: string[] } {
  const setup = setupFor(name);
  const accounts = accountsOf(setup);
  const some = (texts: readonly (string | undefined)[]): string[] => texts.filter((one) => one !== undefined);
  return {
    terraform: some([googleTerraform(setup), ...accounts.map((account) => awsTerraform(setup, account))]),
    shell: some([googleScript(setup), ...accounts.map((account) => awsScript(setup, account))]),
  };
}

/** Terraform, or its free twin, where one is installed. */
const terraform = ['terraform', 'tofu'].find((program) => spawnSync(program, ['version']).status === 0);

/** A CLI configuration of Terraform that names a mirror of the providers. */
const mirror = process.env.ISTHMUS_TERRAFORM_CONFIG;
const { TF_CLI_CONFIG_FILE: _, ...env } = process.env;

async function written(folder: string, name: string): Promise<string[]> {
  const setup = setupFor(name);
  const files: [string, string | undefined][] = [
    ['google', googleTerraform(setup)],
    ...accountsOf(setup).map((account): [string, string] => [
      `aws-${account.replace(/\W/g, '')}`,
      awsTerraform(setup, account),
    ]),
  ];
  const folders: string[] = [];
  for (const [side, source] of files) {
    if (source === undefined) continue;
    await mkdir(join(folder, side));
    await writeFile(join(folder, side, 'main.tf'), source);
    folders.push(join(folder, side));
  }
  return folders;
}

describe.each(Object.keys(PIPELINES))('the set-up of a pipeline that is %s', (name) => {
  it.skipIf(terraform === undefined)(
    'is formatted as `terraform fmt` does (skipped where terraform is not installed)',
    async () => {
      await using folder = await temporaryFolder();
      await written(folder.path, name);
      const { status, stdout, stderr } = spawnSync(terraform ?? '', ['fmt', '-check', '-diff', '-recursive', '.'], {
        cwd: folder.path,
        encoding: 'utf8',
        env,
      });
      expect(`${stdout}${stderr}`).toBe('');
      expect(status).toBe(0);
    },
  );

  // It would have to fetch the providers; with a mirror of them (a CLI configuration that names one) it need not.
  it.skipIf(terraform === undefined || mirror === undefined)(
    'is valid to `terraform validate` (skipped where ISTHMUS_TERRAFORM_CONFIG names no mirror of the providers)',
    async () => {
      await using folder = await temporaryFolder();
      for (const cwd of await written(folder.path, name)) {
        const go = (...args: string[]) =>
          spawnSync(terraform ?? '', args, { cwd, encoding: 'utf8', env: { ...env, TF_CLI_CONFIG_FILE: mirror } });
        expect(go('init', '-backend=false', '-input=false').status).toBe(0);
        expect(go('validate', '-no-color')).toMatchObject({ status: 0 });
      }
    },
    60_000,
  );

  it('is what it was when it was last looked at', async () => {
    const all = Object.values(made(name)).flat().join('\n#####\n\n');
    await expect(all).toMatchFileSnapshot(`expected/${name}.txt`);
  });

  it('is broader in nothing: no wildcard principal, no action of a whole service, every provider pinned', () => {
    const all = Object.values(made(name)).flat().join('\n');
    expect(all).not.toMatch(/workloadIdentityPools\/[^/"']+\/\*/);
    expect(all).not.toMatch(/"[a-z0-9]+:\*"|FullAccess|roles\/(?:owner|editor|storage\.admin)/);
    for (const block of all.split('resource "google_iam_workload_identity_pool_provider"').slice(1))
      expect(block).toMatch(/attribute_condition\s+= "assertion\.(arn\.startsWith|sub ==)/);
  });

  it('runs as a script, calls nothing but gcloud and aws, and leaves what is quoted alone', async () => {
    await using folder = await temporaryFolder();
    const log = join(folder.path, 'log');
    for (const program of ['gcloud', 'aws']) {
      const path = join(folder.path, program);
      // "describe" and "get" fail, so that everything is made.
      await writeFile(
        path,
        `#!/bin/bash\nprintf '%s\\0' ${program} "$@" >>"${log}"; printf '\\n' >>"${log}"\ncase " $* " in *" describe "*|*" get-role "*|*" get-instance-profile "*) exit 1;; *" get-caller-identity "*) echo "\${ACCOUNT:-111122223333}";; esac\n`,
      );
      await chmod(path, 0o755);
    }
    const known = {
      CLUSTER_ISSUER: 'https://oidc.example',
      CLUSTER_ISSUER_HOST: 'oidc.example',
      CLUSTER_OIDC_PROVIDER_ARN: 'arn:aws:iam::111122223333:oidc-provider/oidc.example',
      KUBERNETES_NAMESPACE: 'default',
      KUBERNETES_SERVICE_ACCOUNT: 'exports',
      ATTACHED_SERVICE_ACCOUNT: SA,
      GOOGLE_SERVICE_ACCOUNT_ID: '117000000000000000000',
      AWS_ACCOUNT: '111122223333',
      AWS_TOKEN_ISSUER: 'https://0d5d.tokens.sts.global.api.aws',
    };
    for (const script of made(name).shell) {
      const { status, stderr } = spawnSync('bash', ['--norc', '-c', script], {
        stdio: ['ignore', 'pipe', 'pipe'],
        encoding: 'utf8',
        env: { PATH: `${folder.path}:/usr/bin:/bin`, ...known },
      });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      // Whatever is not known is asked for before anything is done.
      const asked = spawnSync('/bin/bash', ['--norc', '-c', script], {
        stdio: ['ignore', 'pipe', 'pipe'],
        encoding: 'utf8',
        env: { PATH: '/nowhere' },
      });
      if (/:\?/.test(script)) expect(asked.stderr).toMatch(/[A-Z_]+: /);
    }
    const calls = (await readFile(log, 'utf8')).split('\0\n').map((line) => line.split('\0'));
    const argument = (flag: string): string[] => calls.flatMap((call) => call.filter((one) => one.startsWith(flag)));
    for (const condition of argument('--attribute-condition=')) expect(condition).not.toMatch(/\{\{|\$\{/);
    const trusts = calls.flatMap((call) =>
      call.includes('create-role') ? [JSON.parse(call.at(-1) ?? '') as object] : [],
    );
    const documents = setupFor(name).roles.map((role) => trustDocument(role));
    const filled = referred(JSON.stringify(documents), (unknown) => known[unknown as keyof typeof known]);
    expect(trusts).toEqual(JSON.parse(filled));
  });
});

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
    expect(() => setupOf([pipeline('one', one), pipeline('two', two)])).toThrow(/different accounts/);
  });

  it('cannot be told apart where two pipelines have one name', () => {
    expect(() => setupOf([pipeline('one', { writer }), pipeline('one', { writer })])).toThrow(
      /two pipelines are named one/,
    );
  });

  it('are of the partition that the pipeline names', () => {
    const gov = { writer: { kind: 'aws', roleArn: 'arn:aws-us-gov:iam::111122223333:role/lake-writer' } };
    const [own] = setupOf([pipeline('one', gov, { region: 'us-gov-west-1' })]).roles;
    expect(own?.arn).toMatch(/^arn:aws-us-gov:iam:/);
  });

  it.each([
    ['pod-role', 'pods.eks.amazonaws.com'],
    ['task-role', 'ecs-tasks.amazonaws.com'],
    ['lambda-role', 'lambda.amazonaws.com'],
    ['instance-role', 'ec2.amazonaws.com'],
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

describe('a script that is run again', () => {
  const reader = { kind: 'gcp', audience: `${POOL}/isthmus`, expect: expected };
  const setup = setupOf([pipelineOf('p', { reader })]);

  /** Runs it where everything exists already; `condition` is that of the provider. */
  async function run(source: string, condition: string, more: Record<string, string> = {}) {
    await using folder = await temporaryFolder();
    const log = join(folder.path, 'log');
    for (const program of ['gcloud', 'aws']) {
      const path = join(folder.path, program);
      const answers = `case " $* " in *"(state)"*) echo "\${STATE:-ACTIVE}";; *" providers describe "*) printf '%s\n' "$FOUND";; *" get-caller-identity "*) echo 111122223333;; esac`;
      await writeFile(path, `#!/bin/bash\necho ${program} "$@" >>"${log}"\n${answers}\n`);
      await chmod(path, 0o755);
    }
    const env = { PATH: `${folder.path}:/usr/bin:/bin`, FOUND: condition, ...more };
    const { status, stderr } = spawnSync('bash', ['--norc', '-c', source], { encoding: 'utf8', env });
    return { status, stderr, calls: await readFile(log, 'utf8') };
  }
  const google = googleScript(setup) ?? '';

  it('leaves a provider alone that lets others in too, and says so', async () => {
    const { status, stderr, calls } = await run(google, "assertion.arn.startsWith('another')");
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/another condition: .*'another'[\s\S]*REPLACE=1/),
    });
    expect(calls).not.toMatch(/create|update|add-iam/);
  });

  it('replaces it when told to', async () => {
    const { status, calls } = await run(google, "assertion.arn.startsWith('another')", { REPLACE: '1' });
    expect(status).toBe(0);
    expect(calls).toMatch(
      /update-aws projects\/123456789\/locations\/global\/workloadIdentityPools\/aws-prod\/providers\/isthmus /,
    );
  });

  it('goes on where the provider is as it has to be', async () => {
    const condition = /^condition="(.*)"$/m.exec(google)?.[1] ?? '';
    expect(await run(google, condition)).toMatchObject({ status: 0, stderr: '' });
  });

  it('leaves it to the administrator who may become a role that is there', async () => {
    const aws = awsScript(setup, '111122223333');
    const left = await run(aws, '');
    expect(left).toMatchObject({ status: 0, stderr: expect.stringContaining('left as it is') });
    expect(left.calls).toContain('put-role-policy');
    expect(left.calls).not.toContain('update-assume-role-policy');
    expect((await run(aws, '', { REPLACE: '1' })).calls).toContain('update-assume-role-policy');
  });

  it('brings back what was deleted less than 30 days ago', async () => {
    const { status, calls } = await run(google, '', { STATE: 'DELETED', REPLACE: '1' });
    expect(status).toBe(0);
    expect(calls).toMatch(/workload-identity-pools undelete .*\n[\s\S]*providers undelete /);
    expect(calls).not.toMatch(/pools create|create-aws/);
  });

  it('names no project by number where gcloud wants an id', () => {
    expect(google).not.toMatch(/gcloud iam [^\n]*--project=\d/);
  });
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

  it('refuses one provider for two kinds of proof', () => {
    const two = { reader: { ...reader, expect: expected }, other: { ...reader, from: 'aws-token', expect: expected } };
    expect(() => setup(two)).toThrow(/two kinds of proof/);
  });
});

describe('isthmus auth setup', () => {
  async function isthmus(...args: string[]) {
    const lines: string[] = [];
    const line = (shown: string): void => void lines.push(shown);
    const code = await compose({}).get(tokens.cli)(args, { out: line, err: line, terminal: undefined }, '0');
    return { code, text: lines.join('\n') };
  }

  it('writes into a folder, and overwrites nothing', async () => {
    await using folder = await temporaryFolder();
    const out = join(folder.path, 'setup');
    const made = await isthmus('auth', 'setup', 'pipeline.example.yaml', '--out', out);
    expect(made).toMatchObject({
      code: 0,
      text: expect.stringMatching(/google\/main\.tf\n.*aws\/main\.tf\n.*google\.sh\n.*aws\.sh/),
    });
    execFileSync('bash', ['-n', join(out, 'google.sh')]);
    await expect(isthmus('auth', 'setup', 'pipeline.example.yaml', '--out', out)).rejects.toThrow(
      /google\/main\.tf.*exists already/,
    );
  });

  it('judges the files that can be read, and fails for one that cannot', async () => {
    await using folder = await temporaryFolder();
    const lax = join(folder.path, 'policy.json');
    await writeFile(lax, JSON.stringify({ bindings: [{ role: 'r', members: ['allUsers'] }] }));
    const lines: string[] = [];
    const line = (shown: string): void => void lines.push(shown);
    const args = ['auth', 'setup', '--check', join(folder.path, 'none.json'), lax];
    const checked = compose({}).get(tokens.cli)(args, { out: line, err: line, terminal: undefined }, '0');
    await expect(checked).rejects.toThrow(/none\.json: ENOENT/);
    expect(lines.join('\n')).toMatch(/policy\.json: error: r to allUsers[\s\S]*1 found/);
  });

  it('finds nothing too lax in what it makes', async () => {
    await using folder = await temporaryFolder();
    const out = join(folder.path, 'setup');
    await isthmus('auth', 'setup', 'pipeline.example.yaml', '--out', out);
    const checked = await isthmus('auth', 'setup', '--check', join(out, 'google/main.tf'));
    expect(checked).toEqual({ code: 0, text: '1 checked: nothing found that is too lax' });
  });
});

describe('HCL', () => {
  it('quotes whatever a text holds', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('${', '%{', '$', '%', '{', '"', '\\', 'x', '\n')).map((parts) => parts.join('')),
        (value) => {
          const quoted = text(value);
          // As HCL reads it: `$${` is a literal `${`, and a `${` that is left would begin a template.
          const literal = quoted.replaceAll('$${', '<dollar>').replaceAll('%%{', '<percent>');
          expect(literal).not.toMatch(/[$%]\{/);
          expect(JSON.parse(literal.replaceAll('<dollar>', () => '${').replaceAll('<percent>', '%{'))).toBe(value);
        },
      ),
    );
  });

  it('puts equals signs of adjoining lines in one column', () => {
    expect(
      render([
        {
          block: 'resource',
          labels: ['a', 'b'],
          body: [
            ['x', '1'],
            ['long', '2'],
            ['many', list(['1', '2'])],
            ['map', map({ a: '1', 'b.c': '2' })],
          ],
        },
      ]),
    ).toBe(
      'resource "a" "b" {\n  x    = 1\n  long = 2\n\n  many = [\n    1,\n    2,\n  ]\n\n  map = {\n    "a"   = 1\n    "b.c" = 2\n  }\n}\n',
    );
  });
});
