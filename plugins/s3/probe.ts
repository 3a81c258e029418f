import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { objectHeaders } from './headers.ts';
import { statusOf } from './lookup.ts';
import type { S3Rest } from './rest.ts';
import { textIn } from './xml.ts';

/** The key of the probe; no object of this name ever exists. */
const PROBE = '.isthmus-write-probe';

/**
 * Proves that the sink can write, and leaves nothing: a multipart upload is begun with all the options that a real one
 * has (encryption, tags, storage class), and aborted. No reader can ever see it.
 */
export async function probeWrite(
  config: S3Config,
  connect: () => Promise<S3Rest>,
  signal: AbortSignal,
): Promise<string> {
  const rest = await connect();
  const { bucket, prefix } = config;
  const key = prefix + PROBE;
  const place = `s3://${bucket}/${key}`;
  const item = { id: PROBE, key: PROBE, ref: null };
  const headers = {
    ...objectHeaders(item, config),
    'x-amz-checksum-algorithm': 'CRC32C',
    'x-amz-checksum-type': 'FULL_OBJECT',
  };
  const begun = await rest
    .text({ method: 'POST', key, query: { uploads: '' }, headers, signal })
    .catch((error: unknown) => {
      throw s3Failure(error, `begin to write ${place}`, 's3:PutObject', config);
    });
  const uploadId = textIn(begun.text, 'UploadId') ?? '';
  await rest.done({ method: 'DELETE', key, query: { uploadId }, signal }).catch((error: unknown) => {
    throw s3Failure(error, `abort the upload to ${place}`, 's3:AbortMultipartUpload', config);
  });
  return `an upload to s3://${bucket}/${prefix} was begun and aborted; nothing was left`;
}

/** Proves that the sink may delete: what is not there is deleted under a condition that nothing meets. */
export async function probeDelete(
  config: S3Config,
  connect: () => Promise<S3Rest>,
  signal: AbortSignal,
): Promise<string> {
  const { bucket, prefix } = config;
  const key = prefix + PROBE;
  const rest = await connect();
  await rest.done({ method: 'DELETE', key, headers: { 'if-match': '"none"' }, signal }).catch((error: unknown) => {
    if ([404, 412].includes(statusOf(error) ?? 0) && (error as Error).name !== 'NoSuchBucket') return;
    throw s3Failure(error, `delete s3://${bucket}/${key}`, 's3:DeleteObject', config);
  });
  return `objects below s3://${bucket}/${prefix} may be deleted`;
}
