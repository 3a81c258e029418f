import { describe, expect, it } from 'vitest';
import { lintSettings } from '../../core/setup/lint.ts';

const ACCOUNT = '111122223333';
const NAME = 'projects/123456789/locations/global/workloadIdentityPools/aws-prod/providers/isthmus';
const PINNED = `assertion.arn.startsWith('arn:aws:sts::${ACCOUNT}:assumed-role/exports/')`;
const provider = (change: object = {}) =>
  JSON.stringify({
    name: NAME,
    state: 'ACTIVE',
    aws: { accountId: ACCOUNT },
    attributeMapping: { 'google.subject': 'assertion.userid' },
    attributeCondition: PINNED,
    ...change,
  });
const rules = (text: string, file = 'x.json'): string[] => lintSettings(text, file).map(({ rule }) => rule);

describe('a provider', () => {
  it('that pins account and role passes', () => {
    expect(rules(provider())).toEqual([]);
  });

  it.each([
    ['without a condition', { attributeCondition: undefined }, ['no-condition']],
    ['with a condition that is always true', { attributeCondition: 'true' }, ['not-pinned']],
    ['that pins the account only', { attributeCondition: `assertion.account == '${ACCOUNT}'` }, ['not-pinned']],
    [
      'that pins the account by its ARN only',
      { attributeCondition: PINNED.replace('assumed-role/exports/', '') },
      ['not-pinned'],
    ],
    ['that names no role', { attributeCondition: PINNED.replace('exports/', '') }, ['not-pinned']],
    ['with an empty beginning', { attributeCondition: "assertion.arn.startsWith('')" }, ['not-pinned']],
    ['that only excludes', { attributeCondition: "assertion.arn != 'x'" }, ['not-pinned']],
    ['with a way around', { attributeCondition: `true || ${PINNED}` }, ['not-pinned']],
    [
      'with a way around in brackets',
      { attributeCondition: `(${PINNED}) || (assertion.account == 'x')` },
      ['not-pinned'],
    ],
    ['that uses contains', { attributeCondition: "assertion.arn.contains('exports')" }, ['contains']],
    [
      'whose role name is open at its end',
      { attributeCondition: PINNED.replace("exports/'", "exports'") },
      ['not-pinned'],
    ],
    [
      'that looks at the session name',
      { attributeCondition: `assertion.arn == 'arn:aws:sts::${ACCOUNT}:assumed-role/exports/i-0123'` },
      ['session-name'],
    ],
    [
      'whose condition uses what is not mapped',
      { attributeCondition: `attribute.aws_role == 'exports' && ${PINNED}` },
      ['unmapped-attribute'],
    ],
    [
      'of an OIDC issuer without a subject',
      { aws: undefined, attributeCondition: "assertion.sub != ''" },
      ['not-pinned'],
    ],
    ['that maps the ARN', { attributeMapping: { 'google.subject': 'assertion.arn' } }, ['subject-too-long']],
    ["with Google's own mapping", { attributeMapping: {} }, ['subject-too-long']],
    ['with a choice', { attributeCondition: `true ? true : false && ${PINNED}` }, ['not-pinned']],
    ['with a choice behind what pins', { attributeCondition: `${PINNED} && false ? false : true` }, ['not-pinned']],
    ['with a comment', { attributeCondition: `true // && ${PINNED}` }, ['not-pinned']],
    ...[
      "assertion.iss == 'https://x'",
      "assertion.aud == 'x'",
      "assertion.sub.startsWith('system:serviceaccount:')",
      "assertion.sub.startsWith('arn:aws:iam::111122223333:role/')",
      "assertion.sub.startsWith('repo:acme/')",
    ].map((attributeCondition): [string, object, string[]] => [
      `of an OIDC issuer that pins too little: ${attributeCondition}`,
      { aws: undefined, attributeCondition },
      ['not-pinned'],
    ]),
    ['that is deleted', { state: 'DELETED' }, ['disabled']],
    ['that is disabled', { disabled: true }, ['disabled']],
  ])('%s is named', (_what, change, expected) => {
    expect(rules(provider(change))).toEqual(expected);
  });

  it('that pins by an attribute is as safe as what the attribute says of the account', () => {
    const attributeMapping = { 'google.subject': 'assertion.userid', 'attribute.aws_role': 'assertion.arn' };
    const pinned = (role: string) =>
      rules(provider({ attributeMapping, attributeCondition: `attribute.aws_role == '${role}'` }));
    expect(pinned(`arn:aws:sts::${ACCOUNT}:assumed-role/exports`)).toEqual([]);
    expect(pinned('exports')).toEqual(['not-pinned']);
    const among = (roles: string) =>
      rules(provider({ attributeMapping, attributeCondition: `attribute.aws_role in [${roles}]` }));
    expect(among(`'arn:aws:sts::${ACCOUNT}:assumed-role/a', 'arn:aws:sts::${ACCOUNT}:assumed-role/b'`)).toEqual([]);
    expect(among(`'arn:aws:sts::${ACCOUNT}:assumed-role/a', ''`)).toEqual(['not-pinned']);
  });

  it.each([
    `${PINNED} || assertion.arn.startsWith('arn:aws:sts::${ACCOUNT}:assumed-role/other/')`,
    `assertion.account == '${ACCOUNT}' && (${PINNED})`,
    "assertion.userid.startsWith('AROA0123456789ABCDEF:')",
  ])('that pins in another way passes: %s', (attributeCondition) => {
    expect(rules(provider({ attributeCondition }))).toEqual([]);
  });

  it.each([
    "assertion.sub == 'system:serviceaccount:a:b'",
    "assertion.sub.startsWith('repo:acme/app:')",
    "assertion.repository in ['acme/a', 'acme/b']",
  ])('of an OIDC issuer that pins passes: %s', (attributeCondition) => {
    expect(rules(provider({ aws: undefined, attributeCondition }))).toEqual([]);
  });

  it('is looked at in a list too', () => {
    const list = `[${provider()},${provider({ attributeCondition: '' })}]`;
    expect(rules(list)).toEqual(['no-condition']);
  });
});

