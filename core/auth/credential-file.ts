import { z } from 'zod';
import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import { providerName } from './principal.ts';

/** What a credential configuration of gcloud says, as the options of an identity of kind gcp. */
export interface ImportedIdentity {
  readonly audience: string;
  readonly from: 'aws-signature' | 'kubernetes-token';
  readonly tokenFile?: string;
  readonly serviceAccount?: string;
  readonly lifetimeSeconds?: number;
  readonly quotaProject?: string;
  readonly stsLocation?: string;
  /** What was in the file and has no meaning here, one sentence each. */
  readonly notes: readonly string[];
}

const AWS_TYPE = 'urn:ietf:params:aws:token-type:aws4_request';
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';
const LONGEST = 64 * 1024;

const STS = /^https:\/\/sts\.(?:([a-z0-9-]+)\.rep\.)?googleapis\.com\/v1\/token$/;
const IMPERSONATION =
  /^https:\/\/iamcredentials\.googleapis\.com\/v1\/projects\/-\/serviceAccounts\/([a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com):generateAccessToken$/;
const VERIFICATION =
  /^https:\/\/sts\.(?:\{region\}|[a-z0-9-]+)\.amazonaws\.com\/?\?Action=GetCallerIdentity&Version=2011-06-15$/;
const IMDS = String.raw`^http://(?:169\.254\.169\.254|\[fd00:ec2::254\])`;

/** One allowed value, said when it is another. The values of the file are never shown: they may be anything. */
const only = (form: RegExp, what: string) => z.string().regex(form, `refused: must be ${what}`);

/**
 * Google's published validation of external credentials, field by field.
 * Source: https://cloud.google.com/docs/authentication/client-libraries#external-credentials
 */
const schema = z.strictObject({
  type: z.literal('external_account'),
  audience: z.string({ error: 'is required' }),
  subject_token_type: z.enum([AWS_TYPE, JWT_TYPE], { error: `must be ${AWS_TYPE} or ${JWT_TYPE}` }),
  token_url: only(STS, 'https://sts.googleapis.com/v1/token, or that of a region').optional(),
  token_info_url: z.string().optional(),
  service_account_impersonation_url: only(
    IMPERSONATION,
    'https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/EMAIL:generateAccessToken',
  ).optional(),
  service_account_impersonation: z
    .strictObject({
      token_lifetime_seconds: z
        .int('must be 600 to 43200')
        .min(600, 'must be 600 to 43200')
        .max(43_200, 'must be 600 to 43200')
        .optional(),
    })
    .optional(),
  credential_source: z.strictObject({
    environment_id: only(/^aws1$/, 'aws1').optional(),
    regional_cred_verification_url: only(
      VERIFICATION,
      'that of GetCallerIdentity at sts.{region}.amazonaws.com',
    ).optional(),
    region_url: only(
      new RegExp(`${IMDS}/latest/meta-data/placement/availability-zone$`),
      'that of EC2 metadata',
    ).optional(),
    url: only(new RegExp(`${IMDS}/latest/meta-data/iam/security-credentials/?$`), 'that of EC2 metadata').optional(),
    imdsv2_session_token_url: only(new RegExp(`${IMDS}/latest/api/token$`), 'that of EC2 metadata').optional(),
    file: only(/^\/var\/run\/[\w./-]+$/, 'below /var/run, where Kubernetes mounts tokens')
      .refine((path) => !path.split('/').includes('..'), 'refused: the path leads elsewhere')
      .optional(),
    format: z.strictObject({ type: z.literal('text') }, { error: 'must be of type text' }).optional(),
  }),
  quota_project_id: z
    .string()
    .regex(/^[a-z][a-z0-9-]{4,28}[a-z0-9]$/, 'must be a project id')
    .optional(),
  universe_domain: only(/^googleapis\.com$/, 'googleapis.com; other universes are set on the identity').optional(),
  scopes: z.array(z.string()).optional(),
  cloud_resource_manager_url: z.string().optional(),
});

const KEYS: Readonly<Record<string, string>> = {
  service_account: 'long-lived keys are refused: use workload identity federation',
  authorized_user: 'this is the sign-in of a person: use workload identity federation',
  impersonated_service_account: 'this borrows from the sign-in of a person: set serviceAccount on an identity instead',
  external_account_authorized_user: 'this is the sign-in of a person of a workforce: use workload identity federation',
  gdch_service_account: 'long-lived keys are refused: use workload identity federation',
};

/** Where other libraries would read, run or send something that the file names. */
const REFUSED: Readonly<Record<string, string>> = {
  executable: 'refused: nothing that a file names is run',
  client_id: 'refused: the exchange takes no client; sending one breaks it',
  client_secret: 'refused: a credential configuration holds no secret',
  workforce_pool_user_project: 'refused: this is for workforce pools, of people',
  private_key: 'refused: a credential configuration holds no key',
};

/**
 * Reads what `gcloud iam workload-identity-pools create-cred-config` writes. Nothing that it names is fetched, run or
 * sent anywhere: every URL is checked and then built anew from constants.
 *
 * @throws BrokerError `invalid_config` with every fault of the file; no value of it is ever in the message.
 */
export function readCredentialFile(text: string, file: string): ImportedIdentity {
  const value = parsed(text, file);
  const faults = keyFaults(value);
  if (faults.length > 0) throw refusal(file, faults);
  const result = schema.safeParse(value);
  if (!result.success) throw refusal(file, result.error.issues.flatMap(told));
  return identityOf(result.data, file);
}

function parsed(text: string, file: string): Record<string, unknown> {
  if (text.length > LONGEST) throw refusal(file, ['longer than 64 KiB: this is no credential configuration']);
  try {
    const value: unknown = JSON.parse(text.replace(/^\ufeff/, ''));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (error) {
    const [, line = '1', column = '1'] = /line (\d+) column (\d+)/.exec(String(error)) ?? [];
    const what = /^\s*</.test(text) ? 'this is a web page, not JSON' : 'not JSON';
    throw refusal(file, [`${what}: line ${line} column ${column}`]);
  }
  throw refusal(file, ['not a JSON object']);
}

function keyFaults(value: Record<string, unknown>): string[] {
  const { type } = value;
  if (typeof type !== 'string') return ['type: is required: external_account'];
  if (Object.hasOwn(KEYS, type)) return [`type: ${KEYS[type]}`];
  if (type !== 'external_account') return ['type: must be external_account'];
  const source = (value.credential_source ?? {}) as Record<string, unknown>;
  return Object.entries(REFUSED)
    .filter(([key]) => Object.hasOwn(value, key) || Object.hasOwn(source, key))
    .map(([key, why]) => `${key}: ${why}`);
}

function told(issue: z.core.$ZodIssue): string[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => `${visible([...issue.path, key].join('.'))}: unknown, and so refused`);
  const message =
    issue.code === 'invalid_type'
      ? issue.message.startsWith('is ')
        ? issue.message
        : `must be ${issue.expected}`
      : issue.message;
  return [`${issue.path.join('.')}: ${message}`];
}

function identityOf(data: z.output<typeof schema>, file: string): ImportedIdentity {
  const { credential_source: source, service_account_impersonation_url: url = '', audience } = data;
  const faults: string[] = [];
  if (providerName(audience) === undefined) {
    faults.push(
      'audience: must be //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER',
    );
  }
  const aws = data.subject_token_type === AWS_TYPE;
  if (aws && source.environment_id === undefined) faults.push('credential_source.environment_id: must be aws1');
  if (aws && source.file !== undefined) faults.push('credential_source.file: refused for AWS federation');
  if (!aws && source.file === undefined) faults.push('credential_source.file: is required for a token of Kubernetes');
  if (!aws && source.environment_id !== undefined) faults.push(`subject_token_type: must be ${AWS_TYPE} for aws1`);
  if (faults.length > 0) throw refusal(file, faults);
  const notes: string[] = [];
  if (aws && (source.url ?? source.region_url) !== undefined)
    notes.push('EC2 metadata is not all that is asked: the AWS SDK chain finds task, pod and instance roles itself');
  if (data.scopes !== undefined) notes.push('scopes are left out: each source asks for the least that it needs');
  const serviceAccount = IMPERSONATION.exec(url)?.[1];
  const location = STS.exec(data.token_url ?? '')?.[1];
  const lifetime = data.service_account_impersonation?.token_lifetime_seconds;
  return {
    audience,
    from: aws ? 'aws-signature' : 'kubernetes-token',
    ...(source.file === undefined ? {} : { tokenFile: source.file }),
    ...(serviceAccount === undefined ? {} : { serviceAccount }),
    ...(lifetime === undefined || serviceAccount === undefined ? {} : { lifetimeSeconds: lifetime }),
    ...(data.quota_project_id === undefined ? {} : { quotaProject: data.quota_project_id }),
    ...(location === undefined ? {} : { stsLocation: location }),
    notes,
  };
}

const refusal = (file: string, faults: readonly string[]): BrokerError =>
  new BrokerError('invalid_config', `${visible(file)}: ${faults.join('; ')}`, {
    hint: 'Make it anew: gcloud iam workload-identity-pools create-cred-config PROVIDER --aws --output-file=FILE',
  });
