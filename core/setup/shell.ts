import { accountProject, mappingFlag } from '../auth/principal.ts';
import {
  type AwsGrant,
  asksForTokens,
  type Binding,
  hasUnknown,
  type Impersonation,
  type ProviderSetup,
  type RoleSetup,
  referred,
  type Setup,
  unknownsIn,
  WHERE,
} from './model.ts';
import { attributeCondition, attributeMapping, prefixCondition, trustOf } from './trust.ts';

/** A text as one word of a shell, whatever it holds; in the quotes that leave it readable. */
const word = (value: string): string =>
  /^[\w@%+=:,./-]+$/.test(value)
    ? value
    : value.includes("'") && !/[$`"\\!]/.test(value)
      ? `"${value}"`
      : `'${value.replaceAll("'", `'\\''`)}'`;

const variable = (name: string): string => `$\{${name}}`;

/** The same, but for what only the administrator knows: those are variables of the script. */
const known = (value: string): string =>
  hasUnknown(value) ? `"${referred(value, variable, (part) => part.replace(/[\\"`$]/g, '\\$&'))}"` : word(value);

/** For a here-document in which variables are filled in: nothing else of the text is. */
const heredoc = (value: string): string => referred(value, variable, (part) => part.replace(/[\\`$]/g, '\\$&'));

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
    ...accounts.flatMap(serviceAccountLines),
    ...impersonations.map(impersonationLines),
    ...bindings.map((binding) => {
      const { on, role, member, reason } = binding;
      if ('dataset' in on && on.dataset !== undefined) return datasetLines(binding, `${on.project}.${on.dataset}`);
      const condition = prefixCondition(binding);
      const limit =
        condition === undefined
          ? '--condition=None'
          : `--condition-from-file=<(cat <<'CONDITION'\n${JSON.stringify(condition, null, 2)}\nCONDITION\n)`;
      const place =
        'bucket' in on
          ? `storage buckets add-iam-policy-binding ${word(`gs://${on.bucket}`)}`
          : `projects add-iam-policy-binding ${word(on.project)}`;
      const limits = condition === undefined ? '' : LIMITS;
      return `# So that the pipeline can ${reason.replaceAll(/\s+/g, ' ')}.${limits}\ngcloud ${place} --role=${word(role)} \\\n  --member=${known(member)} ${limit}`;
    }),
  ];
  if (parts.length === 0) return undefined;
  const issuers = providers.flatMap(({ kind }) =>
    kind === 'kubernetes' ? ['CLUSTER_ISSUER'] : kind === 'aws-token' ? ['AWS_TOKEN_ISSUER'] : [],
  );
  const members = JSON.stringify([providers.map(attributeCondition), impersonations, bindings]);
  return script(pipeline, 'Google Cloud', [...new Set([...issuers, ...unknownsIn(members)])], parts);
}

/** Rights on a dataset are given in SQL: gcloud has no command for it. */
const datasetLines = ({ on, role, member, reason }: Binding, dataset: string): string => {
  const project = 'project' in on ? on.project : '';
  const grant = String.raw`"GRANT \`${role}\` ON SCHEMA \`${dataset}\` TO \"$member\""`;
  return `# So that the pipeline can ${reason}.
member=${known(member)}
bq query --quiet --project_id=${word(project)} --use_legacy_sql=false \\
  ${grant}`;
};

/** What an administrator of one AWS account runs, instead of Terraform. */
export function awsScript(setup: Setup, account: string): string {
  const roles = setup.roles.filter((role) => role.account === account);
  const outbound = asksForTokens(roles);
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
    ...roles.map((role) => roleLines(role)),
  ];
  const unknowns = unknownsIn(JSON.stringify(roles.map((role) => [trustOf(role), role.policies])));
  return script(setup.pipeline, /^\d+$/.test(account) ? `AWS account ${account}` : 'AWS', unknowns, parts);
}

/** What IAM cannot do. */
const LIMITS = `
# A condition needs a bucket with uniform bucket-level access. Listing is checked against the bucket: names below other
# prefixes can be seen, though not read.`;

/** What was deleted keeps its name for 30 days, and comes back. */
const found = (command: string, name: string): string =>
  `state=$(${command} describe "${name}" --format='value(state)' 2>/dev/null || true)
[ "$state" != DELETED ] || ${command} undelete "${name}"`;

function poolLines({ projectNumber, pool }: ProviderSetup): string {
  // By its full name: gcloud takes the number of a project nowhere else here.
  return `pool=projects/${projectNumber}/locations/global/workloadIdentityPools/${pool}
gcloud services enable iam.googleapis.com sts.googleapis.com iamcredentials.googleapis.com --project=${projectNumber}
${found('gcloud iam workload-identity-pools', '$pool')}
[ -n "$state" ] || gcloud iam workload-identity-pools create "$pool"`;
}

