import { plugins } from '../../config/plugins.ts';
import { parsePipelineText } from '../../core/pipeline/load.ts';
import { type AwsPlace, type RoleSetup, setupOf } from '../../core/setup/model.ts';
import { awsScript, googleScript } from '../../core/setup/shell.ts';
import { accountsOf, awsTerraform } from '../../core/setup/terraform-aws.ts';
import { googleTerraform } from '../../core/setup/terraform-google.ts';

export const POOL = '//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/aws-prod/providers';
export const expected = { awsAccountId: '111122223333', roleName: 'exports' };
export const ROLE = 'arn:aws:iam::111122223333:role/lake-writer';
export const SA = 'exports-reader@acme.iam.gserviceaccount.com';

/** One of each way of use. */
export const PIPELINES: Readonly<
  Record<string, { identities: Record<string, object>; prefix?: string; sink?: object; source?: object }>
> = {
  direct: { identities: { reader: { kind: 'gcp', audience: `${POOL}/isthmus`, expect: expected } } },
  impersonated: {
    identities: {
      reader: {
        kind: 'gcp',
        audience: `${POOL}/isthmus`,
        expect: expected,
        serviceAccount: SA,
        delegates: ['first@acme.iam.gserviceaccount.com'],
      },
    },
    prefix: '2026/',
    sink: { encryption: 'aws:kms', kmsKeyId: 'alias/lake', tags: { team: 'data' } },
  },
  'aws-token': {
    identities: { reader: { kind: 'gcp', from: 'aws-token', audience: `${POOL}/aws-token`, expect: expected } },
  },
  kubernetes: {
    identities: {
      reader: {
        kind: 'gcp',
        from: 'kubernetes-token',
        audience: `${POOL}/cluster`,
        tokenFile: '/var/run/secrets/token',
        serviceAccount: SA,
      },
    },
  },
  reverse: {
    identities: {
      reader: { kind: 'gcp', from: 'metadata' },
      writer: { kind: 'aws', roleArn: ROLE, google: 'reader', audience: 'https://isthmus/aws/$(id)`id`' },
    },
  },
  chained: {
    identities: {
      reader: { kind: 'gcp', audience: `${POOL}/isthmus`, expect: expected },
      writer: { kind: 'aws', roleArn: ROLE, externalId: 'ext-1', sessionTags: { team: 'data' } },
    },
    prefix: `it's "$(id)" \`id\` \${x} %{y} \\`,
  },
  bigquery: {
    identities: { reader: { kind: 'gcp', audience: `${POOL}/isthmus`, expect: expected } },
    source: {
      use: 'bigquery',
      with: { identity: 'reader', project: 'acme-data', table: 'sales.orders', staging: { bucket: 'acme-staging' } },
    },
  },
};

export function setupFor(name: string) {
  const { identities, prefix = '', sink = {}, source } = PIPELINES[name] ?? { identities: {} };
  const pipeline = {
    name,
    identities,
    source: source ?? { use: 'gcs', with: { bucket: 'acme-exports', prefix, identity: 'reader' } },
    sink: {
      use: 's3',
      with: {
        bucket: 'acme-lake',
        prefix: prefix && 'raw/',
        region: 'eu-west-1',
        ...sink,
        ...(identities.writer && { identity: 'writer' }),
      },
    },
  };
  const text = JSON.stringify(pipeline).replaceAll('${', () => '$${');
  return setupOf([parsePipelineText(text, 'p.yaml', { plugins, environment: {} })], { place: place(name) });
}

/** A pipeline that differs from others in its identities, and in the bucket that is named like it. */
export const pipelineOf = (name: string, identities: object, prefix = '') =>
  parsePipelineText(
    JSON.stringify({
      name,
      identities,
      source: { use: 'gcs', with: { bucket: `acme-${name}`, prefix, identity: 'reader' } },
      sink: { use: 's3', with: { bucket: 'acme-lake' } },
    }),
    'p.yaml',
    { plugins, environment: {} },
  );

export const grantsOf = ({ policies }: RoleSetup) => policies.flatMap(({ grants }) => grants);

/** EKS is where a pod's own token is. */
export const place = (name: string): AwsPlace => (name === 'kubernetes' ? 'eks-irsa' : 'lambda');

/** All that is made for a pipeline, by what an administrator runs. */
export function made(name: string): { terraform: string[]; shell: string[] } {
  const setup = setupFor(name);
  const accounts = accountsOf(setup);
  const some = (texts: readonly (string | undefined)[]): string[] => texts.filter((one) => one !== undefined);
  return {
    terraform: some([googleTerraform(setup), ...accounts.map((account) => awsTerraform(setup, account))]),
    shell: some([googleScript(setup), ...accounts.map((account) => awsScript(setup, account))]),
  };
}
