import { type Block, type Entry, list, map, render, text } from './hcl.ts';
import { type Impersonation, type ProviderSetup, referred, type Setup, UNKNOWN } from './model.ts';
import { attributeCondition, attributeMapping, prefixCondition } from './trust.ts';

const HEAD = `# Google Cloud: whom to trust, and what they may read.
# Made by \`isthmus auth setup\`; yours from here on.

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 5.0"
    }
  }
}
`;

/** A name for a resource: what Terraform allows of a text. */
export const label = (value: string): string => value.replace(/[^a-zA-Z0-9_]+/g, '_').replace(/^(?=\d)/, '_');

/** What only the administrator knows, as a reference. */
const known = (value: string): string => referred(text(value), (name) => `$\{var.${name.toLowerCase()}}`);

/** The Terraform of the Google side: APIs, pools, providers, service accounts and bindings. */
export function googleTerraform(setup: Setup): string {
  const { providers, impersonations, buckets } = setup;
  const pools = [...new Map(providers.map((one) => [`${one.projectNumber}/${one.pool}`, one])).values()];
  const accounts = [...new Set(impersonations.map(({ serviceAccount }) => serviceAccount))];
  const blocks: Block[] = [
    ...variables(setup, accounts),
    ...pools.flatMap(pool),
    ...providers.map(provider),
    ...accounts.map(serviceAccount),
    ...impersonations.map(impersonation),
    ...buckets.map((binding, index): Block => {
      const condition = prefixCondition(binding);
      return {
        block: 'resource',
        labels: ['google_storage_bucket_iam_member', `bucket_${index + 1}`],
        comment: `So that the pipeline can ${binding.reason}.${condition === undefined ? '' : '\nA condition needs a bucket with uniform bucket-level access.'}`,
        body: [
          ['bucket', text(binding.bucket)],
          ['role', text(binding.role)],
          ['member', known(binding.member)],
          ...(condition === undefined
            ? []
            : [
                {
                  block: 'condition',
                  body: [
                    ['title', text(condition.title)],
                    ['expression', text(condition.expression)],
                  ],
                } as Block,
              ]),
        ],
      };
    }),
  ];
  return `${HEAD}\n${render(blocks)}`;
}

function variable(name: string, description: string, fallback?: string): Block {
  const value: Entry[] = fallback === undefined ? [] : [['default', fallback]];
  const type = fallback === 'true' ? 'bool' : 'string';
  return { block: 'variable', labels: [name], body: [['type', type], ['description', text(description)], ...value] };
}

function variables({ providers, impersonations, buckets }: Setup, accounts: readonly string[]): Block[] {
  const members = [...impersonations, ...buckets].map(({ member }) => member).join();
  return [
    ...(accounts.length === 0
      ? []
      : [variable('create_service_accounts', 'False when the service accounts exist already.', 'true')]),
    ...(providers.some(({ kind }) => kind === 'kubernetes')
      ? [
          variable(
            'cluster_issuer',
            'aws eks describe-cluster --name CLUSTER --query cluster.identity.oidc.issuer --output text',
          ),
          variable('kubernetes_namespace', 'The namespace of the pod.'),
          variable('kubernetes_service_account', 'The Kubernetes service account of the pod.'),
        ]
      : []),
    ...(providers.some(({ kind }) => kind === 'aws-token')
      ? [
          variable(
            'aws_token_issuer',
            'Output aws_token_issuer of aws.tf, or: aws iam get-outbound-web-identity-federation-info',
          ),
        ]
      : []),
    ...(members.includes(UNKNOWN.attachedAccount)
      ? [variable('attached_service_account', 'The e-mail address of the service account that the workload runs as.')]
      : []),
  ];
}

function pool({ projectNumber, pool }: ProviderSetup): Block[] {
  const services = ['iam.googleapis.com', 'sts.googleapis.com', 'iamcredentials.googleapis.com'];
  return [
    {
      block: 'resource',
      labels: ['google_project_service', label(pool)],
      body: [
        ['for_each', `toset(${list(services.map(text))})`],
        ['project', text(projectNumber)],
        ['service', 'each.value'],
        ['disable_on_destroy', 'false'],
      ],
    },
    {
      block: 'resource',
      labels: ['google_iam_workload_identity_pool', label(pool)],
      body: [
        ['project', text(projectNumber)],
        ['workload_identity_pool_id', text(pool)],
        ['depends_on', `[google_project_service.${label(pool)}]`],
        // Deleted pools keep their name for 30 days.
        { block: 'lifecycle', body: [['prevent_destroy', 'true']] },
      ],
    },
  ];
}

function provider(setup: ProviderSetup): Block {
  const condition = attributeCondition(setup, UNKNOWN.kubernetesSubject);
  const mapping = Object.fromEntries(Object.entries(attributeMapping(setup)).map(([key, value]) => [key, text(value)]));
  const issuer = setup.kind === 'kubernetes' ? 'var.cluster_issuer' : 'var.aws_token_issuer';
  const trusted: Block =
    setup.kind === 'aws'
      ? { block: 'aws', body: [['account_id', text(setup.roles[0]?.account ?? '')]] }
      : {
          block: 'oidc',
          body: [
            ['issuer_uri', issuer],
            ['allowed_audiences', list([text(`https:${setup.audience}`)])],
          ],
        };
  return {
    block: 'resource',
    labels: ['google_iam_workload_identity_pool_provider', label(`${setup.pool}_${setup.provider}`)],
    comment: 'The condition is what keeps every other identity of the issuer out.',
    body: [
      ['project', text(setup.projectNumber)],
      ['workload_identity_pool_id', `google_iam_workload_identity_pool.${label(setup.pool)}.workload_identity_pool_id`],
      ['workload_identity_pool_provider_id', text(setup.provider)],
      ['attribute_condition', known(condition)],
      ['attribute_mapping', map(mapping)],
      trusted,
    ],
  };
}

function serviceAccount(email: string): Block {
  const [, account = '', project = ''] = /^([^@]+)@([^.]+)\./.exec(email) ?? [];
  return {
    block: 'resource',
    labels: ['google_service_account', label(email)],
    body: [
      ['count', 'var.create_service_accounts ? 1 : 0'],
      ['project', text(project)],
      ['account_id', text(account)],
      ['display_name', text('Isthmus')],
    ],
  };
}

function impersonation({ serviceAccount: email, role, member }: Impersonation, index: number): Block {
  const project = /@([^.]+)\./.exec(email)?.[1] ?? '-';
  return {
    block: 'resource',
    labels: ['google_service_account_iam_member', `impersonate_${index + 1}`],
    body: [
      ['service_account_id', text(`projects/${project}/serviceAccounts/${email}`)],
      ['role', text(role)],
      ['member', known(member)],
      ['depends_on', `[google_service_account.${label(email)}]`],
    ],
  };
}
