import { type Block, type Entry, list, render, text } from './hcl.ts';
import type { AwsGrant, RoleSetup, Setup } from './model.ts';
import { label } from './terraform-google.ts';
import { type AwsPlace, PLACES } from './trust.ts';

const HEAD = `# AWS: the role of the workload, and what it may do.
# Made by \`isthmus auth setup\`; yours from here on.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "VERSION"
    }
  }
}
`;

/** The Terraform of the AWS side; undefined when nothing is to be done there. */
export function awsTerraform(setup: Setup, place: AwsPlace): string | undefined {
  const { roles, providers } = setup;
  if (roles.length === 0) return undefined;
  const outbound = providers.some(({ kind }) => kind === 'aws-token');
  const blocks: Block[] = [
    ...(roles.some(({ trust }) => trust.by === 'google')
      ? [
          {
            block: 'variable',
            labels: ['google_service_account_id'],
            body: [
              ['type', 'string'],
              ['description', text("gcloud iam service-accounts describe EMAIL --format='value(uniqueId)'")],
            ] as Entry[],
          },
        ]
      : []),
    {
      block: 'variable',
      labels: ['create_roles'],
      body: [
        ['type', 'bool'],
        ['description', text('False when the roles exist already: then only their policies are added.')],
        ['default', 'true'],
      ],
    },
    ...(outbound ? outboundFederation() : []),
    ...roles.flatMap((role) => roleBlocks(setup.pipeline, role, place)),
  ];
  return `${HEAD.replace('VERSION', outbound ? '>= 6.25' : '>= 5.0')}\n${render(blocks)}`;
}

/** The switch for the whole account. Destroying the resource would switch it off for everybody, so it is kept. */
function outboundFederation(): Block[] {
  return [
    {
      block: 'resource',
      labels: ['aws_iam_outbound_web_identity_federation', 'this'],
      comment: 'Lets roles of this account ask AWS for identity tokens; which roles may, their policies say.',
      body: [{ block: 'lifecycle', body: [['prevent_destroy', 'true']] }],
    },
    {
      block: 'output',
      labels: ['aws_token_issuer'],
      body: [['value', 'aws_iam_outbound_web_identity_federation.this.issuer_identifier']],
    },
  ];
}

function roleBlocks(pipeline: string, setup: RoleSetup, place: AwsPlace): Block[] {
  const name = label(setup.role);
  const policy: Block[] =
    setup.grants.length === 0
      ? []
      : [
          { block: 'data', labels: ['aws_iam_policy_document', name], body: setup.grants.map(statement) },
          {
            block: 'resource',
            labels: ['aws_iam_role_policy', name],
            body: [
              ['name', text(`isthmus-${pipeline}`)],
              ['role', text(setup.role)],
              ['policy', `data.aws_iam_policy_document.${name}.json`],
              ['depends_on', `[aws_iam_role.${name}]`],
            ],
          },
        ];
  return [
    { block: 'data', labels: ['aws_iam_policy_document', `${name}_trust`], body: [trust(setup, place)] },
    {
      block: 'resource',
      labels: ['aws_iam_role', name],
      body: [
        ['count', 'var.create_roles ? 1 : 0'],
        ['name', text(setup.role)],
        ['assume_role_policy', `data.aws_iam_policy_document.${name}_trust.json`],
      ],
    },
    ...policy,
  ];
}

function trust({ trust: who }: RoleSetup, place: AwsPlace): Block {
  const principals = (type: string, identifier: string): Block => ({
    block: 'principals',
    body: [
      ['type', text(type)],
      ['identifiers', `[${text(identifier)}]`],
    ],
  });
  const equals = (variable: string, value: string): Block => condition('StringEquals', variable, [value]);
  if (who.by === 'place') {
    const { service, actions } = PLACES[place];
    return { block: 'statement', body: [['actions', list(actions.map(text))], principals('Service', service)] };
  }
  if (who.by === 'role') {
    const actions = ['sts:AssumeRole', ...(who.tags ? ['sts:TagSession'] : [])];
    return {
      block: 'statement',
      body: [
        ['actions', list(actions.map(text))],
        principals('AWS', who.arn),
        ...(who.externalId === undefined ? [] : [equals('sts:ExternalId', text(who.externalId))]),
      ],
    };
  }
  return {
    block: 'statement',
    comment:
      'AWS knows Google by itself: no IAM OIDC provider. `oaud` is the audience of the token, `aud` its azp: not compared.',
    body: [
      ['actions', list([text('sts:AssumeRoleWithWebIdentity')])],
      principals('Federated', 'accounts.google.com'),
      equals('accounts.google.com:sub', 'var.google_service_account_id'),
      equals('accounts.google.com:oaud', text(who.audience)),
    ],
  };
}

function statement({ actions, resources, condition: conditions = {}, reason }: AwsGrant): Block {
  return {
    block: 'statement',
    comment: `To ${reason}.`,
    body: [
      ['actions', list(actions.map(text))],
      ['resources', list(resources.map(text))],
      ...Object.entries(conditions).flatMap(([test, variables]) =>
        Object.entries(variables).map(([variable, value]) =>
          condition(test, variable, (typeof value === 'string' ? [value] : value).map(text)),
        ),
      ),
    ],
  };
}

const condition = (test: string, variable: string, values: readonly string[]): Block => ({
  block: 'condition',
  body: [
    ['test', text(test)],
    ['variable', text(variable)],
    ['values', `[${values.join(', ')}]`],
  ],
});
