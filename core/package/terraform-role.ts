import { type Block, type Entry, list, text } from '../setup/hcl.ts';
import { grantBlock, trustBlock } from '../setup/terraform-aws.ts';
import { type Deployment, PLATFORM_ACTIONS } from './deployment.ts';
import { functionStatements, placeBlocks } from './terraform-states.ts';

export const resource = (type: string, name: string, body: readonly Entry[], comment?: string): Block => ({
  block: 'resource',
  labels: [type, name],
  body,
  ...(comment === undefined ? {} : { comment }),
});

/** The role of the function: who may become it, and the least that it needs. */
export function roleBlocks(deployment: Deployment): Block[] {
  const { role: setup, grants, name, deploy } = deployment;
  const path = /:role(\/(?:.*\/)?)[^/]+$/.exec(setup.arn)?.[1] ?? '/';
  const after: Entry = ['depends_on', '[aws_iam_role.this]'];
  const policy = (label: string, title: string, statements: readonly Block[], only: readonly Entry[] = []): Block[] => [
    { block: 'data', labels: ['aws_iam_policy_document', label], body: statements },
    resource('aws_iam_role_policy', label, [
      ...only,
      ['name', text(title)],
      ['role', text(setup.role)],
      ['policy', `data.aws_iam_policy_document.${label}.json`],
      after,
    ]),
  ];
  const allow = (actions: readonly string[], arn: string): Block => ({
    block: 'statement',
    body: [
      ['actions', list(actions.map(text))],
      ['resources', `[${arn}]`],
    ],
  });
  const self =
    `"arn:$\{data.aws_partition.this.partition}:lambda:$\{data.aws_region.this.region}:` +
    `$\{data.aws_caller_identity.this.account_id}:function:${name}"`;
  const again = deploy.continue === 'self' && deployment.distribution === undefined;
  return [
    ...(again || deployment.distribution !== undefined ? placeBlocks() : []),
    { block: 'data', labels: ['aws_iam_policy_document', 'trust'], body: [trustBlock(setup)] },
    resource(
      'aws_iam_role',
      'this',
      [
        ['count', 'var.create_role ? 1 : 0'],
        ['name', text(setup.role)],
        ...(path === '/' ? [] : [['path', text(path)] as const]),
        ['assume_role_policy', 'data.aws_iam_policy_document.trust.json'],
      ],
      'What the pipeline and its platform need, and nothing else.',
    ),
    ...(grants.length === 0
      ? []
      : policy('pipeline', name, grants.map(grantBlock), [['count', 'var.create_role ? 1 : 0']])),
    ...policy('platform', `${name}-platform`, [
      allow(PLATFORM_ACTIONS.logs, `"$\{aws_cloudwatch_log_group.this.arn}:*"`),
      allow(PLATFORM_ACTIONS.deadLetters, 'aws_sqs_queue.dead_letters.arn'),
      ...(again ? [allow(PLATFORM_ACTIONS.again, self)] : []),
      ...functionStatements(deployment),
    ]),
  ];
}
