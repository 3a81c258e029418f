import { z } from 'zod';
import { duration, identityName } from '../api/fields.ts';
import { AWS_ORIGINS } from '../auth/aws-origin.ts';
import { AUDIENCE } from '../auth/principal.ts';

const AUDIENCE_FORM =
  '//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER';

export const audienceField = z.string().superRefine((text, context) => {
  const fault = audienceFault(text);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

function audienceFault(text: string): string | undefined {
  const [, , pool, provider] = AUDIENCE.exec(text) ?? [];
  if (pool?.startsWith('gcp-') || provider?.startsWith('gcp-'))
    return 'ids that begin with gcp- are reserved by Google: such a pool or provider cannot exist';
  if (pool !== undefined) return undefined;
  const project = /\/projects\/([^/]*)\//.exec(text)?.[1];
  const why =
    project !== undefined && !/^\d+$/.test(project)
      ? `"${project}" is a project id; the project number is needed: `
      : /^https?:/.test(text)
        ? 'it begins with //, without https: '
        : /workloadIdentityPools\/[^/]+$/.test(text)
          ? 'this is a pool, the provider is missing: '
          : '';
  return `${why}must be ${AUDIENCE_FORM}`;
}

export const serviceAccountField = z
  .string()
  .regex(/^[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com$/, 'must be the e-mail address of a service account');

const awsAccountId = z.string().superRefine((text, context) => {
  if (!/^\d{12}$/.test(text)) {
    context.addIssue({ code: 'custom', message: `must be 12 digits, found ${text.length} characters` });
  }
});

/** Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html */
const roleName = z
  .string()
  .regex(/^[\w+=,.@-]{1,64}$/, 'must be the name of a role, without path: 1 to 64 letters, digits and +=,.@-');

const roleArn = z.string().superRefine((text, context) => {
  if (/^arn:aws(?:-cn|-us-gov|-iso(?:-[bef])?|-eusc)?:iam::\d{12}:role\/[\w+=,.@/-]+$/.test(text)) return;
  const why = text.includes(':user/')
    ? 'a user cannot be assumed'
    : text.includes(':assumed-role/')
      ? 'this is a session, not a role'
      : '';
  context.addIssue({
    code: 'custom',
    message: `${why === '' ? '' : `${why}: `}must be arn:aws:iam::ACCOUNT:role/NAME`,
  });
});

/** A duration within limits, in words that a person uses. */
const durationFrom = (least: string, most: string) => {
  const limit = (text: string): number => duration().parse(text);
  return duration().refine((ms) => ms >= limit(least) && ms <= limit(most) && ms % 1000 === 0, {
    message: `must be whole seconds from ${least} to ${most}`,
  });
};

const region = z.string().regex(/^[a-z]{2,4}(-[a-z]+)+-\d+$/, 'must be a region such as eu-west-1');

type Complain = (key: string, message: string) => void;

/** Complains about options that do not go together. */
const together =
  <T extends object>(check: (value: T, complain: Complain) => void) =>
  (value: T, context: z.core.$RefinementCtx<T>): void =>
    check(value, (key, message) => context.addIssue({ code: 'custom', path: [key], message }));

export const gcpIdentity = z
  .strictObject({
    kind: z.literal('gcp'),
    from: z
      .enum(['aws-signature', 'aws-token', 'kubernetes-token', 'metadata'])
      .default('aws-signature')
      .describe(
        'What proves who we are. `aws-signature`: a signed GetCallerIdentity request, needs nothing on the AWS side. `aws-token`: a JWT of AWS (sts:GetWebIdentityToken). `kubernetes-token`: the projected service account token of a pod. `metadata`: the service account that is attached on Google Cloud.',
      ),
    audience: audienceField
      .optional()
      .describe('The workload identity provider that trusts us. Required, but for `from: metadata`.'),
    serviceAccount: serviceAccountField
      .optional()
      .describe('Impersonate this account. Without it the federated principal has direct access.'),
    delegates: z
      .array(serviceAccountField)
      .max(10)
      .optional()
      .describe('Accounts that lead to `serviceAccount`: each may impersonate the next.'),
    lifetime: durationFrom('10m', '12h')
      .optional()
      .describe('Of the impersonated token. Default: 1h; more needs an organisation policy.'),
    downscope: z
      .boolean()
      .default(false)
      .describe('Limit each token to the bucket and prefix of its endpoint (Credential Access Boundary).'),
    tokenFile: z
      .string()
      .regex(/^\//, 'must be an absolute path')
      .optional()
      .describe('Where the projected token is mounted. Required with `from: kubernetes-token`.'),
    aws: identityName().optional().describe('The AWS identity to start from. Default: the ambient one.'),
    expect: z
      .strictObject({ awsAccountId: awsAccountId.optional(), roleName: roleName.optional() })
      .optional()
      .describe('Checked before anything is sent to Google.'),
    quotaProject: z
      .string()
      .regex(/^[a-z][a-z0-9-]{4,28}[a-z0-9]$/, 'must be a project id')
      .optional()
      .describe('The project that pays for API calls. Never sent to a token service.'),
    stsLocation: z
      .string()
      .regex(/^[a-z]+(-[a-z]+)*-?[a-z]+\d*$/, 'must be a location such as europe-west1')
      .optional()
      .describe('Exchange at the regional token service of this location.'),
    universeDomain: z
      .string()
      .regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/, 'must be a domain')
      .default('googleapis.com')
      .describe('Of a sovereign cloud; only domains that ISTHMUS_UNIVERSE_DOMAINS of the process lists.'),
  })
  .superRefine(
    together((identity, complain) => {
      const { from } = identity;
      const needless = (key: keyof typeof identity, why: string): void => {
        if (identity[key] !== undefined) complain(key, why);
      };
      if (from === 'metadata') {
        needless('audience', 'has no meaning with from: metadata: nothing is exchanged');
        needless('stsLocation', 'has no meaning with from: metadata: nothing is exchanged');
      } else if (identity.audience === undefined) complain('audience', `is required: ${AUDIENCE_FORM}`);
      if (from === 'metadata' || from === 'kubernetes-token') {
        needless('aws', `has no meaning with from: ${from}: AWS is not asked`);
        needless('expect', `has no meaning with from: ${from}: AWS is not asked`);
      }
      if (from === 'kubernetes-token' && identity.tokenFile === undefined)
        complain('tokenFile', 'is required with from: kubernetes-token');
      if (from !== 'kubernetes-token') needless('tokenFile', 'is for from: kubernetes-token only');
      if (identity.serviceAccount !== undefined) return;
      needless('delegates', 'needs serviceAccount, the account at the end of the chain');
      needless('lifetime', 'needs serviceAccount: a federated token lives as long as Google decides');
      if (identity.downscope && from !== 'metadata')
        complain('downscope', 'needs serviceAccount: Google documents limits for tokens of service accounts only');
    }),
  );

export const awsIdentity = z
  .strictObject({
    kind: z.literal('aws'),
    require: z
      .union([z.enum(AWS_ORIGINS), z.array(z.enum(AWS_ORIGINS)).min(1)], {
        error: () => `must be one of ${AWS_ORIGINS.join(', ')}, or a list of them`,
      })
      .transform((value) => (typeof value === 'string' ? [value] : value))
      .optional()
      .describe('Where the credentials must come from; others, such as the role of the node, are refused.'),
    profile: z
      .string()
      .regex(/^[\w.@/-]{1,64}$/, 'must be the name of a profile')
      .optional()
      .describe('Take the credentials of this profile of the AWS configuration, whatever the environment holds.'),
    roleArn: roleArn.optional().describe('Assume this role. Without it: the ambient credentials.'),
    aws: identityName().optional().describe('Assume the role with this identity. Default: the ambient one.'),
    google: identityName()
      .optional()
      .describe(
        'Assume the role with an ID token of this identity of kind `gcp`: from Google Cloud, without AWS keys.',
      ),
    audience: z
      .string()
      .regex(/^[\x21-\x7e]{1,255}$/, 'must be 1 to 255 printable characters without spaces')
      .optional()
      .describe('Of that ID token: what the trust policy compares with accounts.google.com:oaud.'),
    externalId: z
      .string()
      .regex(/^[\w+=,.@:/-]{2,1224}$/, 'must be 2 to 1224 letters, digits and +=,.@:/-')
      .optional()
      .describe('What the trust policy of the role asks for.'),
    sessionName: z
      .string()
      .regex(/^[\w+=,.@-]{2,64}$/, 'must be 2 to 64 letters, digits and +=,.@-')
      .optional()
      .describe('Seen in CloudTrail. Default: isthmus-PIPELINE.'),
    sessionTags: z
      .record(z.string().min(1).max(128), z.string().max(256))
      .refine((tags) => Object.keys(tags).length <= 50, 'AWS takes at most 50 session tags')
      .optional()
      .describe('Passed with the role; the trust policy must allow sts:TagSession.'),
    duration: durationFrom('15m', '12h').optional().describe('Of the session of the role. Default: 1h.'),
    region: region.optional().describe('For calls of AWS STS. Default: the region of the environment.'),
  })
  .superRefine(
    together((identity, complain) => {
      if (identity.roleArn === undefined) {
        for (const key of ['aws', 'google', 'externalId', 'sessionName', 'sessionTags', 'duration'] as const)
          if (identity[key] !== undefined) complain(key, 'needs roleArn, the role to assume');
      }
      for (const key of ['require', 'profile'] as const)
        if (identity.aws !== undefined && identity[key] !== undefined)
          complain(key, 'cannot be used together with aws: set it on that identity');
      if (identity.google === undefined) {
        if (identity.audience !== undefined) complain('audience', 'needs google, whose ID token it is');
        return;
      }
      if (identity.audience === undefined) complain('audience', 'is required with google');
      if (identity.aws !== undefined) complain('aws', 'cannot be used together with google');
      for (const key of ['require', 'profile'] as const)
        if (identity[key] !== undefined) complain(key, 'has no meaning with google: no AWS credentials are used');
      for (const key of ['externalId', 'sessionTags'] as const)
        if (identity[key] !== undefined) complain(key, 'cannot be passed with a web identity');
    }),
  );

const anonymousIdentity = z.strictObject({ kind: z.literal('anonymous') });

export const identitySpec = z.discriminatedUnion('kind', [gcpIdentity, awsIdentity, anonymousIdentity]);

/** By kind, for documentation and suggestions. */
export const IDENTITY_KINDS = { gcp: gcpIdentity, aws: awsIdentity, anonymous: anonymousIdentity } as const;

export type IdentitySpec = z.output<typeof identitySpec>;
