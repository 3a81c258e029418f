import type { Environment } from '../pipeline/interpolate.ts';
import { authFailure } from './failures/table.ts';
import { jsonOf, linkLocal } from './http.ts';

export interface Region {
  readonly name: string;
  /** For people: where it was found. */
  readonly from: string;
}

/** Finds the AWS region of the process; undefined when there is none. Metadata services are the last resort. */
export type RegionResolver = (signal?: AbortSignal) => Promise<Region | undefined>;

const REGION = /^[a-z]{2,4}(-[a-z]+)+-\d+$/;

/** Asks at most once: what was found holds for the process, and what was not is looked for again. */
export function regionResolver(environment: Environment): RegionResolver {
  let found: Region | undefined;
  return async (signal) => {
    found ??=
      fromVariables(environment) ?? (await fromProfile(environment)) ?? (await fromMetadata(environment, signal));
    // It becomes part of a host that signed requests are for.
    if (found !== undefined && !REGION.test(found.name)) {
      const { from } = found;
      found = undefined;
      throw authFailure('AWS_REGION_MISSING', `${from} does not hold the name of a region`);
    }
    return found;
  };
}

function fromVariables(environment: Environment): Region | undefined {
  for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION'] as const) {
    const value = environment[name];
    if (value) return { name: value, from: name };
  }
  return undefined;
}

async function fromProfile(environment: Environment): Promise<Region | undefined> {
  if (environment.AWS_LAMBDA_FUNCTION_NAME) return undefined;
  const { loadSharedConfigFiles } = await import('@smithy/core/config');
  const profile = environment.AWS_PROFILE || 'default';
  const { configFile, credentialsFile } = await loadSharedConfigFiles().catch(() => ({
    configFile: {} as Record<string, { region?: string }>,
    credentialsFile: {} as Record<string, { region?: string }>,
  }));
  const name = configFile[profile]?.region ?? credentialsFile[profile]?.region;
  return name === undefined ? undefined : { name, from: `profile ${profile}` };
}

async function fromMetadata(environment: Environment, signal: AbortSignal | undefined): Promise<Region | undefined> {
  const task = environment.ECS_CONTAINER_METADATA_URI_V4;
  if (task) return fromTask(task, signal).catch(() => undefined);
  const disabled = environment.AWS_EC2_METADATA_DISABLED;
  if (environment.AWS_LAMBDA_FUNCTION_NAME || (disabled && disabled !== 'false')) return undefined;
  return fromInstance(environment, signal).catch(() => undefined);
}

/** Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html */
async function fromTask(uri: string, signal: AbortSignal | undefined): Promise<Region | undefined> {
  const answer = jsonOf(await linkLocal(`${uri}/task`, { signal })) as { TaskARN?: unknown } | undefined;
  const name = /^arn:aws[a-z-]*:ecs:([a-z0-9-]+):/.exec(String(answer?.TaskARN ?? ''))?.[1];
  return name === undefined ? undefined : { name, from: 'ECS task metadata' };
}

/** Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html */
async function fromInstance(environment: Environment, signal: AbortSignal | undefined): Promise<Region | undefined> {
  const base = environment.AWS_EC2_METADATA_SERVICE_ENDPOINT || 'http://169.254.169.254';
  const ttl = { 'x-aws-ec2-metadata-token-ttl-seconds': '60' };
  const token = await linkLocal(`${base}/latest/api/token`, { method: 'PUT', headers: ttl, signal });
  if (token.status !== 200) return undefined;
  const headers = { 'x-aws-ec2-metadata-token': token.text };
  const answer = await linkLocal(`${base}/latest/meta-data/placement/region`, { headers, signal });
  const name = answer.text.trim();
  return answer.status === 200 && REGION.test(name) ? { name, from: 'EC2 metadata' } : undefined;
}
