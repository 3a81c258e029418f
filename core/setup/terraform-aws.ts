import { type Block, list, render, text } from './hcl.ts';
import { type AwsGrant, asksForTokens, type RoleSetup, type Setup } from './model.ts';
import { head, known, label, rendered, variable, variablesFor } from './terraform-google.ts';
import { trustOf } from './trust.ts';

/** The accounts of AWS in which something is to be done, each set up by itself. */
export const accountsOf = ({ roles }: Setup): readonly string[] => [...new Set(roles.map(({ account }) => account))];

/** The Terraform of one AWS account: the roles there, who may become them and what they may do. */
export function awsTerraform(setup: Setup, account: string): string {
  const roles = setup.roles.filter((role) => role.account === account);
  // The account that asks for tokens is the one that has to allow it.
  const outbound = asksForTokens(roles);
  const blocks: Block[] = [
    ...(/^\d+$/.test(account) ? [{ block: 'data', labels: ['aws_caller_identity', 'this'], body: [] }] : []),
    ...(outbound ? outboundFederation() : []),
    ...roles.flatMap((role) => roleBlocks(role, roles)),
  ];
  const body = render(blocks);
  const create = variable(
    'create_roles',
    'False when the roles exist already: then only their policies are added.',
    'true',
  );
  const where = /^\d+$/.test(account) ? `AWS account ${account}` : 'AWS';
  const title = `${where}: the role of the workload, and what it may do.`;
  return [head(title, 'aws', outbound ? '>= 6.25' : '>= 5.0'), ...rendered([create, ...variablesFor(body)]), body].join(
    '\n',
  );
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

function roleBlocks(setup: RoleSetup, beside: readonly RoleSetup[]): Block[] {
  const name = label(setup.role);
  const { trust } = setup;
  const path = /:role(\/(?:.*\/)?)[^/]+$/.exec(setup.arn)?.[1] ?? '/';
  // AWS refuses a trust policy that names a role which does not exist yet.
  const before = beside.filter(({ arn }) => trust.by === 'role' && trust.arns.includes(arn));
  const policies = setup.policies.flatMap(({ pipeline, grants }): Block[] => {
    const one = `${name}_for_${pipeline}`;
    return [
      { block: 'data', labels: ['aws_iam_policy_document', one], body: grants.map(grantBlock) },
      {
        block: 'resource',
        labels: ['aws_iam_role_policy', one],
        body: [
          ['name', text(`isthmus-${pipeline}`)],
          ['role', text(setup.role)],
          ['policy', `data.aws_iam_policy_document.${one}.json`],
          ['depends_on', `[aws_iam_role.${name}]`],
        ],
      },
    ];
  });
  const profile: Block[] =
    setup.trust.by === 'place' && setup.trust.place === 'ec2'
      ? [
          {
            block: 'resource',
            labels: ['aws_iam_instance_profile', name],
            body: [
              ['name', text(setup.role)],
              ['role', text(setup.role)],
              ['depends_on', `[aws_iam_role.${name}]`],
            ],
          },
        ]
      : [];
  return [
    { block: 'data', labels: ['aws_iam_policy_document', `${name}_trust`], body: [trustBlock(setup)] },
    {
      block: 'resource',
      labels: ['aws_iam_role', name],
      body: [
        ['count', 'var.create_roles ? 1 : 0'],
        ['name', text(setup.role)],
        ...(path === '/' ? [] : [['path', text(path)] as const]),
        ['assume_role_policy', `data.aws_iam_policy_document.${name}_trust.json`],
        ...(before.length === 0
          ? []
          : [['depends_on', list(before.map(({ role }) => `aws_iam_role.${label(role)}`))] as const]),
        ...(/^\d+$/.test(setup.account) ? [rightAccount(setup.account)] : []),
      ],
    },
    ...policies,
    ...profile,
  ];
}

/** A role made in another account than the pipeline names would be another role. */
const rightAccount = (account: string): Block => ({
  block: 'lifecycle',
  body: [
    {
      block: 'precondition',
      body: [
        ['condition', `data.aws_caller_identity.this.account_id == ${text(account)}`],
        ['error_message', text(`Sign in to AWS account ${account}.`)],
      ],
    },
  ],
});

export function trustBlock(setup: RoleSetup): Block {
  const { principal, actions, equals, comment } = trustOf(setup);
  return {
    block: 'statement',
    ...(comment === undefined ? {} : { comment }),
    body: [
      ['actions', list(actions.map(text))],
      {
        block: 'principals',
        body: [
          ['type', text(principal.type)],
          ['identifiers', list(principal.ids.map(known))],
        ],
      },
      ...Object.entries(equals).map(([variable_, value]) => condition('StringEquals', variable_, [known(value)])),
    ],
  };
}

export function grantBlock({ actions, resources, condition: conditions = {}, reason }: AwsGrant): Block {
  return {
    block: 'statement',
    comment: `To ${reason}.`,
    body: [
      ['actions', list(actions.map(text))],
      ['resources', list(resources.map(known))],
      ...Object.entries(conditions).flatMap(([test, variables]) =>
        Object.entries(variables).map(([name, value]) =>
          condition(test, name, (typeof value === 'string' ? [value] : value).map(text)),
        ),
      ),
    ],
  };
}

const condition = (test: string, name: string, values: readonly string[]): Block => ({
  block: 'condition',
  body: [
    ['test', text(test)],
    ['variable', known(name)],
    ['values', `[${values.join(', ')}]`],
  ],
});
