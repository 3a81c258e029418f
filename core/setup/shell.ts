import {
  type Impersonation,
  type ProviderSetup,
  type RoleSetup,
  referred,
  type Setup,
  unknownsIn,
  WHERE,
} from './model.ts';
import { type AwsPlace, attributeCondition, attributeMapping, prefixCondition, trustOf } from './trust.ts';

/** A text as one word of a shell, whatever it holds; in the quotes that leave it readable. */
const word = (value: string): string =>
  value.includes("'") && !/[$`"\\!]/.test(value) ? `"${value}"` : `'${value.replaceAll("'", `'\\''`)}'`;

const variable = (name: string): string => `$\{${name}}`;

/** The same, but for what only the administrator knows: those are variables of the script. */
const known = (value: string): string =>
  value.includes('{{') ? `"${referred(value.replace(/[\\"`$]/g, '\\$&'), variable)}"` : word(value);

/** For a here-document in which variables are filled in: nothing else of the text is. */
const heredoc = (value: string): string => referred(value.replace(/[\\`$]/g, '\\$&'), variable);

/** A script that asks for what it does not know before it does anything. */
function script(pipeline: string, who: string, unknowns: readonly string[], parts: readonly string[]): string {
  const needed = unknowns.map((name) => `: "$\{${name}:?${WHERE[name] ?? 'is needed'}}"`);
  const head = `#!/usr/bin/env bash
# Made by \`isthmus auth setup\` for pipeline ${pipeline}, for an administrator of ${who}.
# Read it before you run it; it may be run again.
set -euo pipefail`;
  return `${[head, ...(needed.length === 0 ? [] : [needed.join('\n')]), ...parts].join('\n\n')}\n`;
}

/** What an administrator of Google Cloud runs, instead of Terraform. */
export function googleScript({ pipeline, providers, impersonations, bindings }: Setup): string | undefined {
  const pools = [...new Map(providers.map((one) => [`${one.projectNumber}/${one.pool}`, one])).values()];
  const accounts = [...new Set(impersonations.map(({ serviceAccount }) => serviceAccount))];
  const parts = [
    ...pools.map(poolLines),
    ...providers.map(providerLines),
    ...accounts.map(serviceAccountLines),
    ...impersonations.map(impersonationLines),
    ...bindings.map((binding) => {
      const { on, role, member, reason } = binding;
      const condition = prefixCondition(binding);
      const limit =
        condition === undefined
          ? '--condition=None'
          : `--condition-from-file=<(cat <<'CONDITION'\n${JSON.stringify(condition, null, 2)}\nCONDITION\n)`;
      const place =
        'bucket' in on
          ? `storage buckets add-iam-policy-binding gs://${on.bucket}`
          : `projects add-iam-policy-binding ${on.project}`;
      return `# So that the pipeline can ${reason.replaceAll('\n', ' ')}.\ngcloud ${place} --role=${role} \\\n  --member=${known(member)} ${limit}`;
    }),
  ];
  if (parts.length === 0) return undefined;
  const issuers = providers.flatMap(({ kind }) =>
    kind === 'kubernetes' ? ['CLUSTER_ISSUER'] : kind === 'aws-token' ? ['AWS_TOKEN_ISSUER'] : [],
  );
  const members = JSON.stringify([providers.map(attributeCondition), impersonations, bindings]);
  return script(pipeline, 'Google Cloud', [...new Set([...issuers, ...unknownsIn(members)])], parts);
}

/** What an administrator of one AWS account runs, instead of Terraform. */
export function awsScript(setup: Setup, account: string, place: AwsPlace): string {
  const roles = setup.roles.filter((role) => role.account === account);
  const outbound = roles.some(({ grants }) =>
    grants.some(({ actions }) => actions.includes('sts:GetWebIdentityToken')),
  );
  const parts = [
    ...(/^\d+$/.test(account)
      ? [
          `test "$(aws sts get-caller-identity --query Account --output text)" = ${account} || { echo 'sign in to account ${account}' >&2; exit 1; }`,
        ]
      : []),
    ...(outbound
      ? [
          `# Once for the account: roles may ask for identity tokens. The Google side needs what this prints as AWS_TOKEN_ISSUER.
aws iam get-outbound-web-identity-federation-info 2>/dev/null || aws iam enable-outbound-web-identity-federation`,
        ]
      : []),
    ...roles.map((role) => roleLines(setup.pipeline, role, place)),
  ];
  const unknowns = unknownsIn(JSON.stringify(roles.map((role) => [trustOf(role, place), role.grants])));
  return script(setup.pipeline, /^\d+$/.test(account) ? `AWS account ${account}` : 'AWS', unknowns, parts);
}

