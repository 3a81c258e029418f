import type { TidyOptions } from '../../core/api/index.ts';
import { ownerOf, type S3 } from './client.ts';
import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { decodedKey } from './lookup.ts';
import { leftUpload } from './unfinished.ts';

/** By how much the clock of a machine that died may have been ahead of that of S3. */
const SKEW_MS = 5 * 60_000;

export interface AbortOptions extends TidyOptions {
  /** One that stays. */
  readonly except?: string | undefined;
  /** How much younger than `since` the clocks may make an upload look, milliseconds. */
  readonly skewMs?: number;
}

/**
 * Aborts the uploads to exactly this key that were begun since a time: those that a killed process has left. An older
 * one is somebody else's, or was left by a run that nobody resumed; the bucket's lifecycle rule is for those.
 *
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
 */
export async function abortUploads(
  { sdk, client }: S3,
  config: S3Config,
  key: string,
  { signal, since, left, except, skewMs = SKEW_MS }: AbortOptions,
): Promise<void> {
  const { bucket, prefix } = config;
  const target = { Bucket: bucket, ...ownerOf(config) };
  const place = `s3://${bucket}/${prefix}${key}`;
  const abort = async (Key: string, UploadId: string): Promise<void> => {
    await client
      .send(new sdk.AbortMultipartUploadCommand({ ...target, Key, UploadId }), { abortSignal: signal })
      .catch((error: unknown) => {
        // Somebody was faster.
        if ((error as Error).name === 'NoSuchUpload') return;
        throw s3Failure(error, `abort an upload to ${place}`, 's3:AbortMultipartUpload', config);
      });
  };
  // One that is known by its id needs no search.
  const known = leftUpload(left);
  if (known !== undefined) return abort(prefix + key, known.uploadId);
  let marker: { KeyMarker?: string; UploadIdMarker?: string } | undefined = {};
  while (marker !== undefined) {
    const page: Awaited<ReturnType<typeof list>> = await list(marker);
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      const name = decodedKey(Key);
      if (
        name !== prefix + key ||
        UploadId === undefined ||
        UploadId === except ||
        (Initiated?.getTime() ?? 0) < since - skewMs
      )
        continue;
      await abort(name, UploadId);
    }
    const { IsTruncated, NextKeyMarker, NextUploadIdMarker } = page;
    // Sorted by key: beyond ours there is none of ours.
    const more = IsTruncated === true && decodedKey(NextKeyMarker) === prefix + key;
    marker = more
      ? { KeyMarker: prefix + key, ...(NextUploadIdMarker && { UploadIdMarker: NextUploadIdMarker }) }
      : undefined;
  }

  function list(from: object) {
    return client
      .send(new sdk.ListMultipartUploadsCommand({ ...target, Prefix: prefix + key, EncodingType: 'url', ...from }), {
        abortSignal: signal,
      })
      .catch((error: unknown) => {
        throw s3Failure(error, `list uploads to ${place}`, 's3:ListBucketMultipartUploads', config);
      });
  }
}
