import { z } from 'zod';
import { byteSize, duration, identityName, integer } from '../api/fields.ts';

const AUDIENCE =
  /^\/\/iam\.googleapis\.com\/projects\/\d+\/locations\/global\/workloadIdentityPools\/[a-z0-9-]{4,32}\/providers\/[a-z0-9-]{4,32}$/;
const AUDIENCE_FORM =
  '//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER';

const audience = z.string().superRefine((text, context) => {
  if (AUDIENCE.test(text)) return;
  const project = /\/projects\/([^/]*)\//.exec(text)?.[1];
  const why =
    project !== undefined && !/^\d+$/.test(project)
      ? `"${project}" is a project id; the project number is needed: `
      : /^https?:/.test(text)
        ? 'it begins with //, without https: '
        : '';
  context.addIssue({ code: 'custom', message: `${why}must be ${AUDIENCE_FORM}` });
});

const serviceAccount = z
  .string()
  .regex(/^[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com$/, 'must be the e-mail address of a service account');

const awsAccountId = z.string().superRefine((text, context) => {
  if (!/^\d{12}$/.test(text)) {
    context.addIssue({ code: 'custom', message: `must be 12 digits, found ${text.length} characters` });
  }
});

const roleArn = z.string().superRefine((text, context) => {
  if (/^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]+$/.test(text)) return;
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

const gcpIdentity = z.strictObject({
  kind: z.literal('gcp'),
  audience: audience.describe('The workload identity provider that trusts the AWS account.'),
  serviceAccount: serviceAccount
    .optional()
    .describe('Impersonate this account. Without it the federated principal has direct access.'),
  aws: identityName().optional().describe('The AWS identity to start from. Default: the ambient one.'),
  expect: z
    .strictObject({ awsAccountId: awsAccountId.optional(), roleName: z.string().min(1).optional() })
    .optional()
    .describe('Checked before anything is sent to Google.'),
});

const awsIdentity = z.strictObject({
  kind: z.literal('aws'),
  roleArn: roleArn.optional().describe('Assume this role. Without it: the ambient credentials.'),
  externalId: z.string().min(2).max(1224).optional().describe('What the trust policy of the role asks for.'),
  region: z.string().min(1).optional().describe('For the STS call. Default: the region of the environment.'),
});

const anonymousIdentity = z.strictObject({ kind: z.literal('anonymous') });

export const identitySpec = z.discriminatedUnion('kind', [gcpIdentity, awsIdentity, anonymousIdentity]);

/** `use` names a plugin; its own schema validates `with`. */
export const endpointSpec = z.strictObject({
  use: z.string().min(1),
  with: z.record(z.string(), z.unknown()).optional(),
});

const retrySpec = z.strictObject({
  attempts: integer(1, 20).default(5).describe('Tries of one item, the first included.'),
  baseDelay: duration()
    .prefault('200ms')
    .describe('The longest first pause; it doubles with each try. Jitter is always on.'),
  maxDelay: duration().prefault('20s').describe('The cap of a pause, also of what a server asks for in Retry-After.'),
});

/** The whole file, but for `source`, `sink` and `state`, whose `with` the plugins validate. */
export const pipelineSpec = z.strictObject({
  version: z
    .union([z.literal(1), z.literal('1')], { error: ({ input }) => versionMessage(input) })
    .optional()
    .describe('The version of this format: 1.'),
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be 1 to 63 lower-case letters, digits and "-"')
    .describe('Names the pipeline in reports and state.'),
  identities: z.record(z.string(), identitySpec).default({}).describe('Who to be in a cloud, by name. Never a secret.'),
  source: z.unknown(),
  sink: z.unknown(),
  compare: z
    .enum(['checksum', 'size', 'always'])
    .default('checksum')
    .describe('How to tell that an item is already there. `checksum` reads metadata only, never data.'),
  concurrency: integer(1, 256).default(8).describe('Items in flight at once.'),
  memory: byteSize({ min: '8MiB', max: '1TiB' }).prefault('64MiB').describe('What all transfers together may buffer.'),
  retry: retrySpec.prefault({}).describe('How patiently one item is tried.'),
  state: z.unknown().optional(),
});

function versionMessage(input: unknown): string {
  if (typeof input === 'number' && !Number.isInteger(input)) return 'must be 1';
  const number = Number(input);
  return number > 1 ? `version ${number} is newer than this release (supports 1)` : 'must be 1';
}

export type IdentitySpec = z.output<typeof identitySpec>;
export type PipelineSpec = z.output<typeof pipelineSpec>;
