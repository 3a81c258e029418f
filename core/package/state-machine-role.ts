import { shortName } from '../setup/names.ts';
import type { Deployment, Distribution } from './deployment.ts';

export interface Statement {
  readonly why: string;
  readonly actions: readonly string[];
  /** ARNs, with `{partition}`, `{region}` and `{account}` to be filled in by whoever writes them down. */
  readonly resources: readonly string[];
}

/** The name of the state machine and of its log group. */
export const machineName = ({ name }: Deployment): string => name;

/** A role's name that no function's has: pipelines have no dots. @param what `states`, `schedule` */
export const roleNameFor = ({ name }: Deployment, what: string): string =>
  `${shortName(name, 63 - what.length)}.${what}`;

/**
 * What a state machine needs to spread a run over children, and nothing else.
 *
 * Source: https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html,
 * https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
 */
export function machineStatements(deployment: Deployment, { bucket, folder }: Distribution): readonly Statement[] {
  const { name } = deployment;
  const machine = machineName(deployment);
  const states = (kind: string, what: string): string => `arn:{partition}:states:{region}:{account}:${kind}:${what}`;
  const files = (below: string): string => `arn:{partition}:s3:::${bucket}/${literal(folder + below)}*`;
  return [
    {
      why: 'call the function',
      actions: ['lambda:InvokeFunction'],
      resources: [`arn:{partition}:lambda:{region}:{account}:function:${name}`],
    },
    { why: 'read the manifests', actions: ['s3:GetObject'], resources: [files('')] },
    {
      why: 'write down what the children answered',
      actions: ['s3:PutObject', 's3:ListMultipartUploadParts', 's3:AbortMultipartUpload'],
      resources: [files('results/')],
    },
    { why: 'begin children', actions: ['states:StartExecution'], resources: [states('stateMachine', machine)] },
    {
      why: 'see its children',
      actions: ['states:DescribeExecution'],
      resources: [states('execution', `${machine}:*`), states('execution', `${machine}/Transfer:*`)],
    },
    {
      why: 'stop its children',
      actions: ['states:StopExecution', 'states:RedriveExecution'],
      resources: [states('execution', `${machine}/Transfer:*`)],
    },
    {
      why: 'write its log: AWS knows no resources for these',
      actions: [
        'logs:CreateLogDelivery',
        'logs:GetLogDelivery',
        'logs:UpdateLogDelivery',
        'logs:DeleteLogDelivery',
        'logs:ListLogDeliveries',
        'logs:PutResourcePolicy',
        'logs:DescribeResourcePolicies',
        'logs:DescribeLogGroups',
      ],
      resources: ['*'],
    },
  ];
}

/** A `*` of a prefix must not become a wildcard. */
const literal = (text: string): string => text.replace(/[*?$]/g, (character) => `$\{${character}}`);
