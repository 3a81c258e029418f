import { DIMENSION } from '../runtime/figures.ts';
import { type Block, type Entry, list, map, render, text } from '../setup/hcl.ts';
import { head } from '../setup/terraform-google.ts';
import { type Alarm, alarmsOf, type Deployment, TICK_EVENT } from './deployment.ts';
import { resource, roleBlocks } from './terraform-role.ts';
import { stateMachineBlocks } from './terraform-states.ts';

/** A Terraform module of the function and all that belongs to it; the zip lies beside it. */
export function lambdaTerraform(deployment: Deployment): string {
  const title = `Isthmus pipeline ${deployment.pipeline}: one Lambda function, and all that belongs to it.`;
  const blocks = [
    ...variables(),
    ...lambdaFunction(deployment),
    ...roleBlocks(deployment),
    ...queueAndLogs(deployment),
    ...schedule(deployment),
    ...push(deployment),
    ...stateMachineBlocks(deployment),
    ...alarmsOf(deployment).map((one) => alarm(one, deployment)),
    ...outputs(deployment),
  ];
  // What a Function URL needs, the provider knows from 6.29 on.
  return [head(title, 'aws', deployment.pushed ? '>= 6.29' : '>= 6.25', 'package'), render(blocks)].join('\n');
}

function variables(): Block[] {
  const variable = (name: string, body: readonly Entry[]): Block => ({ block: 'variable', labels: [name], body });
  return [
    variable('create_role', [
      ['type', 'bool'],
      ['description', text('False when `isthmus auth setup` has made the role already.')],
      ['default', 'true'],
    ]),
    variable('alarm_topic_arns', [
      ['type', 'list(string)'],
      ['description', text('SNS topics that are told of alarms.')],
      ['default', '[]'],
    ]),
  ];
}

function lambdaFunction({ name, deploy, variables: given, grants, role: { role: roleName } }: Deployment): Block[] {
  const zip = `"$\{path.module}/../function.zip"`;
  // They are in its rights too: package again for others.
  const environment = Object.entries(given).map(([variable, value]) => [variable, text(value)] as const);
  const body: Entry[] = [
    ['function_name', text(name)],
    ['filename', zip],
    ['source_code_hash', `filebase64sha256(${zip})`],
    ['handler', text('index.handler')],
    ['runtime', text('nodejs24.x')],
    ['architectures', `[${text(deploy.architecture)}]`],
    ['memory_size', String(deploy.memorySize)],
    ['timeout', String(Math.floor(deploy.timeout / 1000))],
    ...(deploy.reservedConcurrency === undefined
      ? []
      : [['reserved_concurrent_executions', String(deploy.reservedConcurrency)] as const]),
    ['role', 'var.create_role ? aws_iam_role.this[0].arn : data.aws_iam_role.this[0].arn'],
    { block: 'dead_letter_config', body: [['target_arn', 'aws_sqs_queue.dead_letters.arn']] },
    {
      block: 'logging_config',
      body: [
        ['log_format', text('Text')],
        ['log_group', 'aws_cloudwatch_log_group.this.name'],
      ],
    },
    ...(environment.length === 0
      ? []
      : [{ block: 'environment', body: [['variables', map(Object.fromEntries(environment))] as const] }]),
    // Lambda checks at once whether it may send to the queue.
    [
      'depends_on',
      grants.length === 0
        ? '[aws_iam_role_policy.platform]'
        : list(['aws_iam_role_policy.pipeline', 'aws_iam_role_policy.platform']),
    ],
  ];
  const comment = 'A paused run, a deadline, a kill: the next invocation goes on where it stopped.';
  return [
    resource('aws_lambda_function', 'this', body, comment),
    resource('aws_lambda_function_event_invoke_config', 'this', [
      ['function_name', 'aws_lambda_function.this.function_name'],
      ['maximum_retry_attempts', '2'],
    ]),
    {
      block: 'data',
      labels: ['aws_iam_role', 'this'],
      body: [
        ['count', 'var.create_role ? 0 : 1'],
        ['name', text(roleName)],
      ],
    },
  ];
}

