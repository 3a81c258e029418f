import { randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { lambda } from '../../config/main-lambda.ts';
import { plugins } from '../../config/plugins.ts';
import type { JsonValue } from '../../core/api/index.ts';
import type { LambdaHandler } from '../../core/runtime/lambda/handler.ts';
import type { GcsBucket } from '../cloud/gcs-objects.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from '../cloud/local-cloud.ts';
import type { S3Bucket } from '../cloud/s3-objects.ts';

export const PUSH_AUDIENCE = 'https://function.lambda-url.eu-west-1.on.aws/';
export const PUSHER = 'pusher@acme.iam.gserviceaccount.com';
export const FUNCTION_ARN = 'arn:aws:lambda:eu-west-1:111122223333:function:isthmus-exports';

/** The reference pipeline, with state that lasts. */
export const pipelineData = (more: Readonly<Record<string, JsonValue>> = {}): JsonValue => ({
  name: 'exports',
  identities: { reader: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } },
  source: { use: 'gcs', with: { bucket: 'exports', prefix: '2026/', identity: 'reader' } },
  // Small parts, so that objects of some MiB are uploaded in several.
  sink: { use: 's3', with: { bucket: 'lake', prefix: 'raw/', region: 'eu-west-1', partSize: '8MiB' } },
  state: { use: 's3', with: { bucket: 'state', region: 'eu-west-1' } },
  push: { audience: PUSH_AUDIENCE, serviceAccount: PUSHER },
  ...more,
});

export interface TestFunction extends AsyncDisposable {
  readonly cloud: LocalCloud;
  readonly source: GcsBucket;
  readonly sink: S3Bucket;
  readonly state: S3Bucket;
  /** What was logged, parsed. */
  readonly lines: Record<string, unknown>[];
  readonly handler: LambdaHandler;
  /** @param leftMs until the deadline. */
  invoke(event: unknown, leftMs?: number): Promise<Record<string, unknown>>;
}

/** The handler as `package` makes it, in this process, against the local cloud. */
export async function testFunction(
  data: JsonValue = pipelineData(),
  environment: Readonly<Record<string, string>> = {},
): Promise<TestFunction> {
  const cloud = await localCloud();
  cloud.gcs.bucket('exports', [LOCAL_SERVICE_ACCOUNT]);
  for (const name of ['lake', 'state']) cloud.s3.bucket(name);
  return { ...functionOn(cloud, data, environment), [Symbol.asyncDispose]: () => cloud[Symbol.asyncDispose]() };
}

/** One more function, or the same in another process, on a cloud that is there. */
export function functionOn(
  cloud: LocalCloud,
  data: JsonValue = pipelineData(),
  environment: Readonly<Record<string, string>> = {},
): Omit<TestFunction, typeof Symbol.asyncDispose> {
  const source = cloud.gcs.buckets.get('exports') as GcsBucket;
  const sink = cloud.s3.buckets.get('lake') as S3Bucket;
  const state = cloud.s3.buckets.get('state') as S3Bucket;
  const lines: Record<string, unknown>[] = [];
  const handler = lambda(
    { data, plugins, url: pathToFileURL('/var/task/index.mjs').href },
    {
      environment: { ...cloud.environment, ...environment },
      write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>),
    },
  );
  return {
    cloud,
    source,
    sink,
    state,
    lines,
    handler,
    async invoke(event, leftMs = 60_000) {
      const deadline = Date.now() + leftMs;
      const context = {
        awsRequestId: randomUUID(),
        invokedFunctionArn: FUNCTION_ARN,
        getRemainingTimeInMillis: () => deadline - Date.now(),
      };
      return (await handler(event, context)) as Record<string, unknown>;
    },
  };
}

/** A notification of Cloud Storage, as Pub/Sub pushes it. */
export const pushBody = (name: string, generation: string, eventType = 'OBJECT_FINALIZE', bucket = 'exports') => ({
  message: {
    attributes: {
      notificationConfig: `projects/_/buckets/${bucket}/notificationConfigs/3`,
      eventType,
      payloadFormat: 'JSON_API_V1',
      bucketId: bucket,
      objectId: name,
      objectGeneration: generation,
      eventTime: new Date().toISOString(),
    },
    data: Buffer.from(JSON.stringify({ kind: 'storage#object', name })).toString('base64'),
    messageId: '2070443601311540',
    publishTime: new Date().toISOString(),
  },
  subscription: 'projects/acme/subscriptions/exports',
});

/** As a Function URL hands it over. */
export const urlEvent = (body: unknown, authorization?: string, method = 'POST') => ({
  version: '2.0',
  routeKey: '$default',
  rawPath: '/',
  rawQueryString: '',
  headers: { 'content-type': 'application/json', ...(authorization === undefined ? {} : { authorization }) },
  requestContext: { http: { method, path: '/', protocol: 'HTTP/1.1', sourceIp: '203.0.113.1' }, requestId: 'r' },
  body: typeof body === 'string' ? body : JSON.stringify(body),
  isBase64Encoded: false,
});

export const pushToken = (cloud: LocalCloud, claims: Readonly<Record<string, unknown>> = {}, lifetime = 3600): string =>
  `Bearer ${cloud.google.token({ aud: PUSH_AUDIENCE, email: PUSHER, email_verified: true, sub: '1', azp: '1', ...claims }, lifetime)}`;

export const sqsEvent = (bodies: readonly unknown[], group?: string) => ({
  Records: bodies.map((body, index) => ({
    messageId: `m${index}`,
    receiptHandle: 'x',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    attributes: { ApproximateReceiveCount: '1', ...(group === undefined ? {} : { MessageGroupId: group }) },
    messageAttributes: {},
    md5OfBody: '',
    eventSource: 'aws:sqs',
    eventSourceARN: 'arn:aws:sqs:eu-west-1:111122223333:q',
    awsRegion: 'eu-west-1',
  })),
});
