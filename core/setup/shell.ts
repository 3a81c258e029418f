import { type Impersonation, type ProviderSetup, type RoleSetup, referred, type Setup, UNKNOWN } from './model.ts';
import { type AwsPlace, attributeCondition, attributeMapping, PLACES, prefixCondition, roleArn } from './trust.ts';

/** A text as one word of a shell, whatever it holds; in the quotes that leave it readable. */
const word = (value: string): string =>
  value.includes("'") && !/[$`"\\!]/.test(value) ? `"${value}"` : `'${value.replaceAll("'", `'\\''`)}'`;

const variable = (name: string): string => `$\{${name}}`;

/** The same, but for what only the administrator knows: those are variables of the script. */
const known = (value: string): string =>
  value.includes('{{') ? `"${referred(value.replace(/[\\"`$]/g, '\\$&'), variable)}"` : word(value);

/** What two administrators run, with `gcloud` and `aws`, instead of Terraform. May be run again. */
export function setupScript(setup: Setup, place: AwsPlace): string {
  const { providers, impersonations, buckets, roles } = setup;
  const pools = [...new Map(providers.map((one) => [`${one.projectNumber}/${one.pool}`, one])).values()];
  const accounts = [...new Set(impersonations.map(({ serviceAccount }) => serviceAccount))];
  const parts = [
    `#!/usr/bin/env bash
# Made by \`isthmus auth setup\` for pipeline ${setup.pipeline}. Read it before you run it; it may be run again.
set -euo pipefail`,
    needed(setup),
    providers.some(({ kind }) => kind === 'aws-token')
      ? `# Once for the AWS account: roles may ask for identity tokens.\n${OUTBOUND}`
      : '',
    '# Google Cloud: whom to trust.',
    ...pools.map(poolLines),
    ...providers.map(providerLines),
    ...accounts.map((email) => serviceAccountLines(email)),
    ...impersonations.map(impersonationLines),
    buckets.length === 0 ? '' : '# Google Cloud: what they may read.',
    ...buckets.map((binding) => {
      const condition = prefixCondition(binding);
      const file =
        condition === undefined
          ? '--condition=None'
          : `--condition-from-file=<(cat <<'CONDITION'\n${JSON.stringify(condition, null, 2)}\nCONDITION\n)`;
      return `gcloud storage buckets add-iam-policy-binding gs://${binding.bucket} --role=${binding.role} \\\n  --member=${known(binding.member)} ${file}`;
    }),
    roles.length === 0 ? '' : '# AWS: the roles, and what they may do.',
    ...roles.map((role) => roleLines(setup.pipeline, role, place)),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

const OUTBOUND = `aws iam get-outbound-web-identity-federation-info >/dev/null 2>&1 || aws iam enable-outbound-web-identity-federation
AWS_TOKEN_ISSUER=$(aws iam get-outbound-web-identity-federation-info --query IssuerIdentifier --output text)`;

/** Variables that have to be given, each with where it is found. */
function needed({ providers, impersonations, buckets, roles }: Setup): string {
  const members = [...impersonations, ...buckets].map(({ member }) => member).join();
  const ask = (name: string, what: string): string => `: "$\{${name}:?${what}}"`;
  const lines = [
    ...(providers.some(({ kind }) => kind === 'kubernetes')
      ? [
          ask(
            'CLUSTER_ISSUER',
            'aws eks describe-cluster --name CLUSTER --query cluster.identity.oidc.issuer --output text',
          ),
          ask('KUBERNETES_NAMESPACE', 'the namespace of the pod'),
          ask('KUBERNETES_SERVICE_ACCOUNT', 'the Kubernetes service account of the pod'),
        ]
      : []),
    ...(members.includes(UNKNOWN.attachedAccount)
      ? [ask('ATTACHED_SERVICE_ACCOUNT', 'the e-mail address of the service account that the workload runs as')]
      : []),
    ...(roles.some(({ trust }) => trust.by === 'google')
      ? [ask('GOOGLE_SERVICE_ACCOUNT_ID', "gcloud iam service-accounts describe EMAIL --format='value(uniqueId)'")]
      : []),
  ];
  return lines.join('\n');
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
  const options = `${trusted} \\
  --attribute-mapping=${word(mapping.join(','))} \\
  --attribute-condition=${known(attributeCondition(setup, UNKNOWN.kubernetesSubject))}`;
  const form = kind === 'aws' ? 'aws' : 'oidc';
  return `if gcloud iam workload-identity-pools providers describe ${name} >/dev/null 2>&1; then verb=update; else verb=create; fi
gcloud iam workload-identity-pools providers "$verb-${form}" ${name} \\
  ${options}`;
}

function serviceAccountLines(email: string): string {
  const [, account = '', project = ''] = /^([^@]+)@([^.]+)\./.exec(email) ?? [];
  return `gcloud iam service-accounts describe ${email} >/dev/null 2>&1 ||
  gcloud iam service-accounts create ${account} --project=${project}`;
}

const impersonationLines = ({ serviceAccount, role, member }: Impersonation): string =>
  `gcloud iam service-accounts add-iam-policy-binding ${serviceAccount} --role=${role} \\\n  --member=${known(member)} --condition=None`;

function roleLines(pipeline: string, setup: RoleSetup, place: AwsPlace): string {
  const { role } = setup;
  const policy = policyDocument(setup);
  return [
    `# ${roleArn(setup)}`,
    `aws iam get-role --role-name ${role} >/dev/null 2>&1 ||\n  aws iam create-role --role-name ${role} --assume-role-policy-document "$(cat <<TRUST\n${heredoc(json(trustDocument(setup, place)))}\nTRUST\n)"`,
    ...(policy === undefined
      ? []
      : [
          `aws iam put-role-policy --role-name ${role} --policy-name isthmus-${pipeline} --policy-document "$(cat <<'POLICY'\n${json(policy)}\nPOLICY\n)"`,
        ]),
  ].join('\n');
}

/** For a here-document in which variables are filled in: nothing else of the text is. */
const heredoc = (value: string): string => referred(value.replace(/[\\`$]/g, '\\$&'), variable);

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
export function trustDocument({ trust }: RoleSetup, place: AwsPlace): object {
  const statement = (
    principal: object,
    actions: readonly string[],
    equals: Readonly<Record<string, string>>,
  ): object => ({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: principal,
        Action: actions,
        ...(Object.keys(equals).length === 0 ? {} : { Condition: { StringEquals: equals } }),
      },
    ],
  });
  if (trust.by === 'place') return statement({ Service: PLACES[place].service }, PLACES[place].actions, {});
  if (trust.by === 'google') {
    return statement({ Federated: 'accounts.google.com' }, ['sts:AssumeRoleWithWebIdentity'], {
      'accounts.google.com:sub': UNKNOWN.googleAccountId,
      'accounts.google.com:oaud': trust.audience,
    });
  }
  const actions = ['sts:AssumeRole', ...(trust.tags ? ['sts:TagSession'] : [])];
  return statement(
    { AWS: trust.arn },
    actions,
    trust.externalId === undefined ? {} : { 'sts:ExternalId': trust.externalId },
  );
}
