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
    "assertion['sub'] == 'a'",
    "'a' == assertion.sub",
    "assertion.repository in ['acme/a', 'acme/b']",
  ])('of an OIDC issuer that pins passes: %s', (attributeCondition) => {
    expect(rules(provider({ aws: undefined, attributeCondition }))).toEqual([]);
  });

  it('is looked at in a list too', () => {
    const list = `[${provider()},${provider({ attributeCondition: '' })}]`;
    expect(rules(list)).toEqual(['no-condition']);
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
