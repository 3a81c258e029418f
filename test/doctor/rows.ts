import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FailureId } from '../../core/auth/failures/table.ts';
import { STS_TEXTS } from '../cloud/google-sts.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, type LocalCloud } from '../cloud/local-cloud.ts';
import { roleSession } from '../cloud/principals.ts';
import { PLACES, ssoProfile, type Variables } from '../core/places.ts';

export interface Scene {
  readonly cloud: LocalCloud;
  readonly folder: string;
}

/** A broken set-up: what is wrong in it, and what the doctor must call it. */
export interface Broken {
  readonly id: FailureId;
  /** Arranges it; answers with variables that differ, and identities or endpoints that do. */
  readonly arrange: (scene: Scene) => Promise<Setting> | Setting;
}

export interface Setting {
  /** Instead of those of a Lambda. */
  readonly variables?: Variables;
  readonly identities?: Readonly<Record<string, object>>;
  readonly source?: object;
}

export const READER = {
  kind: 'gcp',
  audience: LOCAL_AUDIENCE,
  serviceAccount: LOCAL_SERVICE_ACCOUNT,
  expect: { awsAccountId: '111122223333', roleName: 'exports' },
};
const other = (change: object): Setting => ({ identities: { reader: { ...READER, ...change } } });

/** Google's token service answers so, however often it is asked. */
const sts =
  (status: number, error: string, error_description: string) =>
  ({ cloud }: Scene): Setting => {
    const body = JSON.stringify({ error, error_description });
    cloud.googleSts.faults.add('POST /v1/token', { kind: 'answer', status, body }, Number.POSITIVE_INFINITY);
    return {};
  };
const api = (status: number, name: string, message: string): string =>
  JSON.stringify({ error: { code: status, message, status: name } });
const iam =
  (status: number, name: string, message: string) =>
  ({ cloud }: Scene): Setting => {
    const fault = { kind: 'answer', status, body: api(status, name, message) } as const;
    cloud.iamCredentials.faults.add('POST /v1/', fault, Number.POSITIVE_INFINITY);
    return {};
  };
const awsSts =
  (action: string, status: number, code: string, message: string) =>
  ({ cloud }: Scene): Setting => {
    const body = `<ErrorResponse><Error><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>`;
    // The action is in the body, so each request of the service that is not another is answered so.
    cloud.awsSts.faults.add(`POST /`, { kind: 'answer', status, body }, Number.POSITIVE_INFINITY);
    return action === 'GetCallerIdentity' ? {} : { identities: identitiesFor(action) };
  };
const ROLE = 'arn:aws:iam::111122223333:role/lake-writer';
const identitiesFor = (action: string): Readonly<Record<string, object>> =>
  action === 'AssumeRoleWithWebIdentity'
    ? {
        reader: { kind: 'gcp', from: 'metadata' },
        writer: { kind: 'aws', roleArn: ROLE, google: 'reader', audience: 'https://isthmus/aws' },
      }
    : { reader: { ...READER, from: 'aws-token' } };

const place = (name: string): ((scene: Scene) => Promise<Variables>) => {
  const found = PLACES.find((one) => one.name === name);
  if (found === undefined) throw new Error(name);
  return ({ cloud, folder }) => found.variables(cloud, folder);
};
const nothing = ({ folder }: Scene): Variables => ({
  HOME: folder,
  AWS_REGION: 'eu-west-1',
  AWS_EC2_METADATA_DISABLED: 'true',
});
const aws = (code: string, message: string): string =>
  `Received invalid AWS response of type ${code} with error message: ${message}`;

