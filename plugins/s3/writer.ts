import {
  BrokerError,
  type Content,
  type Expected,
  type Item,
  type Logger,
  type StoredObject,
  type WriteOptions,
  type Written,
} from '../../core/api/index.ts';
import type { S3 } from './client.ts';
import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { objectFields, s3Losses } from './headers.ts';
import { PartUpload } from './multipart.ts';
import { md5OfEtag } from './page.ts';
import { fill, PartReader } from './parts.ts';
import { type Completed, type Sent, type Target, Uploads } from './uploads.ts';

export interface WriterOptions {
  readonly config: S3Config;
  readonly log: Logger;
  readonly connect: () => Promise<S3>;
  readonly stat: (key: string, signal: AbortSignal) => Promise<StoredObject | undefined>;
}

/** After these it is not known whether S3 has carried the write out. */
const LOST: ReadonlySet<string> = new Set(['conflict', 'unavailable', 'network', 'timeout']);

/** Writes one object: a single PUT up to the part size, a multipart upload above it or when the size is unknown. */
export class S3Writer {
  readonly #options: WriterOptions;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  async write(item: Item, content: Content, options: WriteOptions): Promise<Written> {
    const { config, connect } = this.#options;
    const s3 = await connect();
    const target = this.#target(item.key);
    const conditions = config.conditional ? conditionsOf(options.expected) : {};
    const uploads = new Uploads(s3, config, target, this.#options.log);
    try {
      return this.#proved(item, await this.#send(s3, target, item, content, conditions, options, uploads));
    } catch (thrown) {
      const error = s3Failure(thrown, `write s3://${target.Bucket}/${target.Key}`, 's3:PutObject', config);
      return await this.#alreadyThere(item, error, uploads.sent, options.signal);
    }
  }

  #target(key: string): Target {
    const { bucket, prefix, expectedBucketOwner } = this.#options.config;
    return {
      Bucket: bucket,
      Key: prefix + key,
      ...(expectedBucketOwner === undefined ? {} : { ExpectedBucketOwner: expectedBucketOwner }),
    };
  }

  async #send(
    s3: S3,
    target: Target,
    item: Item,
    content: Content,
    conditions: object,
    options: WriteOptions,
    uploads: Uploads,
  ): Promise<Completed> {
    const { config } = this.#options;
    const { partSize } = config;
    const upload = new PartUpload(s3, config, uploads);
    if (content.size !== undefined && content.size > partSize) return upload.run(item, content, conditions, options);
    await upload.end(options.unfinished?.left);
    // What fits into one part is one PUT, also when that is only known after reading it.
    using lease = await options.memory.lease(content.size ?? partSize, options.signal);
    const stream = await content.open();
    const put = (body: Buffer): Promise<Completed> => {
      uploads.sent = { size: body.length, crc32c: stream.crc32c() };
      return this.#put(s3, target, item, body, uploads.sent, conditions, options.signal);
    };
    if (content.size !== undefined) {
      return await put(lease.buffer.subarray(0, await fill(lease.buffer, stream, options.signal)));
    }
    await using reader = new PartReader(stream);
    const body = await reader.fill(lease.buffer);
    if (reader.ended) return await put(body);
    return await upload.run(item, content, conditions, options, { reader, first: { body, lease } });
  }

  async #put(
    s3: S3,
    target: Target,
    item: Item,
    body: Buffer,
    { crc32c }: Sent,
    conditions: object,
    signal: AbortSignal,
  ): Promise<Completed> {
    const answer = await s3.client.send(
      new s3.sdk.PutObjectCommand({
        ...target,
        ...objectFields(item, this.#options.config),
        ...conditions,
        Body: body,
        ContentLength: body.length,
        // What the source published, so that S3 itself proves the copy.
        ChecksumCRC32C: item.checksums?.crc32c ?? crc32c,
      }),
      { abortSignal: signal },
    );
    return { checksum: answer.ChecksumCRC32C, etag: answer.ETag, version: answer.VersionId, size: body.length, crc32c };
  }

  /** Says what the store confirmed, and fails when that is no proof. */
  #proved(item: Item, { checksum, etag, version, size, crc32c }: Completed): Written {
    const { config } = this.#options;
    const md5 = md5OfEtag(etag);
    const byMd5 = md5 !== undefined && md5 === item.checksums?.md5;
    const location = `s3://${config.bucket}/${config.prefix}${item.key}`;
    if (checksum !== undefined && checksum !== crc32c) {
      throw new BrokerError(
        'unverifiable',
        `${location}: the store confirms CRC32C ${checksum}, the bytes have ${crc32c}`,
      );
    }
    if (checksum === undefined && !byMd5 && config.proof === 'checksum') {
      throw new BrokerError('unverifiable', `${location}: the store confirmed no checksum`);
    }
    const notes = s3Losses(item, config);
    if (checksum === undefined && !byMd5) notes.push('proved by size only');
    return {
      location,
      size,
      checksums: { ...(checksum === undefined ? {} : { crc32c: checksum }), ...(byMd5 ? { md5 } : {}) },
      ...(version === undefined ? {} : { version }),
      notes,
    };
  }

  /**
   * A refused condition, or an upload that S3 no longer knows, may be our own write whose answer was lost: if what is
   * there has the very checksum, it is done.
   */
  async #alreadyThere(item: Item, error: BrokerError, sent: Sent | undefined, signal: AbortSignal): Promise<Written> {
    const lost = LOST.has(error.code) || (error.code === 'write_conflict' && error.message.includes('NoSuchUpload'));
    if (!lost || sent === undefined || signal.aborted) throw error;
    // What failed is what is to be told, not that nobody could look.
    const stored = await this.#options.stat(item.key, signal).catch(() => undefined);
    if (stored?.checksums?.crc32c !== sent.crc32c || stored.size !== sent.size) throw error;
    const { bucket, prefix } = this.#options.config;
    return { location: `s3://${bucket}/${prefix}${item.key}`, size: sent.size, checksums: { crc32c: sent.crc32c } };
  }
}

function conditionsOf(expected: Expected): { IfNoneMatch?: string; IfMatch?: string } {
  if (expected === 'absent') return { IfNoneMatch: '*' };
  return expected?.revision === undefined ? {} : { IfMatch: expected.revision };
}
