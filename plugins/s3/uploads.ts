import {
  BrokerError,
  combineCrc32c,
  EMPTY_CRC32C,
  type Item,
  type Logger,
  type SentBody,
} from '../../core/api/index.ts';
import type { S3 } from './client.ts';
import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { objectHeaders } from './headers.ts';
import { statusOf } from './lookup.ts';
import type { S3Rest } from './rest.ts';
import { abortUploads } from './tidy.ts';
import { escaped, textIn } from './xml.ts';

/** How long tidying up after a failed upload may take; the run's own signal may have fired by then. */
const ABORT_MS = 15_000;
/** S3 refuses requests of a clock that is far off; ours corrects for it, and another run's upload must stay. */
const OWN_SKEW_MS = 5000;

export interface Part {
  readonly number: number;
  readonly etag: string;
  /** As S3 says it, or as it was sent; absent where neither is. */
  readonly crc32c: string | undefined;
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
  /** What the object must have: published by the source, or what its bytes add up to. */
  readonly crc32c: string;
}

export interface Connections {
  readonly rest: S3Rest;
  /** For what is rare. */
  readonly sdk: () => Promise<S3>;
}

export const sizeOf = (parts: readonly Part[]): number => parts.reduce((sum, { size }) => sum + size, 0);

/**
 * The requests of multipart uploads to one key. S3 verifies each part that comes with a checksum, and the whole at the
 * end.
 *
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
 */
export class Uploads {
  readonly connections: Connections;
  readonly #config: S3Config;
  /** Prefix included. */
  readonly key: string;
  readonly #log: Logger;
  /** What was put together, once all of it was sent: if the answer is lost, this is what must be there. */
  sent: Sent | undefined;

  constructor(connections: Connections, config: S3Config, key: string, log: Logger) {
    this.#log = log;
    this.connections = connections;
    this.#config = config;
    this.key = key;
  }

