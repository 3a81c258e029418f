import { stringify } from 'yaml';
import { isGoogle, type Place } from './init-place.ts';

/** How a pool and a provider are called where nobody says. */
export const POOL = 'aws-prod';
export const PROVIDER = 'isthmus';

/** All that a pipeline of `init` is made of. */
export interface Answers {
  readonly name: string;
  readonly from: Place;
  readonly to: Place;
  /** Of the bucket in S3; undefined: that of the environment. */
  readonly region: string | undefined;
  /** Of the workload identity provider. */
  readonly provider: { readonly projectNumber: string; readonly pool: string; readonly provider: string } | undefined;
  readonly serviceAccount: string | undefined;
  /** Who runs it on AWS: tokens are asked for by nobody else. */
  readonly expect: { readonly awsAccountId: string; readonly roleName: string } | undefined;
  /** Where exports of BigQuery lie on their way. */
  readonly staging: string | undefined;
  /** `s3://bucket/prefix/`: where a paused run is remembered. */
  readonly state: Extract<Place, { bucket: string }> | undefined;
  /** For editors. */
  readonly schema: string;
  /** What only its owner knows, and is a placeholder. */
  readonly changes: readonly string[];
}

/** A value in one line, quoted where YAML would read something else. */
const value = (text: string): string => stringify(text, { lineWidth: 0 }).trimEnd();

/** A pipeline file with comments that say what to change, and where to read on. */
export function pipelineText(answers: Answers): string {
  const { name, schema } = answers;
  const parts = [
    `# yaml-language-server: $schema=${schema}`,
    `name: ${value(name)} # names the pipeline in reports and state`,
    '',
    ...identities(answers),
    `# Where items come from. All options: isthmus plugins ${answers.from.use}`,
    'source:',
    ...endpoint(answers.from, answers, 'source'),
    '',
    '# Where they go; what is there already and the same is not written again.',
    'sink:',
    ...endpoint(answers.to, answers, 'sink'),
    ...(answers.to.use === 'file' ? ['compare: modified # a folder keeps no checksums to compare with'] : []),
    '',
    ...state(answers),
    '# What else there is, each with its default or an example:',
    '# filter: { include: ["**.csv"], minAge: 1h }   # which items are carried',
    // Files that each run makes anew are named by their source, and are not compared.
    ...(answers.from.use === 'bigquery'
      ? []
      : [
          '# through: [{ use: gzip }]                      # what is done to them on the way',
          '# delete: { extras: true }                      # mirror: delete what the source has no more (guarded)',
        ]),
    '# concurrency: 8                                # default: more as long as that is faster',
    '# memory: 64MiB                                 # what all transfers together may buffer',
    '# deploy: { schedule: "rate(1 day)" }           # when the packaged function runs',
  ];
  return `${parts.join('\n')}\n`;
}

function identities(answers: Answers): readonly string[] {
  const { from, to, provider, serviceAccount, expect } = answers;
  if (!isGoogle(from) && !isGoogle(to)) return [];
  const {
    projectNumber,
    pool,
    provider: id,
  } = provider ?? { projectNumber: '123456789012', pool: POOL, provider: 'isthmus' };
  const audience = `//iam.googleapis.com/projects/${projectNumber}/locations/global/workloadIdentityPools/${pool}/providers/${id}`;
  const missing = provider === undefined ? ' # CHANGE the project number; then: isthmus auth setup' : '';
  return [
    '# Who to be in Google Cloud: the AWS role that runs this becomes it, without a key. See docs/keyless.md.',
    'identities:',
    '  google:',
    '    kind: gcp',
    `    audience: ${audience}${missing}`,
    serviceAccount === undefined
      ? '    # serviceAccount: reader@my-project.iam.gserviceaccount.com   # impersonated; without it the role itself is given access'
      : `    serviceAccount: ${value(serviceAccount)}`,
    expect === undefined
      ? '    # expect: { awsAccountId: "111122223333", roleName: my-role }   # nobody else asks for a token'
      : `    expect: { awsAccountId: "${expect.awsAccountId}", roleName: ${JSON.stringify(expect.roleName)} }`,
    '',
  ];
}

function endpoint(place: Place, answers: Answers, of: 'source' | 'sink'): readonly string[] {
  const lines = (use: string, options: readonly (string | undefined)[]): readonly string[] => [
    `  use: ${use}`,
    '  with:',
    ...options.filter((option) => option !== undefined).map((option) => `    ${option}`),
  ];
  switch (place.use) {
    case 'gcs':
      return lines('gcs', [`bucket: ${value(place.bucket)}`, prefixOf(place, of), 'identity: google']);
    case 's3':
      return lines('s3', [`bucket: ${value(place.bucket)}`, prefixOf(place, of), regionOf(answers)]);
    case 'bigquery': {
      const table = `${place.dataset}.${place.table}`;
      return lines('bigquery', [
        `project: ${value(place.project)}`,
        `table: ${value(table)}`,
        'format: parquet # or avro, csv, json',
        `staging: { bucket: ${value(answers.staging ?? 'my-staging-bucket')} }${answers.staging === undefined ? ' # CHANGE: a bucket in the location of the dataset' : ''}`,
        'identity: google',
      ]);
    }
    case 'http':
      return lines('http', ['urls:', `  - ${value(place.url)}`]);
    case 'file':
      return lines('file', [`path: ${value(place.path)}`]);
  }
}

const prefixOf = ({ prefix }: { readonly prefix: string }, of: 'source' | 'sink'): string =>
  prefix === ''
    ? `# prefix: 2026/   # ${of === 'source' ? 'only names that begin so; it is cut off' : 'put before every name'}`
    : `prefix: ${value(prefix)}`;

const regionOf = ({ region }: Answers): string =>
  region === undefined ? '# region: eu-west-1   # default: that of the environment' : `region: ${region}`;

function state({ state: place, region }: Answers): readonly string[] {
  if (place === undefined)
    return [
      '# Where a run that is paused is remembered, and the history; a function needs it for runs beyond 15 minutes.',
      '# state: { use: s3, with: { bucket: my-state, prefix: isthmus/ } }',
      '',
    ];
  return [
    '# Where a run that is paused is remembered, and the history.',
    'state:',
    ...endpoint(place, { region } as Answers, 'sink'),
    '',
  ];
}
