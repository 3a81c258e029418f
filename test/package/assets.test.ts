import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { plugins } from '../../config/plugins.ts';
import { alarmsOf, deploymentOf } from '../../core/package/deployment.ts';
import { fargateSize } from '../../core/package/ecs.ts';
import { cronOf, kubernetesJob } from '../../core/package/kubernetes.ts';
import { samTemplate } from '../../core/package/sam.ts';
import { loadWritten } from '../../core/pipeline/load.ts';
import { temporaryFolder } from '../support.ts';
import { packageInto } from './packaged.ts';
import { PIPELINES, VARIABLES } from './pipelines.ts';

const FILES = {
  lambda: ['template.yaml', 'terraform/main.tf'],
  container: [
    'Dockerfile',
    'ecs/task-definition.json',
    'ecs/register.sh',
    'ecs/task-role-policy.json',
    'kubernetes/job.yaml',
  ],
} as const;

async function deploymentFor(pipeline: string) {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'p.yaml');
  await writeFile(file, pipeline);
  const { pipeline: loaded, written } = await loadWritten(file, { plugins, environment: VARIABLES });
  return deploymentOf(loaded, written, VARIABLES, 'lambda');
}

/** Terraform, or its free twin, where one is installed. */
const terraform = ['terraform', 'tofu'].find((program) => spawnSync(program, ['version']).status === 0);
/** A CLI configuration of Terraform that names a mirror of the providers. */
const mirror = process.env.ISTHMUS_TERRAFORM_CONFIG;
const { TF_CLI_CONFIG_FILE: _, ...env } = process.env;

