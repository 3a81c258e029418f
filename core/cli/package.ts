import { readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { asBrokerError } from '../api/errors.ts';
import type { PluginDefinition } from '../api/plugin.ts';
import { formatBytes, visible } from '../api/text.ts';
import { type Bundle, bundle, type Packaging, type Target } from '../package/bundle.ts';
import { DOCKERFILE, DOCKERIGNORE } from '../package/container.ts';
import { type Deployment, type Distribution, deploymentOf, distributionOf } from '../package/deployment.ts';
import { registerScript, scheduleScript, taskDefinition, taskPolicy } from '../package/ecs.ts';
import { kubernetesJob } from '../package/kubernetes.ts';
import { licencesText } from '../package/licences.ts';
import { samTemplate } from '../package/sam.ts';
import { stateMachine } from '../package/state-machine.ts';
import { lambdaTerraform } from '../package/terraform.ts';
import { distributedWarnings, warningsFor } from '../package/warnings.ts';
import { type Written, writeFiles } from '../package/write.ts';
import { zipOf } from '../package/zip.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { loadWritten } from '../pipeline/load.ts';
import { InvalidPipeline } from '../pipeline/problem.ts';
import type { Pipeline } from '../pipeline/validate.ts';
import { EXIT, type Output, table } from './output.ts';

export interface PackageFlags {
  readonly target: Target;
  readonly out: string;
  readonly json?: boolean;
  /** With a state machine that spreads a run over many invocations. */
  readonly distributed?: boolean;
}

export interface PackageOptions {
  readonly plugins: readonly PluginDefinition[];
  readonly environment: Environment;
  readonly packaging: Packaging;
}

/** `isthmus package`: a pipeline as something that can be deployed, with the files that deploy it. */
export async function packageCommand(
  file: string,
  { target, out, json, distributed }: PackageFlags,
  { plugins, environment, packaging }: PackageOptions,
  output: Output,
): Promise<number> {
  const loaded = await loadWritten(file, { plugins, environment });
  const { pipeline, written } = loaded;
  if (distributed !== true) refuseEndless(target, pipeline);
  else if (target !== 'lambda')
    throw new InvalidPipeline(file, [
      { message: '--distributed is for --target lambda; containers share a plan with `isthmus apply --shard`' },
    ]);
  const made = await bundle(target, loaded, packaging);
  const distribution = distributed === true ? distributionOf(pipeline) : undefined;
  const place = target === 'lambda' ? 'lambda' : 'ecs';
  const deployment = deploymentOf(pipeline, written, environment, place, distribution);
  const inside = { ...made.code, 'pipeline.yaml': await readFile(file) };
  const folder = join(out, pipeline.name);
  const zip: Readonly<Record<string, Uint8Array>> = target === 'lambda' ? { 'function.zip': zipOf(inside) } : {};
  const licences = Buffer.from(licencesText(made.licences));
  const built = { ...inside, ...made.maps, ...zip, 'THIRD-PARTY-LICENSES.txt': licences };
  await removeChunks(folder, built);
  const kind = distributed === true ? 'lambda, distributed' : target;
  const origin = { from: basename(file), target: kind };
  const { texts, left } = assets(target, deployment);
  const { written: files, before } = await writeFiles(folder, built, texts, origin);
  const { variables } = deployment;
  const warnings = [
    ...warningsFor(target, pipeline),
    ...(distribution === undefined ? [] : distributedWarnings(pipeline)),
    ...left,
    ...laterThoughts(folder, origin, before, files, deployment),
  ];
  if (json === true) {
    const { contents, atStart } = made;
    const bytes = sizeOf(made);
    output.out(
      JSON.stringify({ pipeline: pipeline.name, target, folder, files, bytes, atStart, contents, variables, warnings }),
    );
    return EXIT.complete;
  }
  for (const line of told(target, folder, files, made, deployment)) output.out(line);
  for (const warning of warnings) output.err(`warning: ${visible(warning)}`);
  return EXIT.complete;
}

/** A function that calls itself and finds nothing of what it was about would begin again for ever. */
function refuseEndless(target: Target, { file, deploy, state }: Pipeline): void {
  if (target !== 'lambda' || deploy.continue !== 'self' || state?.plugin.lasts === 'anywhere') return;
  const message = 'self needs a `state` that the next invocation finds: state: { use: s3, with: { bucket: … } }';
  throw new InvalidPipeline(file, [{ path: 'deploy.continue', message }]);
}

/** What only shows once the files are there. */
function laterThoughts(
  folder: string,
  { from, target }: { readonly from: string; readonly target: string },
  before: { readonly from?: string | undefined; readonly target?: string | undefined },
  files: readonly Written[],
  { variables, setByPlatform }: Deployment,
): string[] {
  const edited = files.filter((one) => one.edited === true).map(({ path }) => path);
  // What packaging sets by itself is no value that was chosen.
  const fixed = Object.entries(variables)
    .filter(([name]) => name !== 'ISTHMUS_WARM_UP')
    .map(([name, value]) => `${name}=${value}`);
  return [
    ...(before.from !== undefined && before.from !== from
      ? [`${folder} held the package of ${before.from}, a pipeline of the same name`]
      : []),
    ...(before.target !== undefined && before.target !== target
      ? [
          `${folder} was packaged for ${before.target} before: what belongs to that alone is still there, and a deployment of this one takes away what only that had`,
        ]
      : []),
    ...edited.map((path) => `${path.replace(/\.new$/, '')} was edited and is kept: it lacks what is new in ${path}`),
    ...(fixed.length === 0
      ? []
      : [`the files for deployment are for ${fixed.join(', ')}, rights included: package again for other values`]),
    ...setByPlatform.map((name) => `${name} is set by Lambda itself: the rights are for the value that it has here`),
  ];
}

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

interface Assets {
  readonly texts: Readonly<Record<string, string>>;
  /** What could not be made, and why. */
  readonly left: readonly string[];
}

function assets(target: Target, deployment: Deployment): Assets {
  if (target === 'lambda') {
    const { distribution } = deployment;
    const texts = {
      ...(distribution && { 'state-machine.asl.json': json(stateMachine(deployment, distribution)) }),
      'template.yaml': samTemplate(deployment),
      'terraform/main.tf': lambdaTerraform(deployment),
    };
    return { texts, left: [] };
  }
  const schedule = scheduleScript(deployment);
  const texts = {
    Dockerfile: DOCKERFILE,
    '.dockerignore': DOCKERIGNORE,
    'ecs/task-definition.json': json(taskDefinition(deployment)),
    'ecs/register.sh': registerScript(deployment),
    ...(schedule === undefined ? {} : { 'ecs/schedule.sh': schedule }),
    'ecs/task-role-policy.json': json(taskPolicy(deployment)),
  };
  try {
    return { texts: { ...texts, 'kubernetes/job.yaml': kubernetesJob(deployment) }, left: [] };
  } catch (thrown) {
    // What cron cannot say, ECS may take all the same.
    const { message, hint } = asBrokerError(thrown);
    return { texts, left: [`no kubernetes/job.yaml is made: ${message}. ${hint}`] };
  }
}

const CHUNK = /^chunk-[A-Z0-9]+\.mjs(?:\.map)?$/;

const sizeOf = ({ code }: Bundle): number => Object.values(code).reduce((sum, { byteLength }) => sum + byteLength, 0);

/** Chunks of an earlier bundle, which nothing loads any more. */
async function removeChunks(folder: string, built: Readonly<Record<string, unknown>>): Promise<void> {
  const there = await readdir(folder).catch(() => []);
  const old = there.filter((name) => CHUNK.test(name) && !(name in built));
  await Promise.all(old.map((name) => rm(join(folder, name), { force: true })));
}

function nextSteps(target: Target, { name, deploy, distribution }: Deployment): string[] {
  if (target === 'lambda')
    return [
      'Deploy:  sam deploy --guided --capabilities CAPABILITY_NAMED_IAM',
      '  or:    terraform -chdir=terraform init && terraform -chdir=terraform apply',
      ...(distribution === undefined ? [] : startSteps(distribution)),
    ];
  const platform = deploy.architecture === 'arm64' ? 'linux/arm64' : 'linux/amd64';
  return [
    `Build:   docker build --platform ${platform} -t ${name} .`,
    'Deploy:  push it, put its address into ecs/task-definition.json or kubernetes/job.yaml, then',
    `         bash ecs/register.sh${deploy.schedule === undefined ? '' : ' && bash ecs/schedule.sh'}, or kubectl apply -f kubernetes/job.yaml`,
  ];
}

function startSteps({ bucket, folder }: Distribution): string[] {
  return [
    `         in the account and region of the bucket ${bucket}: Step Functions reads no other; before it, \`isthmus auth setup\` for the Google side`,
    "Start:   aws stepfunctions start-execution --state-machine-arn ARN --input '{}'",
    'Again:   the same with --input \'{"again": true}\' carries what the last run has not',
    `Reports: s3://${bucket}/${folder}RUN/report-1.json; let a lifecycle rule expire what lies below ${folder}`,
  ];
}

function told(
  target: Target,
  folder: string,
  files: readonly Written[],
  made: Bundle,
  deployment: Deployment,
): string[] {
  const all = sizeOf(made);
  const share = (bytes: number): string => `${Math.round((bytes / all) * 100)} %`;
  const most = made.contents.slice(0, 6).map(([name, bytes]) => `${name} ${share(bytes)}`);
  return [
    ...table(
      files
        .filter(({ path }) => !CHUNK.test(basename(path)))
        .map(({ path, bytes }) => [visible(path), formatBytes(bytes)]),
    ),
    '',
    `The bundle is ${formatBytes(all)} in ${Object.keys(made.code).length} files, of which ${formatBytes(made.atStart)} are loaded at the start; it is filled by ${most.join(', ')}.`,
    `Next, in ${visible(folder)}:`,
    ...nextSteps(target, deployment).map((step) => `  ${step}`),
  ];
}