it.each([
  ['/*', 'pool-wide'],
  ['/attribute.aws_account/111122223333', 'pool-wide'],
  ['/attribute.aws_role/arn:aws:sts::111122223333:assumed-role/exports', undefined],
])('a binding for %s of a pool: %s', (member, rule) => {
  const pool = 'principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/aws-prod';
  const bindings = [{ role: 'roles/iam.workloadIdentityUser', members: [pool + member, 'user:someone@acme.com'] }];
  expect(rules(JSON.stringify({ bindings }))).toEqual(rule === undefined ? [] : [rule]);
});

it('a binding for everybody in the world is named', () => {
  expect(rules(JSON.stringify({ bindings: [{ role: 'r', members: ['allUsers'] }] }))).toEqual(['everybody']);
});

it('a policy that allows a whole service is named', () => {
  const statement = (Action: unknown) =>
    JSON.stringify({ Statement: [{ Effect: 'Allow', Action, Resource: 'arn:aws:s3:::acme-lake/*' }] });
  expect(rules(statement('s3:*'))).toEqual(['whole-service']);
  expect(rules(statement(['s3:PutObject', '*']))).toEqual(['whole-service']);
  expect(rules(statement(['s3:PutObject']))).toEqual([]);
});

describe('a trust policy for Google', () => {
  const policy = (equals: object): string =>
    JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { Federated: 'accounts.google.com' },
          Action: 'sts:AssumeRoleWithWebIdentity',
          Condition: { StringEquals: equals },
        },
      ],
    });
  it.each([
    [{ 'accounts.google.com:sub': '1', 'accounts.google.com:oaud': 'a' }, []],
    [{ 'accounts.google.com:oaud': 'a' }, ['web-identity-sub']],
    [{ 'accounts.google.com:sub': '*' }, ['web-identity-sub']],
    [{ 'accounts.google.com:sub': '1', 'accounts.google.com:aud': 'a' }, ['web-identity-aud']],
    [{}, ['web-identity-sub']],
  ])('%j', (equals, expected) => {
    expect(rules(policy(equals))).toEqual(expected);
    // As `aws iam get-role` prints it.
    expect(rules(`{"Role":{"RoleName":"r","AssumeRolePolicyDocument":${policy(equals)}}}`)).toEqual(expected);
  });

  it.each(['StringNotEquals', 'StringEqualsIfExists'])('%s pins nothing', (operator) => {
    expect(rules(policy({ 'accounts.google.com:sub': '1' }).replace('StringEquals', operator))).toEqual([
      'web-identity-sub',
    ]);
  });

  it('for anybody is named', () => {
    const trust = (Principal: unknown) =>
      JSON.stringify({ Statement: [{ Effect: 'Allow', Principal, Action: 'sts:AssumeRole' }] });
    expect(rules(trust('*'))).toEqual(['everybody']);
    expect(rules(trust({ AWS: '*' }))).toEqual(['everybody']);
    expect(rules(trust({ AWS: 'arn:aws:iam::111122223333:role/a' }))).toEqual([]);
  });
});

