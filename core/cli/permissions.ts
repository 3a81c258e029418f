import { visible } from '../api/text.ts';
import { PLATFORM_ACTIONS } from '../package/deployment.ts';
import type { JobFactory } from '../runtime/job.ts';
import { type AwsPlace, type Binding, type Impersonation, referred, setupOf } from '../setup/model.ts';
import { policyDocument } from '../setup/shell.ts';
import { prefixCondition } from '../setup/trust.ts';
import { EXIT, type Output } from './output.ts';

export interface PermissionsFlags {
  readonly place?: AwsPlace;
  readonly json?: boolean;
}

/** `isthmus permissions`: what a pipeline needs in both clouds, as its plugins declare it, with the reason for each. */
export async function permissionsCommand(
  file: string,
  { place, json }: PermissionsFlags,
  jobs: JobFactory,
  output: Output,
): Promise<number> {
  const pipeline = await jobs.load(file);
  const { roles, bindings, impersonations } = setupOf([pipeline], { place, ownRole: true });
  const aws = roles.map(({ arn, policies, trust }) => {
    const grants = policies.flatMap((policy) => policy.grants);
    return { role: plainly(arn), runs: trust.by === 'place', grants, policy: policyDocument(grants) };
  });
  const google = [...bindings.map(bindingOf), ...impersonations.map(impersonationOf)];
  const platform =
    (place ?? 'lambda') === 'lambda'
      ? [
          { actions: PLATFORM_ACTIONS.logs, on: 'its log group' },
          { actions: PLATFORM_ACTIONS.deadLetters, on: 'its dead letter queue' },
          ...(pipeline.deploy.continue === 'self'
            ? [{ actions: PLATFORM_ACTIONS.again, on: 'the function itself' }]
            : []),
        ]
      : [];
  if (json === true) {
    output.out(JSON.stringify({ pipeline: pipeline.name, aws, google, platform }));
    return EXIT.complete;
  }
  for (const { role, runs, grants } of aws) {
    output.out(`AWS role ${visible(role)}${runs ? ' (the pipeline runs as it)' : ''}`);
    if (grants.length === 0) output.out('  nothing');
    for (const { actions, resources, condition, reason } of grants) {
      output.out(`  ${actions.join(', ')}`);
      output.out(`    on ${resources.map((one) => visible(plainly(one))).join(', ')}`);
      if (condition !== undefined) output.out(`    if ${visible(JSON.stringify(condition))}`);
      output.out(`    to ${visible(reason)}`);
    }
  }
  if (platform.length > 0) output.out('The Lambda itself, in the templates that `isthmus package` makes');
  for (const { actions, on } of platform) output.out(`  ${actions.join(', ')}\n    on ${on}`);
  if (google.length > 0) output.out('Google Cloud');
  for (const { role, member, on, condition, reason } of google) {
    output.out(`  ${role}\n    on ${visible(on)}\n    for ${visible(member)}`);
    if (condition !== undefined) output.out(`    if ${visible(condition)}`);
    output.out(`    to ${visible(reason)}`);
  }
  return EXIT.complete;
}

/** What only an administrator knows stands in capitals. */
const plainly = (text: string): string => referred(text, (name) => `<${name}>`);

function bindingOf(binding: Binding) {
  const { on, role, member, reason } = binding;
  const condition = prefixCondition(binding)?.expression;
  return {
    role,
    member: plainly(member),
    on: placeOf(on),
    ...(condition === undefined ? {} : { condition }),
    reason,
  };
}

const placeOf = (on: Binding['on']): string => {
  if ('bucket' in on) return `bucket gs://${on.bucket}`;
  return on.dataset === undefined ? `project ${on.project}` : `dataset ${on.project}.${on.dataset}`;
};

const impersonationOf = ({ serviceAccount, role, member }: Impersonation) => ({
  role,
  member: plainly(member),
  on: `service account ${plainly(serviceAccount)}`,
  condition: undefined,
  reason: 'act as it for a while',
});
