import type { CompletedPart } from '@aws-sdk/client-s3';
import { BrokerError, combineCrc32c, EMPTY_CRC32C, type Item, type Logger } from '../../core/api/index.ts';
import type { S3 } from './client.ts';
import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { objectFields } from './headers.ts';
import { statusOf } from './lookup.ts';
import { abortUploads } from './tidy.ts';

/** How long tidying up after a failed upload may take; the run's own signal may have fired by then. */
const ABORT_MS = 15_000;
/** S3 refuses requests of a clock that is far off; the SDK corrects for it, and another run's upload must stay. */
const OWN_SKEW_MS = 5000;

export interface Target {
  readonly Bucket: string;
  readonly Key: string;
  readonly ExpectedBucketOwner?: string;
}

export interface Part {
  readonly number: number;
  readonly etag: string;
  readonly crc32c: string;
  readonly size: number;
}

/** What an object must be when the answer to its write was lost. */
export interface Sent {
  readonly size: number;
  readonly crc32c: string;
}

export interface Completed {
  readonly checksum: string | undefined;
  readonly etag: string | undefined;
  readonly version: string | undefined;
  readonly size: number;
  /** What the bytes that were read add up to. */
  readonly crc32c: string;
}

export const sizeOf = (parts: readonly Part[]): number => parts.reduce((sum, { size }) => sum + size, 0);

/**
 * The requests of multipart uploads to one key. S3 verifies each part, and the whole at the end.
 *
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
 */
export class Uploads {
  readonly #s3: S3;
  readonly #config: S3Config;
  readonly target: Target;
  readonly #log: Logger;
  /** What was put together, once all of it was sent: if the answer is lost, this is what must be there. */
  sent: Sent | undefined;

  constructor(s3: S3, config: S3Config, target: Target, log: Logger) {
    this.#log = log;
    this.#s3 = s3;
    this.#config = config;
    this.target = target;
  }

  async create(item: Item, signal: AbortSignal): Promise<string> {
    const { sdk, client } = this.#s3;
    const since = Date.now();
    const command = new sdk.CreateMultipartUploadCommand({
      ...this.target,
      ...objectFields(item, this.#config),
      ChecksumAlgorithm: 'CRC32C',
      ChecksumType: 'FULL_OBJECT',
    });
    const created = await client.send(command, { abortSignal: signal }).catch(async (error: unknown) => {
      // Refused is what has a status below 500; of anything else nobody knows whether it was begun.
      if ((statusOf(error) ?? 500) >= 500) await this.#abortOthers(since, undefined, AbortSignal.timeout(ABORT_MS));
      throw error;
    });
    const uploadId = created.UploadId ?? '';
    // The answer to an earlier try was lost: that may have begun another upload.
    if ((created.$metadata.attempts ?? 1) > 1) await this.#abortOthers(since, uploadId, signal);
    return uploadId;
  }

  async #abortOthers(since: number, except: string | undefined, signal: AbortSignal): Promise<void> {
    const key = this.target.Key.slice(this.#config.prefix.length);
    await abortUploads(this.#s3, this.#config, key, { since, signal, except, skewMs: OWN_SKEW_MS }).catch(
      (error: unknown) => {
        const { message, hint } = s3Failure(
          error,
          'look for an upload that was begun twice',
          's3:ListBucketMultipartUploads',
          this.#config,
        );
        this.#log.warn('an upload may have been begun twice', { key, message, hint });
      },
    );
  }

  async part(uploadId: string, number: number, body: Buffer, crc32c: string, signal: AbortSignal): Promise<Part> {
    const { sdk, client } = this.#s3;
    const answer = await client.send(
      new sdk.UploadPartCommand({
        ...this.target,
        UploadId: uploadId,
        PartNumber: number,
        Body: body,
        ContentLength: body.length,
        ChecksumCRC32C: crc32c,
      }),
      { abortSignal: signal },
    );
    return { number, etag: answer.ETag ?? '', crc32c, size: body.length };
  }

  async complete(
    uploadId: string,
    item: Item,
    parts: readonly Part[],
    conditions: object,
    signal: AbortSignal,
  ): Promise<Completed> {
    const { sdk, client } = this.#s3;
    const size = sizeOf(parts);
    const crc32c = parts.reduce((sum, part) => combineCrc32c(sum, part.crc32c, part.size), EMPTY_CRC32C);
    const published = item.checksums?.crc32c;
    if (item.size !== undefined && size !== item.size)
      throw new BrokerError('truncated', `${item.id}: ${size} of ${item.size} bytes`);
    if (published !== undefined && crc32c !== published) {
      throw new BrokerError(
        'checksum_mismatch',
        `${item.id}: read CRC32C ${crc32c}, the source publishes ${published}`,
      );
    }
    this.sent = { size, crc32c };
    const answer = await client.send(
      new sdk.CompleteMultipartUploadCommand({
        ...this.target,
        ...conditions,
        UploadId: uploadId,
        ChecksumType: 'FULL_OBJECT',
        ChecksumCRC32C: published ?? crc32c,
        MpuObjectSize: size,
        MultipartUpload: {
          Parts: parts.map(
            ({ number, etag, crc32c: sum }): CompletedPart => ({ PartNumber: number, ETag: etag, ChecksumCRC32C: sum }),
          ),
        },
      }),
      { abortSignal: signal },
    );
    return { checksum: answer.ChecksumCRC32C, etag: answer.ETag, version: answer.VersionId, size, crc32c };
  }

  /** Waits for it. What S3 will not abort is told to the log: the failure that led here is the one to report. */
  async abort(uploadId: string): Promise<void> {
    const { sdk, client } = this.#s3;
    const { Bucket, Key } = this.target;
    const signal = AbortSignal.timeout(ABORT_MS);
    const send = async (): Promise<void> => {
      await client.send(new sdk.AbortMultipartUploadCommand({ ...this.target, UploadId: uploadId }), {
        abortSignal: signal,
      });
    };
    const again = async (error: unknown): Promise<void> => {
      if ((error as Error).name !== 'NoSuchUpload') await send();
    };
    await send()
      .catch(again)
      .catch((error: unknown) => {
        if ((error as Error).name === 'NoSuchUpload') return;
        const failure = s3Failure(
          error,
          `abort an upload to s3://${Bucket}/${Key}`,
          's3:AbortMultipartUpload',
          this.#config,
        );
        this.#log.warn('an upload was left behind', {
          message: failure.message,
          hint: 'Give the bucket a lifecycle rule that aborts incomplete multipart uploads.',
        });
      });
  }
}