/** Each is met by a doctor that walks against the local cloud. Server texts are verbatim where they were ever seen. */
export const BROKEN: readonly Broken[] = [
  { id: 'AWS_NO_CREDENTIALS', arrange: (scene) => ({ variables: nothing(scene) }) },
  {
    id: 'AWS_REGION_MISSING',
    arrange: async ({ cloud, folder }) => ({
      variables: {
        ...(await place('plain environment variables')({ cloud, folder })),
        AWS_DEFAULT_REGION: '',
        AWS_EC2_METADATA_DISABLED: 'true',
      },
    }),
  },
  {
    id: 'AWS_CONTAINER_REFUSED',
    arrange: async (scene) => {
      const variables = await place('EKS with Pod Identity')(scene);
      scene.cloud.container.podToken = 'rotated';
      return { variables: { ...variables, AWS_EC2_METADATA_DISABLED: 'true' } };
    },
  },
  {
    id: 'AWS_POD_IDENTITY_HOST',
    arrange: async (scene) => ({
      variables: {
        ...(await place('EKS with Pod Identity')(scene)),
        AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1:1/v1/credentials',
        AWS_EC2_METADATA_DISABLED: 'true',
      },
    }),
  },
  {
    id: 'AWS_SSO_EXPIRED',
    arrange: async ({ cloud, folder }) => ({ variables: await ssoProfile(cloud, folder, new Date(0)) }),
  },
  { id: 'AWS_PROFILE_MISSING', arrange: (scene) => ({ variables: { ...nothing(scene), AWS_PROFILE: 'nobody' } }) },
  {
    id: 'AWS_PROCESS_FAILED',
    arrange: async (scene) => {
      const file = join(scene.folder, 'config');
      await writeFile(file, '[profile broken]\ncredential_process = false\n');
      return { variables: { ...nothing(scene), AWS_PROFILE: 'broken', AWS_CONFIG_FILE: file } };
    },
  },
  {
    id: 'AWS_WEB_IDENTITY_FILE',
    arrange: (scene) => ({
      variables: { ...nothing(scene), AWS_WEB_IDENTITY_TOKEN_FILE: join(scene.folder, 'none'), AWS_ROLE_ARN: ROLE },
    }),
  },
  {
    id: 'AWS_STS_UNREACHABLE',
    arrange: async (scene) => ({
      variables: {
        ...(await place('EKS with IRSA')(scene)),
        AWS_ENDPOINT_URL_STS: 'http://127.0.0.1:9',
        AWS_EC2_METADATA_DISABLED: 'true',
      },
    }),
  },
  {
    id: 'AWS_WEB_IDENTITY_DENIED',
    arrange: async (scene) => {
      const variables = await place('EKS with IRSA')(scene);
      const trust = { issuer: scene.cloud.cluster, claims: { sub: 'system:serviceaccount:another:one' } };
      scene.cloud.awsSts.webIdentityRoles.set('exports', trust);
      return { variables: { ...variables, AWS_EC2_METADATA_DISABLED: 'true' } };
    },
  },
  {
    id: 'AWS_IMDS_UNAUTHORIZED',
    arrange: ({ cloud, folder }) => ({
      variables: { HOME: folder, AWS_REGION: 'eu-west-1', AWS_EC2_METADATA_SERVICE_ENDPOINT: cloud.sso.url },
    }),
  },
  {
    id: 'AWS_IMDS_SILENT',
    arrange: ({ cloud, folder }) => {
      cloud.imds.faults.add('PUT /latest/api/token', { kind: 'delay', ms: 2500 }, Number.POSITIVE_INFINITY);
      return {
        variables: { HOME: folder, AWS_REGION: 'eu-west-1', AWS_EC2_METADATA_SERVICE_ENDPOINT: cloud.imds.url },
      };
    },
  },
  {
    id: 'AWS_SESSION_TOKEN_MISSING',
    arrange: ({ cloud }) => ({ variables: { ...cloud.environment, AWS_SESSION_TOKEN: '' } }),
  },
  {
    id: 'AWS_WRONG_ORIGIN',
    arrange: async (scene) => ({
      variables: await place('EC2')(scene),
      identities: { reader: { ...READER, aws: 'task' }, task: { kind: 'aws', require: 'task-role' } },
    }),
  },
  {
    id: 'AWS_NODE_ROLE',
    arrange: async (scene) => ({
      variables: { ...(await place('EC2')(scene)), KUBERNETES_SERVICE_HOST: '10.0.0.1' },
      identities: { reader: { ...READER, expect: undefined }, writer: { kind: 'aws' } },
    }),
  },
  {
    id: 'AWS_ENDING',
    arrange: ({ cloud }) => ({
      variables: { ...cloud.environment, AWS_CREDENTIAL_EXPIRATION: new Date(Date.now() + 30_000).toISOString() },
    }),
  },
  {
    id: 'AWS_CREDENTIALS_REFUSED',
    arrange: ({ cloud }) => {
      cloud.awsSts.principals.clear();
      return {};
    },
  },
  { id: 'AWS_WRONG_IDENTITY', arrange: () => other({ expect: { awsAccountId: '999999999999' } }) },
  {
    id: 'AWS_ASSUME_DENIED',
    arrange: () => ({ identities: { reader: READER, writer: { kind: 'aws', roleArn: ROLE } } }),
  },
  {
    id: 'AWS_REGION_DISABLED',
    arrange: awsSts(
      'GetCallerIdentity',
      403,
      'RegionDisabledException',
      'STS is not activated in this region for account:111122223333. Your account administrator can activate STS in this region using the IAM Console.',
    ),
  },
  {
    id: 'AWS_TOKEN_DISABLED',
    arrange: ({ cloud }) => {
      cloud.awsSts.outboundEnabled = false;
      return other({ from: 'aws-token' });
    },
  },
  {
    id: 'AWS_TOKEN_DENIED',
    arrange: ({ cloud }) => {
      // GetCallerIdentity is asked by the doctor and by the chain, then comes the token.
      const message = `User: ${cloud.session.arn} is not authorized to perform: sts:GetWebIdentityToken because no identity-based policy allows the sts:GetWebIdentityToken action`;
      const body = `<ErrorResponse><Error><Code>AccessDenied</Code><Message>${message}</Message></Error></ErrorResponse>`;
      let asked = 0;
      cloud.awsSts.faults.add(
        ({ method }) => method === 'POST' && ++asked > 2,
        { kind: 'answer', status: 403, body },
        Number.POSITIVE_INFINITY,
      );
      return other({ from: 'aws-token' });
    },
  },
  {
    id: 'KUBERNETES_TOKEN_MISSING',
    arrange: ({ folder }) => other({ from: 'kubernetes-token', expect: undefined, tokenFile: join(folder, 'none') }),
  },
  {
    id: 'KUBERNETES_TOKEN_EXPIRED',
    arrange: async ({ cloud, folder }) => {
      const tokenFile = join(folder, 'token');
      await writeFile(tokenFile, cloud.cluster.token({ sub: 'system:serviceaccount:a:b' }, -60));
      return other({ from: 'kubernetes-token', expect: undefined, tokenFile });
    },
  },
  { id: 'STS_AUDIENCE_INVALID', arrange: sts(400, 'invalid_request', STS_TEXTS.audience) },
  {
    id: 'STS_TARGET_INVALID',
    arrange: () => other({ audience: LOCAL_AUDIENCE.replace('providers/isthmus', 'providers/deleted') }),
  },
  {
    id: 'STS_ATTRIBUTE_CONDITION',
    arrange: ({ cloud }) => {
      cloud.googleSts.providers[0] = { audience: LOCAL_AUDIENCE, awsAccountId: '111122223333', roleName: 'others' };
      return {};
    },
  },
  {
    id: 'STS_SUBJECT_NOT_STRING',
    arrange: ({ cloud }) => {
      const provider = { audience: LOCAL_AUDIENCE, awsAccountId: '111122223333', roleName: 'exports' } as const;
      cloud.googleSts.providers[0] = { ...provider, subject: 'not-a-string' };
      return {};
    },
  },
  {
    id: 'STS_SUBJECT_TOO_LONG',
    arrange: ({ cloud }) => {
      const roleName = 'a-role-with-a-name-as-long-as-terraform-likes-to-make-them-2026';
      const session = roleSession(roleName, 'my-service-prod-worker-0123456789abcdef0123456789abcdef');
      cloud.awsSts.principals.set(session.accessKeyId, session);
      cloud.googleSts.providers[0] = {
        audience: LOCAL_AUDIENCE,
        awsAccountId: '111122223333',
        roleName,
        subject: 'arn',
      };
      const { accessKeyId, secretAccessKey, sessionToken = '' } = session;
      return {
        ...other({ expect: { roleName } }),
        variables: {
          ...cloud.environment,
          AWS_ACCESS_KEY_ID: accessKeyId,
          AWS_SECRET_ACCESS_KEY: secretAccessKey,
          AWS_SESSION_TOKEN: sessionToken,
        },
      };
    },
  },
  {
    id: 'STS_CLOCK',
    arrange: sts(
      400,
      'invalid_grant',
      aws(
        'SignatureDoesNotMatch',
        'Signature expired: 20261122T000000Z is now earlier than 20261122T001600Z (20261122T003100Z - 15 min.)',
      ),
    ),
  },
  {
    id: 'STS_AWS_TOKEN_EXPIRED',
    arrange: sts(400, 'invalid_grant', aws('ExpiredToken', 'The security token included in the request is expired')),
  },
  {
    id: 'STS_AWS_TOKEN_UNKNOWN',
    arrange: sts(
      400,
      'invalid_grant',
      aws('InvalidClientTokenId', 'The security token included in the request is invalid.'),
    ),
  },
  {
    id: 'STS_SIGNATURE',
    arrange: sts(
      400,
      'invalid_grant',
      aws('SignatureDoesNotMatch', 'The request signature we calculated does not match the signature you provided.'),
    ),
  },
  {
    id: 'STS_TARGET_HEADER',
    arrange: sts(400, 'invalid_grant', 'x-goog-cloud-target-resource does not name this provider'),
  },
  {
    id: 'STS_FORMAT',
    arrange: sts(
      400,
      'invalid_grant',
      "Invalid format of AWS credentials:Error at line 0:0: Unexpected end of stream : expected '{'",
    ),
  },
  {
    id: 'STS_TOKEN_FORMAT',
    arrange: async ({ cloud, folder }) => {
      const audience = LOCAL_AUDIENCE.replace('providers/isthmus', 'providers/cluster');
      cloud.googleSts.providers.push({ audience, issuer: cloud.google, sub: 'system:serviceaccount:a:b' });
      const tokenFile = join(folder, 'token');
      await writeFile(tokenFile, cloud.cluster.token({ sub: 'system:serviceaccount:a:b', aud: audience }));
      return other({ audience, from: 'kubernetes-token', expect: undefined, tokenFile });
    },
  },
  { id: 'STS_TOKEN_EXPIRED', arrange: sts(400, 'invalid_grant', 'ID Token issued at 1764000000 is stale to sign-in.') },
  { id: 'STS_ISSUER_UNREACHABLE', arrange: sts(400, 'invalid_grant', STS_TEXTS.issuer) },
  { id: 'STS_SCOPE_MISSING', arrange: sts(400, 'invalid_request', 'Scope(s) must be provided.') },
  {
    id: 'STS_THROTTLED',
    arrange: sts(
      429,
      'quota_exceeded',
      'The request was throttled due to rate limit: sts.googleapis.com/requests. Please retry after a few seconds.',
    ),
  },
  {
    id: 'STS_API_DISABLED',
    arrange: ({ cloud }) => {
      const text = 'Security Token Service API has not been used in project 123456789 before or it is disabled.';
      const fault = { kind: 'answer', status: 403, body: api(403, 'PERMISSION_DENIED', text) } as const;
      cloud.googleSts.faults.add('POST /v1/token', fault, Number.POSITIVE_INFINITY);
      return {};
    },
  },
  {
    id: 'STS_NOT_GOOGLE',
    arrange: ({ cloud }) => {
      const body = '<!doctype html><title>Sign in to the hotel</title>';
      const headers = { 'content-type': 'text/html' };
      cloud.googleSts.faults.add(
        'POST /v1/token',
        { kind: 'answer', status: 200, headers, body },
        Number.POSITIVE_INFINITY,
      );
      return {};
    },
  },
  {
    id: 'STS_NO_TOKEN',
    arrange: ({ cloud }) => {
      const body = JSON.stringify({ access_token: 'ya29.cAnArY', token_type: 'Bearer' });
      cloud.googleSts.faults.add('POST /v1/token', { kind: 'answer', status: 200, body }, Number.POSITIVE_INFINITY);
      return {};
    },
  },
  { id: 'STS_REFUSED', arrange: sts(400, 'invalid_request', 'Something that nobody has seen before.') },
  {
    id: 'DOWNSCOPE_REFUSED',
    arrange: ({ cloud }) => {
      const body = JSON.stringify({ error: 'invalid_request', error_description: 'Error getting an UberMint' });
      let asked = 0;
      cloud.googleSts.faults.add(
        ({ method }) => method === 'POST' && ++asked > 1,
        { kind: 'answer', status: 400, body },
        Number.POSITIVE_INFINITY,
      );
      return other({ downscope: true });
    },
  },
  { id: 'IMP_DENIED', arrange: () => other({ serviceAccount: 'stranger@acme.iam.gserviceaccount.com' }) },
  {
    id: 'IMP_OPENID_DENIED',
    arrange: ({ cloud }) => {
      const text = "Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist).";
      const fault = { kind: 'answer', status: 403, body: api(403, 'PERMISSION_DENIED', text) } as const;
      cloud.iamCredentials.faults.add(':generateIdToken', fault, Number.POSITIVE_INFINITY);
      const writer = { kind: 'aws', roleArn: ROLE, google: 'reader', audience: 'https://isthmus/aws' };
      return { identities: { reader: READER, writer } };
    },
  },
  {
    id: 'IMP_USER_PROJECT',
    arrange: iam(
      403,
      'PERMISSION_DENIED',
      'Caller does not have required permission to use project acme. Grant the caller the roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use permission.',
    ),
  },
  {
    id: 'IMP_API_DISABLED',
    arrange: iam(
      403,
      'PERMISSION_DENIED',
      'IAM Service Account Credentials API has not been used in project 123456789 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/overview?project=123456789 then retry.',
    ),
  },
  { id: 'IMP_LIFETIME', arrange: () => other({ lifetime: '12h' }) },
  {
    id: 'IMP_ACCOUNT_MISSING',
    arrange: iam(404, 'NOT_FOUND', 'Gaia id not found for email gone@acme.iam.gserviceaccount.com'),
  },
  { id: 'IMP_INVALID_ARGUMENT', arrange: iam(400, 'INVALID_ARGUMENT', 'Request contains an invalid argument.') },
  {
    id: 'IMP_NO_TOKEN',
    arrange: ({ cloud }) => {
      cloud.iamCredentials.faults.add(
        'POST /v1/',
        { kind: 'answer', status: 200, body: '{}' },
        Number.POSITIVE_INFINITY,
      );
      return {};
    },
  },
  { id: 'IMP_REFUSED', arrange: iam(403, 'PERMISSION_DENIED', 'The caller does not have permission') },
  {
    id: 'USE_UNAUTHENTICATED',
    arrange: ({ cloud }) => {
      const text =
        'Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.';
      const fault = { kind: 'answer', status: 401, body: api(401, 'UNAUTHENTICATED', text) } as const;
      cloud.gcs.faults.add('/storage/v1/', fault, Number.POSITIVE_INFINITY);
      return {};
    },
  },
  {
    id: 'USE_PERMISSION',
    arrange: ({ cloud }) => {
      cloud.gcs.bucket('acme-exports', ['somebody@else.iam.gserviceaccount.com']);
      return {};
    },
  },
  {
    id: 'GOOGLE_NOT_HERE',
    arrange: ({ cloud }) => {
      cloud.googleMetadata.faults.add(
        '/computeMetadata/',
        { kind: 'answer', status: 404, body: '<html>' },
        Number.POSITIVE_INFINITY,
      );
      return { identities: { reader: { kind: 'gcp', from: 'metadata' } } };
    },
  },
  {
    id: 'GOOGLE_NO_IDENTITY',
    arrange: ({ cloud }) => {
      cloud.googleMetadata.email = undefined;
      return { identities: { reader: { kind: 'gcp', from: 'metadata' } } };
    },
  },
  {
    id: 'WEB_AUDIENCE',
    arrange: awsSts('AssumeRoleWithWebIdentity', 400, 'InvalidIdentityToken', 'Incorrect token audience'),
  },
  {
    id: 'WEB_NO_PROVIDER',
    arrange: awsSts(
      'AssumeRoleWithWebIdentity',
      400,
      'InvalidIdentityToken',
      'No OpenIDConnect provider found in your account for https://oidc.example',
    ),
  },
  {
    id: 'WEB_NOT_VALIDATED',
    arrange: awsSts(
      'AssumeRoleWithWebIdentity',
      400,
      'InvalidIdentityToken',
      'The web identity token provided could not be validated.',
    ),
  },
  {
    id: 'WEB_EXPIRED',
    arrange: awsSts(
      'AssumeRoleWithWebIdentity',
      400,
      'ExpiredTokenException',
      'Token expired: current date/time 1626271164 must be before the expiration date/time1626191469',
    ),
  },
  {
    id: 'WEB_DENIED',
    arrange: awsSts(
      'AssumeRoleWithWebIdentity',
      403,
      'AccessDenied',
      'Not authorized to perform sts:AssumeRoleWithWebIdentity',
    ),
  },
];

