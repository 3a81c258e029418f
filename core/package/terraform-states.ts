import { type Block, type Entry, list, text } from '../setup/hcl.ts';
import { type Deployment, PLATFORM_ACTIONS } from './deployment.ts';
import { machineName, machineStatements, roleNameFor } from './state-machine-role.ts';
import { resource } from './terraform-role.ts';

const PARTS: Readonly<Record<string, string>> = {
  '{partition}': 'data.aws_partition.this.partition',
  '{region}': 'data.aws_region.this.region',
  '{account}': 'data.aws_caller_identity.this.account_id',
};

/** What stands in it for IAM is none of Terraform's. */
const filled = (arn: string): string =>
  text(arn).replace(/\{(?:partition|region|account)\}/g, (part) => `$\{${PARTS[part]}}`);

const statement = (actions: readonly string[], resources: readonly string[], why: string): Block => ({
  block: 'statement',
  comment: `To ${why}.`,
  body: [
    ['actions', list(actions.map(text))],
    ['resources', list(resources.map(filled))],
  ],
});

const policyDocument = (label: string, body: readonly Block[]): Block => ({
  block: 'data',
  labels: ['aws_iam_policy_document', label],
  body,
});

/** What a role's ARNs are made of. */
export const placeBlocks = (): Block[] =>
  ['aws_partition', 'aws_region', 'aws_caller_identity'].map(
    (type): Block => ({ block: 'data', labels: [type, 'this'], body: [] }),
  );

/** What the function needs besides, where a state machine calls it. */
export function functionStatements(deployment: Deployment): Block[] {
  const { distribution } = deployment;
  if (distribution === undefined) return [];
  const files = `arn:{partition}:s3:::${distribution.bucket}/${distribution.folder.replace(/[*?$]/g, '?')}*`;
  const executions = `arn:{partition}:states:{region}:{account}:execution:${machineName(deployment)}:*`;
  return [
    statement(PLATFORM_ACTIONS.files, [files], 'give up a manifest that is written in parts'),
    statement(PLATFORM_ACTIONS.executions, [executions], 'see whether the execution before is under way'),
  ];
}

/** The state machine and all that belongs to it. */
export function stateMachineBlocks(deployment: Deployment): Block[] {
  const { distribution, deploy, pipeline } = deployment;
  if (distribution === undefined) return [];
  const name = machineName(deployment);
  const service = (label: string, principal: string): Block =>
    policyDocument(label, [
      {
        block: 'statement',
        body: [
          ['actions', list([text('sts:AssumeRole')])],
          {
            block: 'principals',
            body: [
              ['type', text('Service')],
              ['identifiers', list([text(principal)])],
            ],
          },
        ],
      },
    ]);
  const role = (label: string, title: string, trust: string): Block =>
    resource('aws_iam_role', label, [
      ['name', text(title)],
      ['assume_role_policy', `data.aws_iam_policy_document.${trust}.json`],
    ]);
  const policy = (label: string): Block =>
    resource('aws_iam_role_policy', label, [
      ['name', text(`${name}-${label}`)],
      ['role', `aws_iam_role.${label}.name`],
      ['policy', `data.aws_iam_policy_document.${label}.json`],
    ]);
  const statements = machineStatements(deployment, distribution).map((one) =>
    statement(one.actions, one.resources, one.why),
  );
  return [
    resource(
      'aws_sfn_state_machine',
      'this',
      [
        ['name', text(name)],
        ['role_arn', 'aws_iam_role.states.arn'],
        [
          'definition',
          `templatefile("$\{path.module}/../state-machine.asl.json", { FunctionArn = aws_lambda_function.this.arn, Partition = data.aws_partition.this.partition })`,
        ],
        {
          block: 'logging_configuration',
          body: [
            ['log_destination', `"$\{aws_cloudwatch_log_group.states.arn}:*"`],
            ['level', text('ERROR')],
            ['include_execution_data', 'false'],
          ],
        },
        ['tags', `{ ${text('isthmus:pipeline')} = ${text(pipeline)} }`],
        ['depends_on', '[aws_iam_role_policy.states]'],
      ],
      'Plan, transfer and finish, by many invocations of the function.',
    ),
    service('states_trust', 'states.amazonaws.com'),
    role('states', roleNameFor(deployment, 'states'), 'states_trust'),
    policyDocument('states', statements),
    policy('states'),
    resource('aws_cloudwatch_log_group', 'states', [
      ['name', text(`/aws/vendedlogs/states/${name}`)],
      ['retention_in_days', String(deploy.logRetentionDays)],
    ]),
    ...(deploy.schedule === undefined ? [] : schedule(deployment, deploy.schedule, service, role, policy)),
  ];
}

/** EventBridge begins executions as a role of its own. */
function schedule(
  deployment: Deployment,
  expression: string,
  service: (label: string, principal: string) => Block,
  role: (label: string, title: string, trust: string) => Block,
  policy: (label: string) => Block,
): Block[] {
  const target: Entry[] = [
    ['rule', 'aws_cloudwatch_event_rule.schedule.name'],
    ['arn', 'aws_sfn_state_machine.this.arn'],
    ['role_arn', 'aws_iam_role.schedule.arn'],
    ['input', text('{}')],
  ];
  return [
    resource('aws_cloudwatch_event_rule', 'schedule', [
      ['name', text(deployment.name)],
      ['schedule_expression', text(expression)],
    ]),
    resource('aws_cloudwatch_event_target', 'schedule', target),
    service('schedule_trust', 'events.amazonaws.com'),
    role('schedule', roleNameFor(deployment, 'schedule'), 'schedule_trust'),
    policyDocument('schedule', [
      {
        block: 'statement',
        body: [
          ['actions', list([text('states:StartExecution')])],
          ['resources', '[aws_sfn_state_machine.this.arn]'],
        ],
      },
    ]),
    policy('schedule'),
  ];
}
