import { Readable } from 'node:stream';
import type { ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { awsSdkCredentials, BrokerError, type PluginContext } from '../../core/api/index.ts';
import type { S3Config } from './config.ts';

type Sdk = typeof import('@aws-sdk/client-s3');

/** The SDK with a client, loaded at first use: validation and cold starts do not pay for it. */
export interface S3 {
  readonly sdk: Sdk;
  readonly client: S3Client;
}

/** `ExpectedBucketOwner` of every request, where the pipeline says it. */
export const ownerOf = ({ expectedBucketOwner }: S3Place): { ExpectedBucketOwner?: string } =>
  expectedBucketOwner === undefined ? {} : { ExpectedBucketOwner: expectedBucketOwner };

const MAX_SOCKETS = 256;
/** Until the answer begins, the sending of the body included: 8 MiB at 100 kB/s still pass. */
const REQUEST_MS = 120_000;
/** No byte in either direction, also in the middle of an answer. */
const IDLE_MS = 60_000;

/** What of the options says where a bucket is. */
export type S3Place = Pick<
  S3Config,
  'bucket' | 'prefix' | 'identity' | 'region' | 'endpoint' | 'forcePathStyle' | 'expectedBucketOwner'
>;

export async function connectS3(config: S3Place, context: PluginContext): Promise<S3> {
  const region = config.region ?? (await context.credentials.awsRegion());
  if (region === undefined) {
    throw new BrokerError('invalid_config', 'the region of the bucket is not known', {
      hint: 'Set region on the sink, or AWS_REGION.',
    });
  }
  const sdk = await import('@aws-sdk/client-s3');
  const endpoint = config.endpoint ?? context.endpoints.s3;
  const provider = context.credentials.aws(config.identity);
  const client = new sdk.S3Client({
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
    forcePathStyle: config.forcePathStyle ?? endpoint !== undefined,
    // Ours renews by itself; the SDK would keep what S3 has refused.
    credentials: Object.assign(awsSdkCredentials(provider), { memoized: true }),
    maxAttempts: 4,
    // We hand over the checksum that the source published; the SDK would add one of its own, in JavaScript.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: 5000,
      requestTimeout: REQUEST_MS,
      socketTimeout: IDLE_MS,
      // Without this the SDK only warns, and a stalled request hangs for ever.
      throwOnRequestTimeout: true,
      httpsAgent: { keepAlive: true, maxSockets: MAX_SOCKETS },
      httpAgent: { keepAlive: true, maxSockets: MAX_SOCKETS },
    },
  });
  // The body is proved by its CRC32C, which is signed; hashing it a second time with SHA-256 costs a CPU-second a GiB.
  client.middlewareStack.add(
    (next) => (args) => {
      const request = args.request as { headers: Record<string, string>; body?: unknown };
      if (request.body instanceof Uint8Array) request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
      return next(args);
    },
    { step: 'build', name: 'unsignedPayload' },
  );
  client.middlewareStack.add(
    (next) => async (args) => {
      try {
        return await next(args);
      } catch (error) {
        if (!EXPIRED.has((error as Error).name)) throw error;
        await provider.get({ fresh: true });
        return next(args);
      }
    },
    { step: 'initialize', name: 'renewCredentials' },
  );
  return { sdk, client };
}

/** What S3 calls credentials that have ended, or were ended, before their time. */
const EXPIRED: ReadonlySet<string> = new Set(['ExpiredToken', 'ExpiredTokenException']);

/** Hands the body of a successful answer to `read`, and only an empty one to the parser of the SDK. */
export function readBySelf(command: ListObjectsV2Command, read: (text: string) => void): void {
  command.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const response = result.response as { statusCode: number; body: unknown };
      if (response.statusCode !== 200) return result;
      const chunks: Uint8Array[] = [];
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) chunks.push(chunk);
      read(Buffer.concat(chunks).toString('utf8'));
      response.body = Readable.from([Buffer.from('<ListBucketResult></ListBucketResult>')]);
      return result;
    },
    // Within that of the SDK: what it reads is what this one leaves.
    { step: 'deserialize', priority: 'low', name: 'readBySelf' },
  );
}
