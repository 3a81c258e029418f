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
    ['with a condition that is always true', { attributeCondition: 'true' }, ['no-condition']],
    ['that pins the account only', { attributeCondition: `assertion.account == '${ACCOUNT}'` }, ['no-condition']],
    ['that uses contains', { attributeCondition: "assertion.arn.contains('exports')" }, ['contains']],
    [
      'whose role name is open at its end',
      { attributeCondition: PINNED.replace("exports/'", "exports'") },
      ['no-trailing-slash'],
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
    ['that maps the ARN', { attributeMapping: { 'google.subject': 'assertion.arn' } }, ['subject-too-long']],
    ["with Google's own mapping", { attributeMapping: {} }, ['subject-too-long']],
    ['that is deleted', { state: 'DELETED' }, ['disabled']],
    ['that is disabled', { disabled: true }, ['disabled']],
  ])('%s is named', (_what, change, expected) => {
    expect(rules(provider(change))).toEqual(expected);
  });

  it('is looked at in a list too', () => {
    const list = `[${provider()},${provider({ attributeCondition: '' })}]`;
    expect(rules(list)).toEqual(['no-condition']);
  });
});

it('a binding for everybody of a pool is named, one for a role is not', () => {
  const pool = 'principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/aws-prod';
  const members = [`${pool}/*`, `${pool}/attribute.aws_role/exports`, 'user:someone@acme.com'];
  const findings = lintSettings(
    JSON.stringify({ bindings: [{ role: 'roles/iam.workloadIdentityUser', members }] }),
    'x',
  );
  expect(findings).toMatchObject([{ rule: 'pool-wide', fix: expect.stringContaining('attribute.aws_role/ROLE') }]);
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
    [{ 'accounts.google.com:sub': '1', 'accounts.google.com:aud': 'a' }, ['web-identity-aud']],
    [{}, ['web-identity-sub']],
  ])('%j', (equals, expected) => {
    expect(rules(policy(equals))).toEqual(expected);
  });
});

it('Terraform is read as text', () => {
  const source = `
resource "google_iam_workload_identity_pool_provider" "lax" {
  attribute_mapping = {
    "google.subject" = "assertion.arn"
  }
  aws { account_id = "${ACCOUNT}" }
}
resource "google_iam_workload_identity_pool_provider" "by_reference" {
  attribute_condition = var.condition
  attribute_mapping   = { "google.subject" = "assertion.userid" }
  aws { account_id = var.account }
}
resource "google_service_account_iam_member" "all" {
  member = "principalSet://iam.googleapis.com/\${google_iam_workload_identity_pool.aws.name}/*"
}`;
  expect(rules(source, 'main.tf')).toEqual(['no-condition', 'subject-too-long', 'pool-wide']);
});

it.each(['{}', '[]x', '"text"', '{"bindings": 1}'])('%s is no settings, and named as such', (text) => {
  expect(() => lintSettings(text, 'x.json')).toThrow(/no provider, IAM policy, trust policy or Terraform/);
});