it('Terraform is read as text, and what cannot be judged is said', () => {
  const aws = `aws { account_id = "${ACCOUNT}" }`;
  const userid = 'attribute_mapping = { "google.subject" = "assertion.userid" }';
  const block = (name: string, body: string): string =>
    `resource "google_iam_workload_identity_pool_provider" "${name}" {\n${body}\n}\n`;
  const rulesOf = (body: string): string[] => rules(block('p', `${userid}\n${aws}\n${body}`), 'main.tf');
  expect(rulesOf('')).toEqual(['no-condition']);
  expect(rulesOf('attribute_condition = null')).toEqual(['no-condition']);
  expect(rulesOf(`# attribute_condition = "${PINNED}"`)).toEqual(['no-condition']);
  expect(rulesOf('attribute_condition = var.condition')).toEqual(['not-judged']);
  expect(rulesOf(`attribute_condition = "${PINNED}"`)).toEqual([]);
  const references = PINNED.replace(ACCOUNT, `$\{var.aws_account_id}`).replace('exports', `$\{var.role_name}`);
  expect(rulesOf(`attribute_condition = "${references}"`)).toEqual([]);
  expect(rulesOf('attribute_condition = <<EOT\n  assertion.arn.contains("x")\nEOT')).toEqual(['contains']);
  const everybody = `resource "google_service_account_iam_member" "all" {
  role   = "roles/iam.workloadIdentityUser"
  member = "principalSet://iam.googleapis.com/\${google_iam_workload_identity_pool.aws.name}/*"
}`;
  expect(rules(everybody, 'main.tf')).toEqual(['pool-wide']);
});

it.each(['{}', '[]x', '"text"', '{"bindings": 1}'])('%s is no settings, and named as such', (text) => {
  expect(() => lintSettings(text, 'x.json')).toThrow(/no provider, policy, role or Terraform/);
});