  async create(item: Item, signal: AbortSignal): Promise<string> {
    const since = Date.now();
    const headers = {
      ...objectHeaders(item, this.#config),
      'x-amz-checksum-algorithm': 'CRC32C',
      'x-amz-checksum-type': 'FULL_OBJECT',
    };
    const { rest } = this.connections;
    const begun = await rest
      .text({ method: 'POST', key: this.key, query: { uploads: '' }, headers, signal })
      .catch(async (error: unknown) => {
        // Refused is what has a status below 500; of anything else nobody knows whether it was begun.
        if ((statusOf(error) ?? 500) >= 500) await this.#abortOthers(since, undefined, AbortSignal.timeout(ABORT_MS));
        throw error;
      });
    const uploadId = textIn(begun.text, 'UploadId');
    if (uploadId === undefined) throw new BrokerError('bad_response', 'S3 began an upload and did not name it');
    // The answer to an earlier try was lost: that may have begun another upload.
    if (begun.attempts > 1) await this.#abortOthers(since, uploadId, signal);
    return uploadId;
  }

  async #abortOthers(since: number, except: string | undefined, signal: AbortSignal): Promise<void> {
    const key = this.key.slice(this.#config.prefix.length);
    const options = { since, signal, except, skewMs: OWN_SKEW_MS };
    await this.connections
      .sdk()
      .then((s3) => abortUploads(s3, this.#config, key, options))
      .catch((error: unknown) => {
        const { message, hint } = s3Failure(
          error,
          'look for an upload that was begun twice',
          's3:ListBucketMultipartUploads',
          this.#config,
        );
        this.#log.warn('an upload may have been begun twice', { key, message, hint });
      });
  }

  /** @param crc32c of the part; without it S3 computes it, and verifies the whole at the end. */
  async part(
    uploadId: string,
    number: number,
    body: Uint8Array | SentBody,
    crc32c: string | undefined,
    signal: AbortSignal,
  ): Promise<Part> {
    const { headers } = await this.connections.rest.done({
      method: 'PUT',
      key: this.key,
      query: { partNumber: String(number), uploadId },
      headers: crc32c === undefined ? {} : { 'x-amz-checksum-crc32c': crc32c },
      body,
      signal,
    });
    const size = 'send' in body ? body.size : body.byteLength;
    return { number, etag: headers.etag ?? '', crc32c: crc32c ?? headers['x-amz-checksum-crc32c'], size };
  }

  async complete(
    uploadId: string,
    item: Item,
    parts: readonly Part[],
    conditions: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Completed> {
    const size = sizeOf(parts);
    if (item.size !== undefined && size !== item.size)
      throw new BrokerError('truncated', `${item.id}: ${size} of ${item.size} bytes`);
    const crc32c = checksumOf(item, parts);
    this.sent = { size, crc32c };
    const answer = await this.connections.rest.text({
      method: 'POST',
      key: this.key,
      query: { uploadId },
      headers: {
        ...conditions,
        'content-type': 'application/xml',
        'x-amz-checksum-type': 'FULL_OBJECT',
        'x-amz-checksum-crc32c': crc32c,
        'x-amz-mp-object-size': String(size),
      },
      body: Buffer.from(
        `<CompleteMultipartUpload xmlns="${NAMESPACE}">${parts.map(partXml).join('')}</CompleteMultipartUpload>`,
      ),
      ends: '</CompleteMultipartUploadResult>',
      // S3 sends blanks for as long as it puts the parts together.
      dripMs: Number.POSITIVE_INFINITY,
      signal,
    });
    return {
      checksum: textIn(answer.text, 'ChecksumCRC32C'),
      etag: textIn(answer.text, 'ETag'),
      version: answer.headers['x-amz-version-id'],
      size,
      crc32c,
    };
  }

  /** Waits for it. What S3 will not abort is told to the log: the failure that led here is the one to report. */
  async abort(uploadId: string): Promise<void> {
    const signal = AbortSignal.timeout(ABORT_MS);
    const send = async (): Promise<void> => {
      await this.connections.rest.done({ method: 'DELETE', key: this.key, query: { uploadId }, signal });
    };
    const again = async (error: unknown): Promise<void> => {
      if ((error as Error).name !== 'NoSuchUpload') await send();
    };
    await send()
      .catch(again)
      .catch((error: unknown) => {
        if ((error as Error).name === 'NoSuchUpload') return;
        const what = `abort an upload to s3://${this.#config.bucket}/${this.key}`;
        const failure = s3Failure(error, what, 's3:AbortMultipartUpload', this.#config);
        this.#log.warn('an upload was left behind', {
          message: failure.message,
          hint: 'Give the bucket a lifecycle rule that aborts incomplete multipart uploads.',
        });
      });
  }
}

const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';

const partXml = ({ number, etag, crc32c }: Part): string =>
  `<Part><PartNumber>${number}</PartNumber><ETag>${escaped(etag)}</ETag>${
    crc32c === undefined ? '' : `<ChecksumCRC32C>${escaped(crc32c)}</ChecksumCRC32C>`
  }</Part>`;

/** @throws BrokerError `checksum_mismatch` when the parts add up to something else than the source published. */
function checksumOf({ id, checksums }: Item, parts: readonly Part[]): string {
  const published = checksums?.crc32c;
  let sum: string | undefined = EMPTY_CRC32C;
  for (const { crc32c, size } of parts)
    sum = sum === undefined || crc32c === undefined ? undefined : combineCrc32c(sum, crc32c, size);
  if (sum === undefined) {
    // Where S3 tells no sums of parts, it compares the whole with this one itself.
    if (published !== undefined) return published;
    throw new BrokerError('internal', `${id}: nobody knows the checksum of a part`);
  }
  if (published !== undefined && sum !== published)
    throw new BrokerError(
      'checksum_mismatch',
      `${id}: S3 has received CRC32C ${sum}, the source publishes ${published}`,
    );
  return sum;
}
