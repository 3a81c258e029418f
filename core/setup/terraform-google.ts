import { createHash } from 'node:crypto';
import { accountProject } from '../auth/principal.ts';
import { type Block, type Entry, list, map, render, text } from './hcl.ts';
import { type Binding, type Impersonation, type ProviderSetup, referred, type Setup, WHERE } from './model.ts';
import { attributeCondition, attributeMapping, prefixCondition } from './trust.ts';

/** The head of a module for one provider. */
export const head = (title: string, provider: string, version: string, by = 'auth setup'): string => `# ${title}
# Made by \`isthmus ${by}\`; yours from here on.

terraform {
  required_version = ">= 1.5"
  required_providers {
    ${provider} = {
      source  = "hashicorp/${provider}"
      version = "${version}"
    }
  }
}
`;

/** A name for a resource: what Terraform allows of a text. */
export const label = (value: string): string => value.replace(/[^a-zA-Z0-9_]+/g, '_').replace(/^(?=\d)/, '_');

/** Tells one grant from another, whatever stands before it: a number would move each when one is added. */
const mark = (...parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 8);

/** A text in which what only the administrator knows is a reference to a variable. */
export const known = (value: string): string => referred(text(value), (name) => `$\{var.${name.toLowerCase()}}`);

/** Variables for all that the blocks do not know. */
export const variablesFor = (blocks: string): Block[] =>
  [...new Set([...blocks.matchAll(/\bvar\.([a-z_]+)/g)].map((found) => found[1] ?? ''))]
    .filter((name) => WHERE[name.toUpperCase()] !== undefined)
    .map((name) => variable(name, WHERE[name.toUpperCase()] ?? ''));

export function variable(name: string, description: string, fallback?: string): Block {
  const value: Entry[] = fallback === undefined ? [] : [['default', fallback]];
  const type = fallback === 'true' ? 'bool' : 'string';
  return { block: 'variable', labels: [name], body: [['type', type], ['description', text(description)], ...value] };
}

/** The Terraform of the Google side: APIs, pools, providers, service accounts and bindings. */
export function googleTerraform({ providers, impersonations, bindings }: Setup): string | undefined {
  const pools = [...new Map(providers.map((one) => [`${one.projectNumber}/${one.pool}`, one])).values()];
  const accounts = [...new Set(impersonations.map((one) => one.serviceAccount))].filter(
    (email) => accountProject(email) !== undefined,
  );
  const stands = new Standing(providers, accounts);
  const blocks: Block[] = [
    ...pools.flatMap(pool),
    ...providers.map(provider),
    ...accounts.flatMap(serviceAccount),
    ...impersonations.map((one) => impersonation(one, stands)),
    ...bindings.map((one) => binding(one, stands)),
  ];
  if (blocks.length === 0) return undefined;
  const create =
    accounts.length === 0
      ? []
      : [variable('create_service_accounts', 'False when the service accounts exist already.', 'true')];
  const body = render(blocks);
  const title = 'Google Cloud: whom to trust, and what they may read.';
  return [head(title, 'google', '>= 5.0'), ...rendered([...create, ...variablesFor(body)]), body].join('\n');
}

/** Nothing for no blocks. */
export const rendered = (blocks: readonly Block[]): string[] => (blocks.length === 0 ? [] : [render(blocks)]);

/** What a member stands on: IAM refuses a binding for somebody who does not exist yet. */
class Standing {
  readonly #providers: readonly ProviderSetup[];
  readonly #accounts: readonly string[];

  constructor(providers: readonly ProviderSetup[], accounts: readonly string[]) {
    this.#providers = providers;
    this.#accounts = accounts;
  }

  on(member: string, ...more: readonly string[]): Entry[] {
    const account = this.#accounts.find((email) => member === `serviceAccount:${email}`);
    const providers = this.#providers.filter(({ pool: id, projectNumber }) =>
      member.includes(`/${projectNumber}/locations/global/workloadIdentityPools/${id}/`),
    );
    const resources = [
      ...more,
      ...(account === undefined ? [] : [`google_service_account.${label(account)}`]),
      ...providers.map((one) => `google_iam_workload_identity_pool_provider.${providerLabel(one)}`),
    ];
    return resources.length === 0 ? [] : [['depends_on', list([...new Set(resources)])]];
  }
}

// With the project: pools of two projects may share a name.
const poolLabel = ({ pool: id, projectNumber }: ProviderSetup): string => label(`${id}_${projectNumber}`);
const providerLabel = (one: ProviderSetup): string => `${poolLabel(one)}_${label(one.provider)}`;
// Deleted pools and providers keep their name for 30 days.
const KEPT: Block = { block: 'lifecycle', body: [['prevent_destroy', 'true']] };

