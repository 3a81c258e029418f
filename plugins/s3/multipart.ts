import type { CompletedPart } from '@aws-sdk/client-s3';
import {
  BrokerError,
  type Content,
  combineCrc32c,
  EMPTY_CRC32C,
  type Item,
  type MemoryLease,
  type WriteOptions,
} from '../../core/api/index.ts';
import type { S3 } from './client.ts';
import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { objectFields } from './headers.ts';
import { fill, growingPartSize, PartReader, partRanges, partSizeOf } from './parts.ts';

/** Loaded at first use: what is read in ranges needs none of it. */
const checksumOf = async (body: Buffer): Promise<string> => (await import('./crc32c.ts')).crc32cOf(body);

/** A stream of which the first part may have been read already, with the memory that it holds. */
export interface Begun {
  readonly reader: PartReader;
  readonly first?: { readonly body: Buffer; readonly lease: MemoryLease };
}

/** How long tidying up after a failed upload may take; the run's own signal may have fired by then. */
const ABORT_MS = 15_000;

export interface Target {
  readonly Bucket: string;
  readonly Key: string;
  readonly ExpectedBucketOwner?: string;
}

interface Part {
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

/**
 * One multipart upload: parts in parallel where the content can be read in ranges, each with its CRC32C, and the
 * whole object's at the end. S3 verifies all of them. Aborted, and the abort waited for, whatever goes wrong.
 *
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
 */
export class PartUpload {
  readonly #s3: S3;
  readonly #config: S3Config;
  readonly #target: Target;
  /** What was put together, once all of it was sent: if the answer is lost, this is what must be there. */
  sent: Sent | undefined;

  constructor(s3: S3, config: S3Config, target: Target) {
    this.#s3 = s3;
    this.#config = config;
    this.#target = target;
  }

  async run(
    item: Item,
    content: Content,
    conditions: object,
    options: WriteOptions,
    begun?: Begun,
  ): Promise<Completed> {
    const { sdk, client } = this.#s3;
    // A part that fails ends the others.
    const failed = new AbortController();
    const signal = AbortSignal.any([options.signal, failed.signal]);
    await options.begins?.();
    const created = await client.send(
      new sdk.CreateMultipartUploadCommand({
        ...this.#target,
        ...objectFields(item, this.#config),
        ChecksumAlgorithm: 'CRC32C',
        ChecksumType: 'FULL_OBJECT',
      }),
      { abortSignal: signal },
    );
    const uploadId = created.UploadId ?? '';
    try {
      const parts = await this.#send(uploadId, item, content, { ...options, signal }, failed, begun);
      return await this.#complete(uploadId, item, parts, conditions, signal);
    } catch (error) {
      failed.abort();
      await this.#abort(uploadId);
      throw failed.signal.reason instanceof BrokerError ? failed.signal.reason : error;
    }
  }

  async #send(
    uploadId: string,
    item: Item,
    content: Content,
    options: WriteOptions,
    failed: AbortController,
    begun: Begun | undefined,
  ): Promise<Part[]> {
    if (begun !== undefined) return this.#sequential(uploadId, begun, undefined, options);
    if (!content.ranges || content.size === undefined) {
      await using reader = new PartReader(await content.open());
      return await this.#sequential(uploadId, { reader }, content.size, options);
    }
    const ranges = partRanges(content.size, partSizeOf(content.size, this.#config.partSize));
    const parts: Part[] = [];
    const worker = async (): Promise<void> => {
      for (const { number, start, end } of ranges) {
        using lease = await options.memory.lease(end - start, options.signal);
        const stream = await content.open({ start, end });
        const size = await fill(lease.buffer, stream, options.signal);
        const body = lease.buffer.subarray(0, size);
        parts.push(await this.#part(uploadId, number, body, stream.crc32c(), options.signal));
      }
    };
    const workers = Array.from({ length: this.#config.partConcurrency }, () =>
      worker().catch((error: unknown) => {
        failed.abort(s3Failure(error, `write ${item.id}`, 's3:PutObject', this.#config));
        throw error;
      }),
    );
    // All of them are waited for: none may still send when the upload is aborted.
    await Promise.allSettled(workers);
    await Promise.all(workers);
    return parts.sort((a, b) => a.number - b.number);
  }

  /** For content that can only be read from its beginning. */
  async #sequential(
    uploadId: string,
    { reader, first }: Begun,
    size: number | undefined,
    options: WriteOptions,
  ): Promise<Part[]> {
    const parts: Part[] = [];
    const { memory, signal } = options;
    if (first !== undefined) {
      // Its memory is given back before the next is leased: nobody waits for memory while holding some.
      using _lease = first.lease;
      parts.push(await this.#part(uploadId, 1, first.body, await checksumOf(first.body), signal));
    }
    while (!reader.ended) {
      const number = parts.length + 1;
      const { partSize } = this.#config;
      const wanted = size === undefined ? growingPartSize(number, partSize, memory.total) : partSizeOf(size, partSize);
      using lease = await memory.lease(wanted, signal);
      const body = await reader.fill(lease.buffer);
      if (body.length === 0 && number > 1) break;
      parts.push(await this.#part(uploadId, number, body, await checksumOf(body), signal));
    }
    return parts;
  }

  async #part(uploadId: string, number: number, body: Buffer, crc32c: string, signal: AbortSignal): Promise<Part> {
    const { sdk, client } = this.#s3;
    const answer = await client.send(
      new sdk.UploadPartCommand({
        ...this.#target,
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

  async #complete(
    uploadId: string,
    item: Item,
    parts: readonly Part[],
    conditions: object,
    signal: AbortSignal,
  ): Promise<Completed> {
    const { sdk, client } = this.#s3;
    const size = parts.reduce((sum, part) => sum + part.size, 0);
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
        ...this.#target,
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

  async #abort(uploadId: string): Promise<void> {
    const { sdk, client } = this.#s3;
    const signal = AbortSignal.timeout(ABORT_MS);
    await client
      .send(new sdk.AbortMultipartUploadCommand({ ...this.#target, UploadId: uploadId }), { abortSignal: signal })
      // The failure that led here is the one to report; what is left is removed by the bucket's lifecycle rule.
      .catch(() => undefined);
  }
}
