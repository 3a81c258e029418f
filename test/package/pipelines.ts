/** Pipelines that are packaged in tests, by what is special about them. */
const reader = `  reader:
    kind: gcp
    audience: //iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/aws-prod/providers/isthmus
    serviceAccount: exports-reader@acme.iam.gserviceaccount.com
    expect: { awsAccountId: "111122223333", roleName: exports }`;

export const PIPELINES: Readonly<Record<string, string>> = {
  plain: `name: nightly
identities:
${reader}
source: { use: gcs, with: { bucket: exports, prefix: 2026/, identity: reader } }
sink: { use: s3, with: { bucket: lake, prefix: raw/, region: eu-west-1 } }
`,
  full: `name: nightly
identities:
${reader}
source: { use: gcs, with: { bucket: exports, prefix: 2026/, identity: reader } }
sink:
  use: s3
  with:
    bucket: "\${LAKE:-lake}"
    prefix: "raw/*/"
    region: eu-west-1
    encryption: aws:kms
    kmsKeyId: arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555
    tags: { team: data }
    partSize: 5MiB
state: { use: s3, with: { bucket: state, prefix: isthmus/, region: eu-west-1 } }
concurrency: 1
push:
  audience: "\${PUSH_AUDIENCE}"
  serviceAccount: pusher@acme.iam.gserviceaccount.com
deploy:
  schedule: cron(0 3 ? * MON-FRI *)
  continue: self
  timeout: 5m
  memorySize: 512
  architecture: x86_64
  logRetentionDays: 90
  silence: 73h
  reservedConcurrency: 5
`,
  waiting: `name: orders
identities:
${reader}
source:
  use: bigquery
  with: { identity: reader, project: acme-data, table: sales.orders, staging: { bucket: acme-staging } }
sink: { use: s3, with: { bucket: lake, region: eu-west-1 } }
state: { use: s3, with: { bucket: state, region: eu-west-1 } }
deploy: { schedule: rate(1 day) }
`,
  'aws only': `name: files
source: { use: memory, with: { items: { a: "1" } } }
sink: { use: s3, with: { bucket: lake, region: eu-west-1, encryption: "aws:kms" } }
deploy: { schedule: rate(6 hours) }
`,
};

export const VARIABLES = { PUSH_AUDIENCE: 'https://push.example/' };