describe.each(Object.keys(PIPELINES))('the files for a pipeline that is %s', (name) => {
  const made = async (target: keyof typeof FILES) => {
    const folder = await temporaryFolder();
    const { made: path } = await packageInto(folder.path, PIPELINES[name] ?? '', '--target', target);
    return { path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
  };

  it.each(['lambda', 'container'] as const)(
    'for %s are what they were when they were last looked at',
    async (target) => {
      await using folder = await made(target);
      const texts = await Promise.all(
        FILES[target].map(async (file) => `##### ${file}\n${await readFile(join(folder.path, file), 'utf8')}`),
      );
      await expect(texts.join('\n')).toMatchFileSnapshot(`expected/${name.replace(' ', '-')}-${target}.txt`);
    },
  );

  it('allow no action and no resource by a bare star, in any of them', async () => {
    await using lambda = await made('lambda');
    await using container = await made('container');
    for (const [folder, file] of [
      [lambda, 'template.yaml'],
      [lambda, 'terraform/main.tf'],
      [container, 'ecs/task-role-policy.json'],
    ] as const) {
      const text = await readFile(join(folder.path, file), 'utf8');
      expect(text).not.toMatch(
        /FullAccess|"\*"(?!\s*\n\s*(?:function_url_auth_type|invoked_via_function_url))|- "?\*"?\s*$|[a-z0-9]+:\*"?\s*$/m,
      );
      expect(text).not.toMatch(/"(?:Action|Resource)": "?\*/);
    }
  });

  it.skipIf(terraform === undefined)(
    'are formatted as `terraform fmt` does (skipped where terraform is not installed)',
    async () => {
      await using folder = await made('lambda');
      const fmt = ['fmt', '-check', '-diff', '-recursive', '.'];
      const { status, stdout, stderr } = spawnSync(terraform ?? '', fmt, { cwd: folder.path, encoding: 'utf8', env });
      expect(`${stdout}${stderr}`).toBe('');
      expect(status).toBe(0);
    },
  );

  it.skipIf(terraform === undefined || mirror === undefined)(
    'are valid to `terraform validate` (skipped where ISTHMUS_TERRAFORM_CONFIG names no mirror of the providers)',
    async () => {
      await using folder = await made('lambda');
      const cwd = join(folder.path, 'terraform');
      const go = (...args: string[]) =>
        spawnSync(terraform ?? '', args, { cwd, encoding: 'utf8', env: { ...env, TF_CLI_CONFIG_FILE: mirror } });
      expect(go('init', '-backend=false', '-input=false').status).toBe(0);
      expect(go('validate', '-no-color')).toMatchObject({ status: 0 });
    },
    60_000,
  );
});

describe('a function of its own', () => {
  it('has what a hand-made one lacks: retention, a dead letter queue, alarms on failure and on silence', async () => {
    await using folder = await temporaryFolder();
    const { made } = await packageInto(folder.path, PIPELINES.full ?? '');
    const { Resources } = parse(await readFile(join(made, 'template.yaml'), 'utf8')) as {
      Resources: Record<string, { Type: string; Properties: Record<string, unknown> }>;
    };
    expect(Resources.LogGroup?.Properties.RetentionInDays).toBe(90);
    expect(Resources.Function?.Properties).toMatchObject({
      Runtime: 'nodejs24.x',
      Architectures: ['x86_64'],
      MemorySize: 512,
      Timeout: 300,
      DeadLetterQueue: { Type: 'SQS' },
      Environment: { Variables: { PUSH_AUDIENCE: VARIABLES.PUSH_AUDIENCE } },
      ReservedConcurrentExecutions: 5,
      Events: { Schedule: { Properties: { Schedule: 'cron(0 3 ? * MON-FRI *)' } } },
      FunctionUrlConfig: { AuthType: 'NONE' },
    });
    expect(Resources.SilenceAlarm?.Properties).toMatchObject({
      MetricName: 'RunsComplete',
      Period: 3600,
      EvaluationPeriods: 73,
      TreatMissingData: 'breaching',
    });
    expect(Resources.FailedInvocationsAlarm?.Properties).toMatchObject({
      Namespace: 'AWS/Lambda',
      MetricName: 'Errors',
    });
  });

  it.each([
    ['rate(5 minutes)', 1],
    ['rate(6 hours)', 12],
    ['rate(3 days)', 144],
    ['cron(0/10 * * * ? *)', 1],
    ['cron(0 */6 * * ? *)', 12],
    ['cron(0 3,15 * * ? *)', 24],
    ['cron(0 3 * * ? *)', 48],
    ['cron(0 3 ? * MON-FRI *)', 144],
  ])('scheduled at %s is silent after %i hours', async (schedule, hours) => {
    const alarms = alarmsOf(
      await deploymentFor(`${PIPELINES.plain}deploy: { schedule: "${schedule}" }
`),
    );
    expect(alarms.find(({ id }) => id === 'Silence')?.periods).toBe(hours);
  });

  it.each(['rate(14 days)', 'cron(0 3 ? * SUN *)', 'cron(0 3 1 * ? *)', 'cron(0 3 L * ? *)', 'cron(0 3 1 JAN ? *)'])(
    'scheduled at %s has none, as CloudWatch does not look back so far, and the packager says so',
    async (schedule) => {
      await using folder = await temporaryFolder();
      const pipeline = `${PIPELINES.plain}deploy: { schedule: "${schedule}" }
`;
      expect(alarmsOf(await deploymentFor(pipeline)).map(({ id }) => id)).not.toContain('Silence');
      expect((await packageInto(folder.path, pipeline)).err).toContain('no alarm on silence is made');
    },
  );

  it('sets no variable that Lambda keeps for itself, and the others to what its rights are for', async () => {
    const pipeline = (PIPELINES.plain ?? '')
      .replace('region: eu-west-1', `region: "$\{AWS_REGION}", metadata: "$\{A_B:-carry}"`)
      .replace('bucket: lake', `bucket: "$\{AB:-lake}"`);
    const environment = { AWS_REGION: 'eu-west-1', A_B: 'drop', AB: 'other-lake' };
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'p.yaml');
    await writeFile(file, pipeline);
    const { pipeline: loaded, written } = await loadWritten(file, { plugins, environment });
    const deployment = deploymentOf(loaded, written, environment, 'lambda');
    expect(deployment.variables).toEqual({ AB: 'other-lake', A_B: 'drop' });
    expect(deployment.setByPlatform).toEqual(['AWS_REGION']);
    expect(deploymentOf(loaded, written, environment, 'ecs').variables).toHaveProperty('AWS_REGION', 'eu-west-1');
    const template = samTemplate(deployment);
    // Environment and rights are of the same values: no parameter could change one without the other.
    const { Resources, Parameters } = parse(template);
    expect(Resources.Function.Properties.Environment.Variables).toEqual({ AB: 'other-lake', A_B: 'drop' });
    expect(template).toContain('arn:aws:s3:::other-lake/raw/*');
    expect(Object.keys(Parameters)).toEqual(['AlarmTopicArn', 'CreateRole']);
  });

  it('has a name of its own, however long that of the pipeline is', async () => {
    const names = ['a', 'b'].map((end) => `${'x'.repeat(60)}-${end}`);
    const made = await Promise.all(
      names.map((name) => deploymentFor((PIPELINES.plain ?? '').replace('name: nightly', `name: ${name}`))),
    );
    expect(new Set(made.map(({ name }) => name)).size).toBe(2);
    for (const one of made) {
      expect(one.name.length).toBeLessThanOrEqual(64);
      for (const found of kubernetesJob(one).matchAll(/[nN]ame: (\S+)/g))
        expect(found[1]?.length).toBeLessThanOrEqual(52);
    }
  });

  it('without a schedule has no alarm on silence', async () => {
    const alarms = alarmsOf(await deploymentFor(PIPELINES.plain ?? ''));
    expect(alarms.map(({ id }) => id)).toEqual(['FailedInvocations', 'FailedRuns', 'DeadLetters']);
  });

  it.each([
    ['rate(0 hours)', 'at least one minute'],
    ['rate(1 hours)', 'write rate(1 hour)'],
    ['rate(2 hour)', 'write rate(2 hours)'],
    ['every day', 'as EventBridge writes them'],
    ['cron(0 3 * * *)', 'six fields'],
    ['cron(0 3 * * * *)', 'one of day and weekday must be "?"'],
    ['cron(0 3 ? * ? *)', 'one of day and weekday must be "?"'],
    ['cron(99 3 ? * 2 *)', '"99" is no minute'],
    ['cron(0 24 ? * 2 *)', '"24" is no hour'],
    ['cron(0 3 ? * 9 *)', '"9" is no weekday'],
    ['cron(0 3 ? 13 2 *)', '"13" is no month'],
    ['cron(0/0 3 ? * 2 *)', '"0/0" is no minute'],
  ])('is refused at the schedule %s: %s', async (schedule, message) => {
    await expect(deploymentFor(`${PIPELINES.plain}deploy: { schedule: "${schedule}" }\n`)).rejects.toThrow(message);
  });
});

describe('a container', () => {
  it('runs as nobody, without capabilities and with a read-only root, and has time to stop', async () => {
    await using folder = await temporaryFolder();
    const { made } = await packageInto(folder.path, PIPELINES.full ?? '', '--target', 'container');
    const task = JSON.parse(await readFile(join(made, 'ecs/task-definition.json'), 'utf8'));
    expect(task).toMatchObject({ cpu: '256', memory: '512', runtimePlatform: { cpuArchitecture: 'X86_64' } });
    expect(task.containerDefinitions[0]).toMatchObject({
      user: '65532:65532',
      readonlyRootFilesystem: true,
      stopTimeout: 110,
      linuxParameters: { capabilities: { drop: ['ALL'] } },
    });
    const [, job] = parseAllDocuments(await readFile(join(made, 'kubernetes/job.yaml'), 'utf8')).map((one) =>
      one.toJS(),
    );
    expect(job.spec).toMatchObject({ schedule: '0 3 * * MON-FRI', concurrencyPolicy: 'Forbid', timeZone: 'Etc/UTC' });
    expect(job.spec.jobTemplate.spec.template.spec).toMatchObject({
      securityContext: { runAsNonRoot: true, runAsUser: 65_532, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [{ securityContext: { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false } }],
    });
    expect(await readFile(join(made, 'Dockerfile'), 'utf8')).toMatch(/^USER 65532:65532$/m);
  });

  it('without a schedule is a Job, which runs once, and with one has what runs it on ECS too', async () => {
    await using once = await temporaryFolder();
    const { made } = await packageInto(once.path, PIPELINES.plain ?? '', '--target', 'container');
    expect(await readFile(join(made, 'kubernetes/job.yaml'), 'utf8')).toMatch(/^kind: Job$/m);
    await using daily = await temporaryFolder();
    const { made: scheduled, out } = await packageInto(daily.path, PIPELINES.full ?? '', '--target', 'container');
    const script = await readFile(join(scheduled, 'ecs/schedule.sh'), 'utf8');
    expect(script).toContain("--schedule-expression 'cron(0 3 ? * MON-FRI *)'");
    expect(spawnSync('bash', ['-n', join(scheduled, 'ecs/schedule.sh')]).status).toBe(0);
    expect(out).toContain('docker build --platform linux/amd64 -t isthmus-nightly .');
  });

  it('that proves itself by the token of its pod gets that token, for the audience of the provider', async () => {
    await using folder = await temporaryFolder();
    const pod = await readFile(join(import.meta.dirname, '../../examples/keyless/eks-pod.yaml'), 'utf8');
    const { made } = await packageInto(folder.path, pod, '--target', 'container');
    const [, job] = parseAllDocuments(await readFile(join(made, 'kubernetes/job.yaml'), 'utf8')).map((one) =>
      one.toJS(),
    );
    const { containers, volumes } = job.spec.template.spec;
    expect(containers[0].volumeMounts).toEqual([
      { name: 'token-0', mountPath: '/var/run/secrets/tokens/google', readOnly: true },
    ]);
    expect(volumes[0].projected.sources[0].serviceAccountToken).toEqual({
      audience:
        'https://iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/eks-prod/providers/cluster',
      expirationSeconds: 3600,
      path: 'token',
    });
  });

  it('is made although cron cannot say its schedule: ECS can, and the Job is left out with a word', async () => {
    await using folder = await temporaryFolder();
    const pipeline = `${PIPELINES.plain}deploy: { schedule: rate(90 minutes) }\n`;
    const { code, err, made } = await packageInto(folder.path, pipeline, '--target', 'container');
    expect(code).toBe(0);
    expect(err).toContain('no kubernetes/job.yaml is made: deploy.schedule: a CronJob cannot run at rate(90 minutes)');
    expect(err).not.toContain('silence');
    expect(await readFile(join(made, 'ecs/schedule.sh'), 'utf8')).toContain('rate(90 minutes)');
  });

  it.each([
    ['rate(15 minutes)', '*/15 * * * *'],
    ['rate(60 minutes)', '0 * * * *'],
    ['rate(1 hour)', '0 */1 * * *'],
    ['rate(24 hours)', '0 0 * * *'],
    ['rate(1 day)', '0 0 * * *'],
    ['cron(30 2 ? * 2-6 *)', '30 2 * * 1-5'],
    ['cron(0 0 ? * 2/2 *)', '0 0 * * 1/2'],
    ['cron(0 0 ? * */2 *)', '0 0 * * */2'],
    ['cron(0/10 * * * ? *)', '0/10 * * * *'],
  ])('at %s runs at %s', (schedule, cron) => {
    expect(cronOf(schedule)).toBe(cron);
  });

  it.each([
    'rate(7 minutes)',
    'rate(5 hours)',
    'rate(2 days)',
    'cron(0 3 L * ? *)',
    'cron(0 3 ? * 6#3 *)',
    'cron(0 3 * * ? 2027)',
    'cron(0 3 ? * FRI-MON *)',
  ])('cannot run at %s, and says so', (schedule) => {
    expect(() => cronOf(schedule)).toThrow(/CronJob cannot run/);
  });

  it.each([
    [128, '256', '512'],
    [2049, '512', '3072'],
    [10_240, '2048', '10240'],
  ])('of %i MiB is a Fargate task of %s CPU units and %s MiB', (size, cpu, memory) => {
    expect(fargateSize(size)).toEqual({ cpu, memory });
  });
});