function pool(one: ProviderSetup): Block[] {
  const { projectNumber, pool: id } = one;
  const name = poolLabel(one);
  const services = ['iam.googleapis.com', 'sts.googleapis.com', 'iamcredentials.googleapis.com'];
  return [
    {
      block: 'resource',
      labels: ['google_project_service', name],
      body: [
        ['for_each', `toset(${list(services.map(text))})`],
        ['project', text(projectNumber)],
        ['service', 'each.value'],
        ['disable_on_destroy', 'false'],
      ],
    },
    {
      block: 'resource',
      labels: ['google_iam_workload_identity_pool', name],
      body: [
        ['project', text(projectNumber)],
        ['workload_identity_pool_id', text(id)],
        ['depends_on', `[google_project_service.${name}]`],
        KEPT,
      ],
    },
  ];
}

function provider(setup: ProviderSetup): Block {
  const mapping = Object.fromEntries(Object.entries(attributeMapping(setup)).map(([key, value]) => [key, text(value)]));
  const issuer = setup.kind === 'kubernetes' ? 'var.cluster_issuer' : 'var.aws_token_issuer';
  const audiences = list([text(`https:${setup.audience}`)]);
  const trusted: Block =
    setup.kind === 'aws'
      ? { block: 'aws', body: [['account_id', text(setup.roles[0]?.account ?? '')]] }
      : {
          block: 'oidc',
          body: [
            ['issuer_uri', issuer],
            ['allowed_audiences', audiences],
          ],
        };
  return {
    block: 'resource',
    labels: ['google_iam_workload_identity_pool_provider', providerLabel(setup)],
    comment: 'The condition is what keeps every other identity of the issuer out.',
    body: [
      ['project', text(setup.projectNumber)],
      ['workload_identity_pool_id', `google_iam_workload_identity_pool.${poolLabel(setup)}.workload_identity_pool_id`],
      ['workload_identity_pool_provider_id', text(setup.provider)],
      ['attribute_condition', known(attributeCondition(setup))],
      ['attribute_mapping', map(mapping)],
      trusted,
      KEPT,
    ],
  };
}

/** Accounts that Google made are not made again. */
function serviceAccount(email: string): Block[] {
  const project = accountProject(email);
  if (project === undefined) return [];
  return [
    {
      block: 'resource',
      labels: ['google_service_account', label(email)],
      body: [
        ['count', 'var.create_service_accounts ? 1 : 0'],
        ['project', text(project)],
        ['account_id', text(email.slice(0, email.indexOf('@')))],
        ['display_name', text('Isthmus')],
      ],
    },
  ];
}

function impersonation({ serviceAccount: email, role, member }: Impersonation, stands: Standing): Block {
  const project = accountProject(email) ?? '-';
  const made = project === '-' ? [] : [`google_service_account.${label(email)}`];
  return {
    block: 'resource',
    labels: ['google_service_account_iam_member', `${label(email)}_${mark(role, member)}`],
    body: [
      ['service_account_id', text(`projects/${project}/serviceAccounts/${email}`)],
      ['role', text(role)],
      ['member', known(member)],
      ...stands.on(member, ...made),
    ],
  };
}

/** What IAM cannot do. */
const LIMITS = `
A condition needs a bucket with uniform bucket-level access. Listing is checked against the bucket: names below other
prefixes can be seen, though not read.`;

function binding(one: Binding, stands: Standing): Block {
  const { on, role, member, reason } = one;
  const condition = prefixCondition(one);
  const conditional: Block[] =
    condition === undefined
      ? []
      : [
          {
            block: 'condition',
            body: [
              ['title', text(condition.title)],
              ['expression', text(condition.expression)],
            ],
          },
        ];
  const { kind, of, place } = placeOf(on);
  return {
    block: 'resource',
    labels: [kind, `${label(of)}_${mark(on, role, member)}`],
    comment: `So that the pipeline can ${reason}.${condition === undefined ? '' : LIMITS}`,
    body: [...place, ['role', text(role)], ['member', known(member)], ...stands.on(member), ...conditional],
  };
}

/** The kind of resource that a binding is, and what it is on. */
function placeOf(on: Binding['on']): { readonly kind: string; readonly of: string; readonly place: readonly Entry[] } {
  if ('bucket' in on)
    return { kind: 'google_storage_bucket_iam_member', of: on.bucket, place: [['bucket', text(on.bucket)]] };
  const project: Entry = ['project', text(on.project)];
  if (on.dataset === undefined) return { kind: 'google_project_iam_member', of: on.project, place: [project] };
  const place: readonly Entry[] = [project, ['dataset_id', text(on.dataset)]];
  return { kind: 'google_bigquery_dataset_iam_member', of: on.dataset, place };
}