/** The words of other libraries and of set-up tools, as people paste them. */
export const SAID: readonly (readonly [FailureId, string])[] = [
  ['AWS_ROLE_NAME_URL', 'Unable to determine AWS role name due to missing "options.credential_source.url"'],
  ['AWS_REGION_MISSING', 'Unable to determine AWS region due to missing "options.credential_source.region_url"'],
  ['AWS_CREDENTIAL_SOURCE_COUNT', 'A credential source or AWS security credentials supplier must be specified.'],
  [
    'AWS_CREDENTIAL_SOURCE_COUNT',
    'Only one of credential source or AWS security credentials supplier can be specified.',
  ],
  ['AWS_CREDENTIAL_SOURCE_INVALID', 'No valid AWS "credential_source" provided'],
  ['AWS_CREDENTIAL_SOURCE_INVALID', 'aws version "2" is not supported in the current build.'],
  ['AWS_CONTAINER_UNSUPPORTED', 'Unable to determine the AWS metadata server security credentials endpoint'],
  ['AWS_NO_CREDENTIALS', 'Could not load credentials from any providers'],
  ['AWS_REGION_MISSING', 'NoRegionError: You must specify a region.'],
  ['AWS_CREDENTIALS_REFUSED', 'The AWS Access Key Id you provided does not exist in our records. (InvalidAccessKeyId)'],
  ['GOOGLE_NOT_HERE', 'Could not load the default credentials. Browse to https://cloud.google.com/docs/authentication'],
  ['GOOGLE_NOT_HERE', 'Your default credentials were not found. To set up Application Default Credentials, see …'],
  [
    'USE_UNAUTHENTICATED',
    'Anonymous caller does not have storage.objects.get access to the Google Cloud Storage object.',
  ],
  ['AWS_POD_IDENTITY_HOST', '169.254.170.23 is not a valid container metadata service hostname'],
  [
    'AWS_SSO_EXPIRED',
    'The SSO session associated with this profile has expired. To refresh this SSO session run aws sso login with the corresponding profile.',
  ],
  ['AWS_IMDS_DISABLED', 'EC2 Instance Metadata Service access disabled'],
  ['USE_PROJECT_ID', 'Unable to detect a Project Id in the current environment.'],
  ['STS_NOT_GOOGLE', 'Error code undefined'],
  ['STS_AUDIENCE_INVALID', `Error code invalid_request: ${STS_TEXTS.audience}`],
  [
    'STS_TARGET_INVALID',
    `oauth2/google: status code 400: {"error":"invalid_target","error_description":"${STS_TEXTS.target.replaceAll('"', '\\"')}"}`,
  ],
  [
    'STS_ATTRIBUTE_CONDITION',
    `There was a problem refreshing your current auth tokens: ('Error code unauthorized_client: ${STS_TEXTS.condition}')`,
  ],
  ['IMP_DENIED', '(\'Unable to acquire impersonated credentials\', \'{"error": {"code": 403}}\')'],
  [
    'IMP_DENIED',
    "PERMISSION_DENIED: unable to impersonate: Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
  ],
  ['SETUP_CONDITION_CLAIMS', "Error 400: The attribute condition must reference one of the provider's claims. "],
  [
    'SETUP_ORG_POLICY',
    'FAILED_PRECONDITION: Precondition check failed. Org Policy violated for value: 111122223333 of constraints/iam.workloadIdentityPoolProviders',
  ],
  ['SETUP_EXISTS', 'Error 409: Requested entity already exists'],
  ['WEB_EXPIRED', 'Token file expired'],
];

/** Warnings, and what only shows without a run. */
export const ELSEWHERE: readonly FailureId[] = ['AWS_LONG_LIVED_KEY'];
