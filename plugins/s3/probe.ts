import { ownerOf, type S3 } from './client.ts';
import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { objectFields } from './headers.ts';
import { statusOf } from './lookup.ts';

/** The key of the probe; no object of this name ever exists. */
const PROBE = '.isthmus-write-probe';

/**
 * Proves that the sink can write, and leaves nothing: a multipart upload is begun with all the options that a real one
 * has (encryption, tags, storage class), and aborted. No reader can ever see it.
 */
export async function probeWrite(config: S3Config, connect: () => Promise<S3>, signal: AbortSignal): Promise<string> {
  const { sdk, client } = await connect();
  const { bucket, prefix, expectedBucketOwner } = config;
  const target = {
    Bucket: bucket,
    Key: prefix + PROBE,
    ...(expectedBucketOwner === undefined ? {} : { ExpectedBucketOwner: expectedBucketOwner }),
  };
  const place = `s3://${bucket}/${prefix}${PROBE}`;
  const item = { id: PROBE, key: PROBE, ref: null };
  const begun = await client
    .send(
      new sdk.CreateMultipartUploadCommand({
        ...target,
        ...objectFields(item, config),
        ChecksumAlgorithm: 'CRC32C',
        ChecksumType: 'FULL_OBJECT',
      }),
      { abortSignal: signal },
    )
    .catch((error: unknown) => {
      throw s3Failure(error, `begin to write ${place}`, 's3:PutObject', config);
    });
  await client
    .send(new sdk.AbortMultipartUploadCommand({ ...target, UploadId: begun.UploadId ?? '' }))
    .catch((error: unknown) => {
      throw s3Failure(error, `abort the upload to ${place}`, 's3:AbortMultipartUpload', config);
    });
  return `an upload to s3://${bucket}/${prefix} was begun and aborted; nothing was left`;
}

/** Proves that the sink may delete: what is not there is deleted under a condition that nothing meets. */
export async function probeDelete(config: S3Config, connect: () => Promise<S3>, signal: AbortSignal): Promise<string> {
  const { sdk, client } = await connect();
  const { bucket, prefix } = config;
  const Key = prefix + PROBE;
  const command = new sdk.DeleteObjectCommand({ Bucket: bucket, Key, ...ownerOf(config), IfMatch: '"none"' });
  await client.send(command, { abortSignal: signal }).catch((error: unknown) => {
    if ([404, 412].includes(statusOf(error) ?? 0) && (error as Error).name !== 'NoSuchBucket') return;
    throw s3Failure(error, `delete s3://${bucket}/${Key}`, 's3:DeleteObject', config);
  });
  return `objects below s3://${bucket}/${prefix} may be deleted`;
}
