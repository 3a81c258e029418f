import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AwsOrigin } from '../../core/auth/aws-origin.ts';
import type { LocalCloud } from '../cloud/local-cloud.ts';

export type Variables = Record<string, string>;

/** A place where AWS code runs, and how it finds its identity there. */
export interface Place {
  readonly name: string;
  readonly origin: AwsOrigin;
  /** Where the region is found. */
  readonly region: string;
  /** The environment of the process there. */
  variables(cloud: LocalCloud, folder: string): Promise<Variables>;
}

/** So that nothing of this machine is found. */
const nothing = (folder: string): Variables => ({
  AWS_CONFIG_FILE: join(folder, 'no-config'),
  AWS_SHARED_CREDENTIALS_FILE: join(folder, 'no-credentials'),
  HOME: folder,
});

const config = async (folder: string, text: string): Promise<Variables> => {
  const file = join(folder, 'config');
  await writeFile(file, text);
  return { ...nothing(folder), AWS_CONFIG_FILE: file, AWS_EC2_METADATA_DISABLED: 'true' };
};

const keys = ({ session }: LocalCloud): Variables => ({
  AWS_ACCESS_KEY_ID: session.accessKeyId,
  AWS_SECRET_ACCESS_KEY: session.secretAccessKey,
  AWS_SESSION_TOKEN: session.sessionToken ?? '',
});

export const SSO_START = 'https://acme.awsapps.com/start';

/** @param expiresAt of the sign-in. */
export async function ssoProfile(cloud: LocalCloud, folder: string, expiresAt: Date): Promise<Variables> {
  const cache = join(folder, '.aws', 'sso', 'cache');
  await mkdir(cache, { recursive: true });
  const token = { startUrl: SSO_START, region: 'eu-west-1', accessToken: cloud.sso.accessToken, expiresAt };
  await writeFile(join(cache, `${createHash('sha1').update('acme').digest('hex')}.json`), JSON.stringify(token));
  const text = `[profile dev]
sso_session = acme
sso_account_id = 111122223333
sso_role_name = exports
region = eu-west-1
[sso-session acme]
sso_start_url = ${SSO_START}
sso_region = eu-west-1
`;
  return { ...(await config(folder, text)), AWS_PROFILE: 'dev', AWS_ENDPOINT_URL_SSO: cloud.sso.url };
}

export const PLACES: readonly Place[] = [
  {
    name: 'Lambda',
    origin: 'lambda-role',
    region: 'AWS_REGION',
    variables: async (cloud, folder) => ({
      ...nothing(folder),
      ...keys(cloud),
      AWS_REGION: 'eu-west-1',
      AWS_LAMBDA_FUNCTION_NAME: 'exports',
    }),
  },
  {
    name: 'ECS and Fargate',
    origin: 'task-role',
    region: 'ECS task metadata',
    variables: async (cloud, folder) => ({
      ...nothing(folder),
      // On ECS it is a path below 169.254.170.2; the SDK allows loopback in the full form.
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${cloud.container.url}/v2/credentials/task`,
      ECS_CONTAINER_METADATA_URI_V4: `${cloud.container.url}/v4`,
      // The node's role is within reach, and must not be taken.
      AWS_EC2_METADATA_SERVICE_ENDPOINT: cloud.imds.url,
    }),
  },
  {
    name: 'EKS with IRSA',
    origin: 'pod-role',
    region: 'AWS_REGION',
    variables: async (cloud, folder) => {
      const sub = 'system:serviceaccount:default:exports';
      cloud.awsSts.webIdentityRoles.set('exports', { issuer: cloud.cluster, claims: { sub } });
      const file = join(folder, 'irsa-token');
      await writeFile(file, cloud.cluster.token({ aud: 'sts.amazonaws.com', sub }));
      return {
        ...nothing(folder),
        AWS_WEB_IDENTITY_TOKEN_FILE: file,
        AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/exports',
        AWS_ROLE_SESSION_NAME: 'pod',
        AWS_REGION: 'eu-west-1',
        AWS_ENDPOINT_URL_STS: cloud.awsSts.url,
        AWS_EC2_METADATA_SERVICE_ENDPOINT: cloud.imds.url,
      };
    },
  },
  {
    name: 'EKS with Pod Identity',
    origin: 'pod-role',
    region: 'AWS_REGION',
    variables: async (cloud, folder) => {
      const file = join(folder, 'pod-identity-token');
      await writeFile(file, cloud.container.podToken);
      return {
        ...nothing(folder),
        AWS_CONTAINER_CREDENTIALS_FULL_URI: `${cloud.container.url}/v1/credentials`,
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file,
        AWS_REGION: 'eu-west-1',
        AWS_EC2_METADATA_SERVICE_ENDPOINT: cloud.imds.url,
      };
    },
  },
  {
    name: 'EC2',
    origin: 'instance-role',
    region: 'EC2 metadata',
    variables: async (cloud, folder) => ({
      ...nothing(folder),
      AWS_EC2_METADATA_SERVICE_ENDPOINT: cloud.imds.url,
    }),
  },
  {
    name: 'a laptop with SSO',
    origin: 'sso',
    region: 'profile dev',
    variables: (cloud, folder) => ssoProfile(cloud, folder, new Date(Date.now() + 3_600_000)),
  },
  {
    name: 'a profile with a credential process',
    origin: 'process',
    region: 'profile default',
    variables: async (cloud, folder) => {
      const { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: SessionToken } = cloud.session;
      const printed = join(folder, 'printed.json');
      await writeFile(printed, JSON.stringify({ Version: 1, AccessKeyId, SecretAccessKey, SessionToken }));
      return config(folder, `[default]\nregion = eu-west-1\ncredential_process = cat ${printed}\n`);
    },
  },
  {
    name: 'plain environment variables',
    origin: 'environment',
    region: 'AWS_DEFAULT_REGION',
    variables: async (cloud, folder) => ({ ...nothing(folder), ...keys(cloud), AWS_DEFAULT_REGION: 'eu-west-1' }),
  },
];
