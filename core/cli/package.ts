import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PluginDefinition } from '../api/plugin.ts';
import { formatBytes, visible } from '../api/text.ts';
import { type Bundle, bundle, type Packaging, type Target } from '../package/bundle.ts';
import { cronJob, DOCKERFILE, DOCKERIGNORE, registerScript, taskDefinition, taskPolicy } from '../package/container.ts';
import { type Deployment, deploymentOf } from '../package/deployment.ts';
import { samTemplate } from '../package/sam.ts';
import { lambdaTerraform } from '../package/terraform.ts';
import { warningsFor } from '../package/warnings.ts';
import { type Written, writeFiles } from '../package/write.ts';
import { zipOf } from '../package/zip.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { loadWritten } from '../pipeline/load.ts';
import { EXIT, type Output, table } from './output.ts';

export interface PackageFlags {
  readonly target: Target;
  readonly out: string;
  readonly json?: boolean;
}

export interface PackageOptions {
  readonly plugins: readonly PluginDefinition[];
  readonly environment: Environment;
  readonly packaging: Packaging;
}

/** `isthmus package`: a pipeline as something that can be deployed, with the files that deploy it. */
export async function packageCommand(
  file: string,
  { target, out, json }: PackageFlags,
  { plugins, environment, packaging }: PackageOptions,
  output: Output,
): Promise<number> {
  const loaded = await loadWritten(file, { plugins, environment });
  const { pipeline, written } = loaded;
  const made = await bundle(target, loaded, packaging);
  const deployment = deploymentOf(pipeline, written, environment, target === 'lambda' ? 'lambda' : 'ecs');
  const inside = { 'index.mjs': made.code, 'pipeline.yaml': await readFile(file) };
  const folder = join(out, pipeline.name);
  const built = {
    ...inside,
    'index.mjs.map': made.map,
    ...(target === 'lambda' ? { 'function.zip': zipOf(inside) } : {}),
  };
  const files = await writeFiles(folder, built, assets(target, deployment));
  const warnings = warningsFor(target, pipeline);
  const { variables } = deployment;
  if (json === true) {
    const bytes = made.code.byteLength;
    output.out(
      JSON.stringify({
        pipeline: pipeline.name,
        target,
        folder,
        files,
        bytes,
        contents: made.contents,
        variables,
        warnings,
      }),
    );
  } else for (const line of told(target, folder, files, made)) output.out(line);
  if (json !== true)
    for (const [name, value] of Object.entries(variables))
      output.err(`note: ${name} is read where it runs; ${visible(value)} is what the files here say`);
  for (const warning of json === true ? [] : warnings) output.err(`warning: ${visible(warning)}`);
  return EXIT.complete;
}

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

function assets(target: Target, deployment: Deployment): Readonly<Record<string, string>> {
  if (target === 'lambda')
    return { 'template.yaml': samTemplate(deployment), 'terraform/main.tf': lambdaTerraform(deployment) };
  return {
    Dockerfile: DOCKERFILE,
    '.dockerignore': DOCKERIGNORE,
    'ecs/task-definition.json': json(taskDefinition(deployment)),
    'ecs/register.sh': registerScript(deployment),
    'ecs/task-role-policy.json': json(taskPolicy(deployment)),
    'kubernetes/cronjob.yaml': cronJob(deployment),
  };
}

const NEXT: Readonly<Record<Target, string>> = {
  lambda: 'Deploy: sam deploy --guided --capabilities CAPABILITY_NAMED_IAM, or terraform -chdir=terraform apply',
  container: 'Build: docker build -t NAME .',
};

function told(target: Target, folder: string, files: readonly Written[], { code, contents }: Bundle): string[] {
  const share = (bytes: number): string => `${Math.round((bytes / code.byteLength) * 100)} %`;
  const most = contents.slice(0, 6).map(([name, bytes]) => `${name} ${share(bytes)}`);
  return [
    ...table(
      files.map(({ path, bytes, edited }) => [
        visible(path),
        formatBytes(bytes) + (edited ? '  (yours was edited and is kept)' : ''),
      ]),
    ),
    '',
    `The bundle is filled by ${most.join(', ')}.`,
    `${NEXT[target]}   (in ${visible(folder)})`,
  ];
}
