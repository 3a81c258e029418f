import { describe, expect, it } from 'vitest';
import { lintSettings } from '../../core/setup/lint.ts';

const ACCOUNT = '111122223333';
const rules = (text: string, file = 'x.json'): string[] => lintSettings(text, file).map(({ rule }) => rule);

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
    ['reads every object', { Action: 's3:GetObject', Resource: 'arn:aws:s3:::*/*' }, ['every-resource']],
    ['names what it does not touch', { Action: 's3:GetObject', NotResource: 'x' }, ['every-resource']],
    ['allows all of all', { Action: '*:*', Resource: '*' }, ['whole-service']],
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
      'trusts Cognito',
      { Principal: { Federated: 'cognito-identity.amazonaws.com' }, Action: 'sts:AssumeRoleWithWebIdentity' },
      ['not-judged'],
    ],
    ['writes the key in capitals', federated(EKS, { StringEquals: { [`${EKS}:SUB`]: 'a' } }), []],
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
    ['projects/x/roles/notabadmin', POOLED, []],
  ])('of %s to %s', (role, member, expected) => {
    expect(rules(JSON.stringify({ bindings: [{ role, members: [member] }] }))).toEqual(expected);
  });

  it.each([
    ['role = "r"\n  member = "allUsers"', ['everybody']],
    ['member = "allUsers"\n  role = "r"', ['everybody']],
    ['role = "r"\n  bucket = "b"\n  member = "allUsers"', ['everybody']],
    ['role = "r"\n  members = [\n    "user:a@b.c",\n    "allUsers",\n  ]', ['everybody']],
    ['role = "r"\n  member = local.somebody', ['not-judged']],
    [`role = "r"\n  members = ["user:a@b.c", "x/\${a.b[0].c}/workloadIdentityPools/p/*"]`, ['pool-wide']],
    ['role = "r"\n  members = ["user:a@b.c", var.x]', ['not-judged']],
    [`role = "r"\n  member = "\${local.x}"`, ['not-judged']],
    ['role = "r"\n  members = concat(["user:a@b.c"], [\n    "allUsers"])', ['not-judged', 'everybody']],
  ])('is read in Terraform: %s', (body, expected) => {
    expect(rules(`resource "google_storage_bucket_iam_member" "x" {\n  ${body}\n}\n`, 'x.tf')).toEqual(expected);
  });

  it.each([
    'data "google_iam_policy" "x" {\n  binding {\n    role = "r"\n    members = ["allUsers"]\n  }\n}\n',
    'module "x" {\n  source = "y"\n  bindings = { "roles/r" = ["allUsers"] }\n}\n',
  ])('is read in a document and in a module too: %s', (source) => {
    expect(rules(source, 'x.tf')).toEqual(['everybody']);
  });
});
