import type { S3Client } from '@aws-sdk/client-s3';
import { awsSdkCredentials, BrokerError, type PluginContext } from '../../core/api/index.ts';
import type { S3Config } from './config.ts';

type Sdk = typeof import('@aws-sdk/client-s3');

/** The SDK with a client, for what is rare; loaded at first use. What carries data goes without it (`rest.ts`). */
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

/** @throws BrokerError `invalid_config` when neither the options nor the process name one. */
export async function regionOf({ region }: S3Place, { credentials }: PluginContext): Promise<string> {
  const found = region ?? (await credentials.awsRegion());
  if (found !== undefined) return found;
  throw new BrokerError('invalid_config', 'the region of the bucket is not known', {
    hint: 'Set region on the sink, or AWS_REGION.',
  });
}

export async function connectS3(config: S3Place, context: PluginContext): Promise<S3> {
  const region = await regionOf(config, context);
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
export const EXPIRED: ReadonlySet<string> = new Set(['ExpiredToken', 'ExpiredTokenException']);