function poolLines({ projectNumber, pool }: ProviderSetup): string {
  const where = `--location=global --project=${projectNumber}`;
  return `gcloud services enable iam.googleapis.com sts.googleapis.com iamcredentials.googleapis.com --project=${projectNumber}
gcloud iam workload-identity-pools describe ${pool} ${where} >/dev/null 2>&1 ||
  gcloud iam workload-identity-pools create ${pool} ${where}`;
}

function providerLines(setup: ProviderSetup): string {
  const { projectNumber, pool, provider, kind, audience } = setup;
  const name = `${provider} --workload-identity-pool=${pool} --location=global --project=${projectNumber}`;
  const mapping = Object.entries(attributeMapping(setup)).map(([key, value]) => `${key}=${value}`);
  const issuer = kind === 'kubernetes' ? '$CLUSTER_ISSUER' : '$AWS_TOKEN_ISSUER';
  const trusted =
    kind === 'aws'
      ? `--account-id=${setup.roles[0]?.account}`
      : `--issuer-uri="${issuer}" --allowed-audiences=${word(`https:${audience}`)}`;
  const form = kind === 'aws' ? 'aws' : 'oidc';
  return `# The condition is what keeps every other identity of the issuer out.
if gcloud iam workload-identity-pools providers describe ${name} >/dev/null 2>&1; then verb=update; else verb=create; fi
gcloud iam workload-identity-pools providers "$verb-${form}" ${name} \\
  ${trusted} \\
  --attribute-mapping=${word(mapping.join(','))} \\
  --attribute-condition=${known(attributeCondition(setup))}`;
}

function serviceAccountLines(email: string): string {
  const [, account = '', project = ''] = /^([^@]+)@([^.]+)\./.exec(email) ?? [];
  return `gcloud iam service-accounts describe ${email} >/dev/null 2>&1 ||
  gcloud iam service-accounts create ${account} --project=${project}`;
}

const impersonationLines = ({ serviceAccount, role, member }: Impersonation): string =>
  `gcloud iam service-accounts add-iam-policy-binding ${serviceAccount} --role=${role} \\\n  --member=${known(member)} --condition=None`;

function roleLines(pipeline: string, setup: RoleSetup, place: AwsPlace): string {
  const { role, arn } = setup;
  const policy = policyDocument(setup);
  const path = /:role(\/(?:.*\/)?)[^/]+$/.exec(arn)?.[1] ?? '/';
  const at = path === '/' ? '' : ` --path ${path}`;
  return [
    `aws iam get-role --role-name ${role} >/dev/null 2>&1 ||\n  aws iam create-role --role-name ${role}${at} --assume-role-policy-document "$(cat <<TRUST\n${heredoc(json(trustDocument(setup, place)))}\nTRUST\n)"`,
    ...(policy === undefined
      ? []
      : [
          `aws iam put-role-policy --role-name ${role} --policy-name isthmus-${pipeline} --policy-document "$(cat <<POLICY\n${heredoc(json(policy))}\nPOLICY\n)"`,
        ]),
  ].join('\n');
}

const json = (document: object): string => JSON.stringify(document, null, 2);

/** What the role may do; undefined when nothing. Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html */
export function policyDocument({ grants }: RoleSetup): object | undefined {
  if (grants.length === 0) return undefined;
  const statements = grants.map(({ actions, resources, condition }) => ({
    Effect: 'Allow',
    Action: actions,
    Resource: resources,
    ...(condition === undefined ? {} : { Condition: condition }),
  }));
  return { Version: '2012-10-17', Statement: statements };
}

/** Who may become the role. */
export function trustDocument(setup: RoleSetup, place: AwsPlace): object {
  const { principal, actions, equals } = trustOf(setup, place);
  const condition = Object.keys(equals).length === 0 ? {} : { Condition: { StringEquals: equals } };
  const statement = { Effect: 'Allow', Principal: { [principal.type]: principal.id }, Action: actions, ...condition };
  return { Version: '2012-10-17', Statement: [statement] };
}
