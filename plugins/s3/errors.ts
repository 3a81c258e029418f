import {
  asBrokerError,
  BrokerError,
  type ErrorCode,
  NETWORK_ERRORS,
  parseRetryAfter,
  safeText,
  systemErrorCode,
} from '../../core/api/index.ts';
import type { S3Place } from './client.ts';
import { S3Error } from './rest.ts';

/** What an answer of S3 shows of itself, however it came. */
interface Shown {
  readonly name: string;
  readonly message: string;
  readonly status: number | undefined;
  readonly region: string | undefined;
  readonly retryAfter: string | undefined;
}

function read(error: unknown): Shown {
  const { name = 'Error', message = '' } = error as Partial<Error>;
  if (error instanceof S3Error) {
    const { status, region, retryAfter } = error;
    return { name, message, status, region, retryAfter };
  }
  // Of an error of the SDK; everything else in it stays there.
  const { $metadata, $response, Region } = error as {
    $metadata?: { httpStatusCode?: number };
    $response?: { headers?: Record<string, string> };
    Region?: string;
  };
  const headers = $response?.headers ?? {};
  return {
    name,
    message,
    status: $metadata?.httpStatusCode,
    region: Region ?? headers['x-amz-bucket-region'],
    retryAfter: headers['retry-after'],
  };
}

const BY_NAME: Readonly<Record<string, ErrorCode>> = {
  SlowDown: 'throttled',
  'KMS.ThrottlingException': 'throttled',
  ThrottlingException: 'throttled',
  RequestTimeout: 'timeout',
  TimeoutError: 'timeout',
  BadDigest: 'checksum_mismatch',
  XAmzContentSHA256Mismatch: 'checksum_mismatch',
  IncompleteBody: 'network',
  NoSuchBucket: 'bucket_missing',
  PreconditionFailed: 'conflict',
  // What If-Match answers when the object is gone.
  NoSuchKey: 'conflict',
  ConditionalRequestConflict: 'write_conflict',
  NoSuchUpload: 'write_conflict',
  ExpiredToken: 'unauthenticated',
  InvalidAccessKeyId: 'unauthenticated',
  InvalidToken: 'unauthenticated',
  SignatureDoesNotMatch: 'unauthenticated',
  RequestTimeTooSkewed: 'unauthenticated',
  XAmzContentChecksumMismatch: 'checksum_mismatch',
  KeyTooLongError: 'key_refused',
  XMinioInvalidObjectName: 'key_refused',
  XMinioInvalidResourceName: 'key_refused',
  MetadataTooLarge: 'metadata_refused',
  EntityTooLarge: 'too_large',
};

const WRONG_REGION = new Set([
  'PermanentRedirect',
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
]);

/**
 * An error of S3, or of its SDK, as one of ours.
 *
 * @param doing for the message: `write s3://bucket/key`.
 * @param permission the IAM action that a 403 is about.
 */
export function s3Failure(error: unknown, doing: string, permission: string, config: S3Place): BrokerError {
  if (error instanceof BrokerError) return error;
  const { name, message, status, region, retryAfter } = read(error);
  if (name === 'AbortError') return new BrokerError('stopped', 'the run was stopped');
  const retryAfterMs = parseRetryAfter(retryAfter, Date.now());
  const what = `${doing}: ${status === undefined ? '' : `HTTP ${status} `}${name}: ${safeText(message)}`;
  const fail = (code: ErrorCode, hint?: string): BrokerError =>
    new BrokerError(code, what, {
      ...(hint === undefined ? {} : { hint }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });

  if (WRONG_REGION.has(name) || status === 301) {
    return fail('wrong_region', region === undefined ? undefined : `Set region: ${region}.`);
  }
  const code = BY_NAME[name];
  if (code === 'bucket_missing') return fail(code, `Correct bucket: ${config.bucket}, or create it.`);
  if (name === 'RequestTimeTooSkewed')
    return fail('unauthenticated', 'Set the clock of this machine: it is wrong by more than 15 minutes.');
  if (code !== undefined) return fail(code);
  if (name.startsWith('KMS.'))
    return fail(
      'permission_denied',
      'Look at the KMS key that the message names: it must be enabled, and of the region of the bucket.',
    );
  if (status === 403) return fail('permission_denied', deniedHint(message, permission, config));
  if (status !== undefined && (status >= 500 || status === 408)) return fail('unavailable');
  if (status === 429) return fail('throttled');
  const system = systemErrorCode(error);
  const host =
    config.endpoint === undefined ? `s3.${config.region ?? 'REGION'}.amazonaws.com` : new URL(config.endpoint).host;
  if (system !== undefined && NETWORK_ERRORS.has(system))
    return new BrokerError('network', `${doing}: ${host}: ${system}`);
  if (system === 'EMFILE' || system === 'ENFILE') return new BrokerError('machine_limit', `${doing}: ${system}`);
  if (name === 'CredentialsProviderError') return fail('no_credentials');
  // An answer that says 200 and cannot be read: nobody knows what was done.
  if (status === 200) return fail('unavailable');
  if (status !== undefined) return fail('invalid_request');
  const other = asBrokerError(error);
  return other.code === 'internal' ? fail('internal') : other;
}

function deniedHint(message: string, permission: string, config: S3Place): string {
  if (/kms/i.test(message))
    return 'Allow kms:GenerateDataKey and kms:Decrypt on the key, in its key policy and to the role.';
  if (/object lock|legal hold|retention|WORM/i.test(message))
    return 'The object is locked: wait until its retention ends, or write under another key.';
  if (/explicit deny/i.test(message))
    return `A policy forbids it. If it demands encryption, set encryption and kmsKeyId on the sink; if not, let it allow ${permission}.`;
  const owner =
    config.expectedBucketOwner === undefined
      ? ''
      : `, and check that account ${config.expectedBucketOwner} owns the bucket`;
  const resource = permission === 's3:ListBucket' ? config.bucket : `${config.bucket}/${config.prefix}*`;
  return `Allow ${permission} on arn:aws:s3:::${resource} to the role, in IAM and in the bucket policy${owner}.`;
}