describe('a policy of AWS', () => {
  const HUB = 'token.actions.githubusercontent.com';
  const EKS = 'oidc.eks.eu-west-1.amazonaws.com/id/0123';
  const federated = (issuer: string, Condition: object) => ({
    Principal: { Federated: `arn:aws:iam::${ACCOUNT}:oidc-provider/${issuer}` },
    Action: 'sts:AssumeRoleWithWebIdentity',
    Condition,
  });

  it.each([
    ['lets in whom it does not name', { NotPrincipal: { AWS: 'x' }, Action: 'sts:AssumeRole' }, ['everybody']],
    ['allows what it does not name', { NotAction: 'iam:*', Resource: '*' }, ['whole-service']],
    ['writes to every bucket', { Action: 's3:PutObject', Resource: '*' }, ['every-resource']],
    ['writes to every bucket, by ARN', { Action: ['s3:Put*'], Resource: 'arn:aws:s3:::*' }, ['every-resource']],
    ['becomes every role', { Action: 'sts:AssumeRole', Resource: ['*'] }, ['every-resource']],
    ['asks for tokens, which no resource narrows', { Action: 'sts:GetWebIdentityToken', Resource: '*' }, []],
    ['lists all buckets', { Action: 's3:ListAllMyBuckets', Resource: '*' }, []],
    [
      'trusts a whole account',
      { Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` }, Action: 'sts:AssumeRole' },
      ['whole-account'],
    ],
    [
      'trusts a whole account, by its number',
      { Principal: { AWS: ACCOUNT }, Action: 'sts:AssumeRole' },
      ['whole-account'],
    ],
    ['trusts one role', { Principal: { AWS: `arn:aws:iam::${ACCOUNT}:role/x` }, Action: 'sts:AssumeRole' }, []],
    [
      'trusts every run of GitHub',
      federated(HUB, { StringEquals: { [`${HUB}:aud`]: 'sts.amazonaws.com' } }),
      ['web-identity-sub'],
    ],
    [
      'trusts an organisation of GitHub',
      federated(HUB, { StringLike: { [`${HUB}:sub`]: 'repo:acme/*' } }),
      ['web-identity-sub'],
    ],
    ['trusts one repository of GitHub', federated(HUB, { StringLike: { [`${HUB}:sub`]: 'repo:acme/app:*' } }), []],
    [
      'trusts every pod',
      federated(EKS, { StringLike: { [`${EKS}:sub`]: 'system:serviceaccount:*:*' } }),
      ['web-identity-sub'],
    ],
    ['trusts one pod', federated(EKS, { StringEquals: { [`${EKS}:sub`]: 'system:serviceaccount:a:b' } }), []],
    [
      'trusts SAML',
      { Principal: { Federated: `arn:aws:iam::${ACCOUNT}:saml-provider/x` }, Action: 'sts:AssumeRoleWithSAML' },
      ['not-judged'],
    ],
    [
      'compares with a boolean',
      { Action: 's3:PutObject', Resource: 'arn:aws:s3:::a/*', Condition: { Bool: { 'aws:SecureTransport': true } } },
      [],
    ],
  ])('that %s', (_what, statement, expected) => {
    expect(rules(JSON.stringify({ Statement: { Effect: 'Allow', ...statement } }))).toEqual(expected);
  });
});

describe('a binding of Google', () => {
  const POOLED =
    'principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/attribute.aws_role/x';
  it.each([
    ['roles/iam.serviceAccountTokenCreator', 'domain:acme.com', ['everybody']],
    ['roles/owner', POOLED, ['whole-service']],
    ['roles/storage.admin', POOLED, ['whole-service']],
    ['roles/storage.objectViewer', POOLED, []],
    ['roles/owner', 'user:someone@acme.com', []],
  ])('of %s to %s', (role, member, expected) => {
    expect(rules(JSON.stringify({ bindings: [{ role, members: [member] }] }))).toEqual(expected);
  });

  it.each([
    ['role = "r"\n  member = "allUsers"', ['everybody']],
    ['member = "allUsers"\n  role = "r"', ['everybody']],
    ['role = "r"\n  bucket = "b"\n  member = "allUsers"', ['everybody']],
    ['role = "r"\n  members = [\n    "user:a@b.c",\n    "allUsers",\n  ]', ['everybody']],
    ['role = "r"\n  member = local.somebody', ['not-judged']],
  ])('is read in Terraform: %s', (body, expected) => {
    expect(rules(`resource "google_storage_bucket_iam_member" "x" {\n  ${body}\n}\n`, 'x.tf')).toEqual(expected);
  });
});
