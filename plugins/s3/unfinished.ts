import { BrokerError, type Item, z } from '../../core/api/index.ts';
import { ownerOf, type S3 } from './client.ts';
import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { MOST_PARTS, type Passage } from './parts.ts';
import type { Part } from './uploads.ts';

/** An upload that another process may go on with. Which parts there are, S3 knows. */
export interface LeftUpload {
  readonly uploadId: string;
  /** The id of the item: its very version. */
  readonly item: string;
  readonly partSize: number;
  /** Absent in records of an older release. */
  readonly passage?: Passage | undefined;
}

const schema = z.object({
  uploadId: z.string().min(1),
  item: z.string(),
  partSize: z.number().int().positive(),
  passage: z.enum(['streamed', 'buffered']).optional(),
});

/** @returns undefined for what was not left by this plugin. */
export const leftUpload = (left: unknown): LeftUpload | undefined => schema.safeParse(left).data;

/** Whether an upload is of this very version of an item, in parts of this size, or in as many as S3 takes. */
export const continues = (left: LeftUpload, { id, size = 0 }: Item, partSize: number | undefined): boolean =>
  left.item === id &&
  (partSize === undefined
    ? left.partSize >= SMALLEST_PART && size / left.partSize <= MOST_PARTS
    : left.partSize === partSize);

const SMALLEST_PART = 5 * 2 ** 20;

/**
 * The parts that S3 holds of an upload, in the size that they should have; others are sent again. S3 has verified each
 * that was sent with a checksum, and verifies the whole in any case.
 *
 * @returns undefined when S3 does not know the upload any more.
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html
 */
export async function finishedParts(
  { sdk, client }: S3,
  config: S3Config,
  key: string,
  uploadId: string,
  sizeOf: (number: number) => number,
  signal: AbortSignal,
): Promise<readonly Part[] | undefined> {
  const parts: Part[] = [];
  const target = { Bucket: config.bucket, Key: key, ...ownerOf(config) };
  let marker: string | undefined;
  try {
    do {
      const page = await client.send(
        new sdk.ListPartsCommand({ ...target, UploadId: uploadId, ...(marker && { PartNumberMarker: marker }) }),
        { abortSignal: signal },
      );
      for (const { PartNumber: number = 0, ETag: etag = '', ChecksumCRC32C: crc32c, Size: size } of page.Parts ?? [])
        if (size === sizeOf(number)) parts.push({ number, etag, crc32c, size });
      if (page.IsTruncated === true && page.NextPartNumberMarker === marker)
        throw new BrokerError('bad_response', `the parts of an upload to ${target.Bucket} are listed in a loop`);
      marker = page.IsTruncated === true ? page.NextPartNumberMarker : undefined;
    } while (marker !== undefined);
  } catch (error) {
    if ((error as Error).name === 'NoSuchUpload') return undefined;
    throw s3Failure(
      error,
      `list the parts of an upload to s3://${target.Bucket}/${target.Key}`,
      's3:ListMultipartUploadParts',
      config,
    );
  }
  return parts;
}
