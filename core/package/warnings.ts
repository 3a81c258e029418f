import { formatBytes } from '../api/text.ts';
import { endpointsOf } from '../pipeline/grants.ts';
import type { Pipeline } from '../pipeline/validate.ts';
import { memoryFor } from '../runtime/memory-size.ts';
import { ownRoleName } from '../setup/model.ts';
import type { Target } from './bundle.ts';
import { silenceOf } from './deployment.ts';

/** What of a pipeline will not work, or not as it looks, where it is packaged for. */
export function warningsFor(target: Target, whole: Pipeline): string[] {
  const { name: pipeline, sources, state, identities, deploy, memory } = whole;
  const warnings: string[] = [];
  const endpoints = endpointsOf(whole)
    .map(({ endpoint }) => endpoint)
    .filter(({ plugin }) => plugin.kind !== 'state');
  const lambda = target === 'lambda';
  for (const { plugin } of endpoints) {
    if (plugin.name === 'file')
      warnings.push(
        lambda
          ? `${plugin.kind} file: the files of this machine are not in the bundle, and in Lambda only /tmp can be written; it is gone afterwards`
          : `${plugin.kind} file: the files of this machine are not in the image: mount them where \`path\` says`,
      );
    if (plugin.name === 'memory') warnings.push(`${plugin.kind} memory: what it keeps ends with the process`);
  }
  for (const { plugin, config } of sources)
    for (const path of plugin.localFiles?.(config) ?? [])
      warnings.push(
        `source ${plugin.name}: ${path} is a file of this machine, and not in the ${lambda ? 'bundle: put it where the function can read it' : 'image: mount it there'}`,
      );
  const lasts = state?.plugin.lasts ?? 'process';
  const lasting = lasts === 'anywhere' || (!lambda && lasts === 'machine');
  if (!lasting) {
    const what =
      state === undefined ? 'no `state` is set' : `state ${state.plugin.name} ends with its process or machine`;
    warnings.push(`${what}: a paused run lists from the start, and uploads of a killed run stay`);
  } else if (lasts === 'machine') warnings.push('state: mount a volume where its `path` says');
  for (const [name, identity] of Object.entries(identities)) {
    if (
      identity.kind === 'gcp' &&
      identity.from.startsWith('aws-') &&
      identity.aws === undefined &&
      !identity.expect?.roleName
    )
      warnings.push(
        `identity ${name}: without \`expect\` the role is named ${ownRoleName(pipeline)}; \`isthmus auth setup\` needs to be told: expect: { awsAccountId: …, roleName: ${ownRoleName(pipeline)} }`,
      );
    if (
      lambda &&
      identity.kind === 'aws' &&
      identity.require !== undefined &&
      !identity.require.includes('lambda-role')
    )
      warnings.push(`identity ${name}: require: ${identity.require.join(', ')} is not met in Lambda`);
    if ('profile' in identity && identity.profile !== undefined)
      warnings.push(`identity ${name}: profile ${identity.profile} is of this machine`);
    if (lambda && identity.kind === 'gcp' && (identity.from === 'kubernetes-token' || identity.from === 'metadata'))
      warnings.push(`identity ${name}: from: ${identity.from} does not exist in Lambda`);
  }
  for (const { plugin, config } of endpoints) {
    const { endpoint } = config as { readonly endpoint?: unknown };
    if (typeof endpoint === 'string' && /^https?:\/\/(localhost|127\.|\[::1\])/.test(endpoint))
      warnings.push(`${plugin.kind} ${plugin.name}: ${endpoint} is this machine, and cannot be reached from there`);
  }
  const { schedule } = deploy;
  if (lambda && schedule !== undefined && silenceOf(deploy) === undefined)
    warnings.push(`deploy.schedule: two intervals of ${schedule} are more than a week: no alarm on silence is made`);
  const room = memoryFor(memory, deploy.memorySize);
  if (room < memory)
    warnings.push(
      `memory: ${formatBytes(memory)} do not fit into ${deploy.memorySize} MiB beside the process: ${formatBytes(room)} are used there`,
    );
  return warnings;
}

/** What of a pipeline may surprise when it is spread over many functions. */
export function distributedWarnings({ state, deploy, sources }: Pipeline): string[] {
  const { identity, expectedBucketOwner } = (state?.config ?? {}) as Readonly<Record<string, unknown>>;
  const { distributed, reservedConcurrency } = deploy;
  return [
    ...(identity === undefined && expectedBucketOwner === undefined
      ? []
      : [
          'state: the state machine reads its manifests by a role of its own: the bucket has to be of its account, or allow it',
        ]),
    ...(reservedConcurrency !== undefined && reservedConcurrency < distributed.maxConcurrency
      ? [`deploy.reservedConcurrency: no more than ${reservedConcurrency} children work at once`]
      : []),
    ...(distributed.maxConcurrency > 1000
      ? [
          `deploy.distributed.maxConcurrency: the account needs a quota of more than ${distributed.maxConcurrency} concurrent Lambdas; it has 1,000 if it has not asked for more`,
        ]
      : []),
    ...sources
      .filter(({ plugin }) => plugin.name !== 'gcs' && plugin.waits !== true)
      .map(
        ({ plugin }) => `source ${plugin.name}: it can be distributed only if its items can be opened by any process`,
      ),
  ];
}