function providerLines(setup: ProviderSetup): string {
  const { projectNumber, pool, provider, kind, audience } = setup;
  const issuer = kind === 'kubernetes' ? '$CLUSTER_ISSUER' : '$AWS_TOKEN_ISSUER';
  const trusted =
    kind === 'aws'
      ? `--account-id=${setup.roles[0]?.account}`
      : `--issuer-uri="${issuer}" --allowed-audiences=${word(`https:${audience}`)}`;
  const form = kind === 'aws' ? 'aws' : 'oidc';
  return `# The condition is what keeps every other identity of the issuer out. One that is there already is not replaced: it
# may let in other pipelines. Name all pipelines of a provider in one set-up, or run with REPLACE=1.
provider=projects/${projectNumber}/locations/global/workloadIdentityPools/${pool}/providers/${provider}
condition=${known(attributeCondition(setup))}
${found('gcloud iam workload-identity-pools providers', '$provider')}
verb=create
if [ -n "$state" ]; then
  verb=update
  found=$(gcloud iam workload-identity-pools providers describe "$provider" --format='value(attributeCondition)')
  if [ "$found" != "$condition" ] && [ "\${REPLACE:-}" != 1 ]; then
    printf 'the provider has another condition: %s\\nset REPLACE=1 to replace it by: %s\\n' "$found" "$condition" >&2
    exit 1
  fi
fi
gcloud iam workload-identity-pools providers "$verb-${form}" "$provider" \\
  ${trusted} \\
  --attribute-mapping=${word(mappingFlag(attributeMapping(setup)))} \\
  --attribute-condition="$condition"`;
}

/** Accounts that Google made are not made again. */
function serviceAccountLines(email: string): string[] {
  const project = accountProject(email);
  if (project === undefined) return [];
  return [
    `gcloud iam service-accounts describe ${email} --project=${project} >/dev/null 2>&1 ||
  gcloud iam service-accounts create ${email.slice(0, email.indexOf('@'))} --project=${project}`,
  ];
}

function impersonationLines({ serviceAccount, role, member }: Impersonation): string {
  const project = accountProject(serviceAccount);
  const account =
    project === undefined ? `projects/-/serviceAccounts/${serviceAccount}` : `${serviceAccount} --project=${project}`;
  return `gcloud iam service-accounts add-iam-policy-binding ${account} --role=${role} \\\n  --member=${known(member)} --condition=None`;
}

function roleLines(setup: RoleSetup): string {
  const { role, arn } = setup;
  const path = /:role(\/(?:.*\/)?)[^/]+$/.exec(arn)?.[1] ?? '/';
  const at = path === '/' ? '' : ` --path ${path}`;
  const trusts = heredoc(json(trustDocument(setup)));
  return [
    `trust=$(cat <<TRUST\n${trusts}\nTRUST\n)
if ! aws iam get-role --role-name ${role} >/dev/null 2>&1; then
  aws iam create-role --role-name ${role}${at} --assume-role-policy-document "$trust"
elif [ "\${REPLACE:-}" = 1 ]; then
  aws iam update-assume-role-policy --role-name ${role} --policy-document "$trust"
else
  echo 'role ${role} exists: who may become it was left as it is (REPLACE=1 replaces it)' >&2
fi`,
    ...setup.policies.map(
      ({ pipeline, grants }) =>
        `aws iam put-role-policy --role-name ${role} --policy-name isthmus-${pipeline} --policy-document "$(cat <<POLICY\n${heredoc(json(policyDocument(grants)))}\nPOLICY\n)"`,
    ),
    ...(setup.trust.by === 'place' && setup.trust.place === 'ec2'
      ? [
          `aws iam get-instance-profile --instance-profile-name ${role} >/dev/null 2>&1 || {
  aws iam create-instance-profile --instance-profile-name ${role}
  aws iam add-role-to-instance-profile --instance-profile-name ${role} --role-name ${role}
}`,
        ]
      : []),
  ].join('\n');
}

const json = (document: object): string => JSON.stringify(document, null, 2);

/** What a role may do. Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html */
export function policyDocument(grants: readonly AwsGrant[]): object {
  return { Version: '2012-10-17', Statement: grants.map(policyStatement) };
}

export const policyStatement = ({ actions, resources, condition }: AwsGrant): object => ({
  Effect: 'Allow',
  Action: actions,
  Resource: resources,
  ...(condition === undefined ? {} : { Condition: condition }),
});

/** Who may become the role. */
export function trustDocument(setup: RoleSetup): object {
  const { principal, actions, equals } = trustOf(setup);
  const condition = Object.keys(equals).length === 0 ? {} : { Condition: { StringEquals: equals } };
  const statement = {
    Effect: 'Allow',
    Principal: { [principal.type]: principal.ids.length === 1 ? principal.ids[0] : principal.ids },
    Action: actions,
    ...condition,
  };
  return { Version: '2012-10-17', Statement: [statement] };
}