const queueAndLogs = ({ name, deploy }: Deployment): Block[] => [
  resource(
    'aws_sqs_queue',
    'dead_letters',
    [
      ['name', text(`${name}-dead-letters`)],
      ['message_retention_seconds', '1209600'],
      ['sqs_managed_sse_enabled', 'true'],
    ],
    'Events that failed three times.',
  ),
  resource('aws_cloudwatch_log_group', 'this', [
    ['name', text(`/aws/lambda/${name}`)],
    ['retention_in_days', String(deploy.logRetentionDays)],
  ]),
];

function schedule({ name, deploy, tick, distribution }: Deployment): Block[] {
  return [
    ...(deploy.schedule === undefined || distribution !== undefined ? [] : rule('schedule', name, deploy.schedule)),
    ...(tick === undefined ? [] : rule('resume', `${name.slice(0, 57)}-resume`, tick, TICK_EVENT)),
  ];
}

/** Calls the function again and again. */
function rule(label: string, name: string, expression: string, input?: string): Block[] {
  return [
    resource('aws_cloudwatch_event_rule', label, [
      ['name', text(name)],
      ['schedule_expression', text(expression)],
    ]),
    resource('aws_cloudwatch_event_target', label, [
      ['rule', `aws_cloudwatch_event_rule.${label}.name`],
      ['arn', 'aws_lambda_function.this.arn'],
      ...(input === undefined ? [] : [['input', text(input)] as const]),
    ]),
    resource('aws_lambda_permission', label, [
      ['function_name', 'aws_lambda_function.this.function_name'],
      ['action', text('lambda:InvokeFunction')],
      ['principal', text('events.amazonaws.com')],
      ['source_arn', `aws_cloudwatch_event_rule.${label}.arn`],
    ]),
  ];
}

function push({ pushed }: Deployment): Block[] {
  if (!pushed) return [];
  return [
    resource(
      'aws_lambda_function_url',
      'push',
      [
        ['function_name', 'aws_lambda_function.this.function_name'],
        ['authorization_type', text('NONE')],
      ],
      'Every push is verified by the function itself: its token, audience and sender.',
    ),
    resource('aws_lambda_permission', 'push', [
      ['function_name', 'aws_lambda_function.this.function_name'],
      ['action', text('lambda:InvokeFunctionUrl')],
      ['principal', text('*')],
      ['function_url_auth_type', text('NONE')],
    ]),
    // Since October 2025 both are needed.
    resource('aws_lambda_permission', 'push_invoke', [
      ['function_name', 'aws_lambda_function.this.function_name'],
      ['action', text('lambda:InvokeFunction')],
      ['principal', text('*')],
      ['invoked_via_function_url', 'true'],
    ]),
  ];
}

function alarm(one: Alarm, { name, pipeline }: Deployment): Block {
  const values = {
    FunctionName: 'aws_lambda_function.this.function_name',
    QueueName: 'aws_sqs_queue.dead_letters.name',
    StateMachineArn: 'aws_sfn_state_machine.this.arn',
    [DIMENSION]: text(pipeline),
  };
  const label = one.id.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
  return resource('aws_cloudwatch_metric_alarm', label, [
    ['alarm_name', text(`${name}-${one.id}`)],
    ['alarm_description', text(`${pipeline}: ${one.what}`)],
    ['namespace', text(one.namespace)],
    ['metric_name', text(one.metric)],
    ['statistic', text(one.statistic)],
    ['period', String(one.periodSeconds)],
    ['evaluation_periods', String(one.periods)],
    ['threshold', '1'],
    ['comparison_operator', text(one.comparison)],
    ['treat_missing_data', text(one.missing)],
    ['alarm_actions', 'var.alarm_topic_arns'],
    ['dimensions', `{ ${one.dimension} = ${values[one.dimension]} }`],
  ]);
}

const outputs = ({ pushed, distribution }: Deployment): Block[] => [
  ...(distribution === undefined
    ? []
    : [
        {
          block: 'output',
          labels: ['state_machine_arn'],
          body: [['value', 'aws_sfn_state_machine.this.arn'] as const],
        },
      ]),
  { block: 'output', labels: ['function_arn'], body: [['value', 'aws_lambda_function.this.arn']] },
  ...(pushed
    ? [
        {
          block: 'output',
          labels: ['push_url'],
          body: [['value', 'aws_lambda_function_url.push.function_url'] as const],
        },
      ]
    : []),
];
