import {
  BrokerError,
  type Content,
  type Expected,
  type Item,
  type Logger,
  type SentBody,
  type StoredObject,
  type WriteOptions,
  type Written,
} from '../../core/api/index.ts';
import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { objectHeaders, s3Losses } from './headers.ts';
import { PartUpload } from './multipart.ts';
import { md5OfEtag } from './page.ts';
import { fill, mostInOnePut, PartReader } from './parts.ts';
import { canPass, leaseFor, passing } from './passing.ts';
import { patiently } from './patience.ts';
import { leftUpload } from './unfinished.ts';
import { type Completed, type Connections, type Sent, Uploads } from './uploads.ts';

export interface WriterOptions {
  readonly config: S3Config;
  readonly log: Logger;
  readonly connect: () => Promise<Connections>;
  readonly stat: (key: string, signal: AbortSignal) => Promise<StoredObject | undefined>;
}

interface Proved extends Pick<WriteOptions, 'expected' | 'signal'> {
  /** It was begun by this pipeline, as is on record: what is there now may be of an earlier try of its own. */
  readonly isOwn?: boolean;
}

/** After these it is not known whether S3 has carried the write out. */
const LOST: ReadonlySet<string> = new Set(['conflict', 'unavailable', 'network', 'timeout']);

/** Servers that want a checksum with each part, as buckets with Object Lock do, and MinIO. */
export const WANTS_SUMS = /checksum missing|Content-MD5 OR x-amz-checksum/i;

type Conditions = Readonly<Record<string, string>>;

/**
 * Writes one object: a single PUT, or a multipart upload where it is large or its size unknown. What the source publishes
 * a CRC32C of passes through without being held or hashed, and S3 refuses it when it differs; other bytes are buffered
 * and hashed.
 */
export class S3Writer {
  readonly #options: WriterOptions;
  #wantsSums = false;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  async write(item: Item, content: Content, options: WriteOptions): Promise<Written> {
    const { config, connect, log } = this.#options;
    const conditions = config.conditional ? conditionsOf(options.expected) : {};
    const uploads = new Uploads(await connect(), config, config.prefix + item.key, log);
    return await this.proved(item, uploads, options, () => this.#send(item, content, conditions, options, uploads));
  }

  /** What was written and what proves it; also where it was written, and the answer was lost. */
  async proved(item: Item, uploads: Uploads, options: Proved, send: () => Promise<Completed>): Promise<Written> {
    const { config } = this.#options;
    try {
      return this.#proof(item, await send());
    } catch (thrown) {
      const error = s3Failure(thrown, `write s3://${config.bucket}/${uploads.key}`, 's3:PutObject', config);
      return await this.#alreadyThere(item, error, uploads.sent, options);
    }
  }

  async #send(
    item: Item,
    content: Content,
    conditions: Conditions,
    options: WriteOptions,
    uploads: Uploads,
  ): Promise<Completed> {
    const left = leftUpload(options.unfinished?.left);
    // The process before had found out already.
    if (left?.item === item.id && left.passage === 'buffered') this.#wantsSums = true;
    if (!canPass(item, content, this.#options.config))
      return this.#buffered(item, content, conditions, options, uploads);
    const { size = 0 } = content;
    if (size <= mostInOnePut(this.#options.config, 'streamed')) {
      if (left !== undefined) await new PartUpload(this.#options.config, uploads).end(left);
      using lease = await leaseFor(size, options);
      const sent = { size, crc32c: item.checksums?.crc32c ?? '' };
      const put = () =>
        this.#put(item, passing(content, size, lease), sent, conditions, options.signal, uploads).catch((thrown) => {
          throw s3Failure(
            thrown,
            `write s3://${this.#options.config.bucket}/${uploads.key}`,
            's3:PutObject',
            this.#options.config,
          );
        });
      return await patiently(put, options.signal);
    }
    if (!this.#wantsSums && content.ranges) {
      try {
        return await new PartUpload(this.#options.config, uploads).run(item, content, conditions, options, 'streamed');
      } catch (error) {
        if (!(error instanceof Error) || !WANTS_SUMS.test(error.message)) throw error;
        this.#wantsSums = true;
      }
    }
    return this.#buffered(item, content, conditions, options, uploads);
  }

  /** Bytes that nobody has hashed before, or whose parts the server wants hashed. */
  async #buffered(
    item: Item,
    content: Content,
    conditions: Conditions,
    options: WriteOptions,
    uploads: Uploads,
  ): Promise<Completed> {
    const { config } = this.#options;
    const most = mostInOnePut(config, 'buffered');
    const upload = new PartUpload(config, uploads);
    if (content.size !== undefined && content.size > most)
      return upload.run(item, content, conditions, options, 'buffered');
    await upload.end(options.unfinished?.left);
    // What fits into one part is one PUT, also when that is only known after reading it.
    using lease = await options.memory.lease(content.size ?? most, options.signal);
    const stream = await content.open();
    const put = (body: Buffer): Promise<Completed> => {
      const sent = { size: body.length, crc32c: item.checksums?.crc32c ?? stream.crc32c() };
      return this.#put(item, body, sent, conditions, options.signal, uploads);
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
    item: Item,
    body: Uint8Array | SentBody,
    sent: Sent,
    conditions: Conditions,
    signal: AbortSignal,
    uploads: Uploads,
  ): Promise<Completed> {
    const isMade = 'send' in body;
    if (!isMade) uploads.sent = sent;
    const whole: Uint8Array | SentBody = isMade
      ? {
          size: body.size,
          send: async (take) => {
            await body.send(take);
            // Only now can it be there, whatever becomes of the answer.
            uploads.sent = sent;
          },
        }
      : body;
    const wanted = objectHeaders(item, this.#options.config);
    Object.assign(wanted, conditions);
    // What the source published, so that S3 itself proves the copy.
    wanted['x-amz-checksum-crc32c'] = sent.crc32c;
    const { rest } = uploads.connections;
    const { headers } = await rest.done({ method: 'PUT', key: uploads.key, headers: wanted, body: whole, signal });
    const { etag, 'x-amz-checksum-crc32c': checksum, 'x-amz-version-id': version } = headers;
    return { checksum, etag, version, ...sent };
  }

  /** Says what the store confirmed, and fails when that is no proof. */
  #proof(item: Item, { checksum, etag, version, size, crc32c }: Completed): Written {
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
  async #alreadyThere(
    item: Item,
    error: BrokerError,
    sent: Sent | undefined,
    { expected, signal, isOwn = false }: Proved,
  ): Promise<Written> {
    const lost = LOST.has(error.code) || (error.code === 'write_conflict' && error.message.includes('NoSuchUpload'));
    // Where nobody looked before, what is there may be old: it is written once more.
    if (!lost || sent === undefined || (expected === undefined && !isOwn) || signal.aborted) throw error;
    // What failed is what is to be told, not that nobody could look.
    const stored = await this.#options.stat(item.key, signal).catch(() => undefined);
    if (stored?.checksums?.crc32c !== sent.crc32c || stored.size !== sent.size) throw error;
    // Still the one that was to be replaced, for its metadata or its storage class.
    if (expected !== undefined && expected !== 'absent' && stored.revision === expected.revision) throw error;
    const { bucket, prefix } = this.#options.config;
    return { location: `s3://${bucket}/${prefix}${item.key}`, size: sent.size, checksums: { crc32c: sent.crc32c } };
  }
}

export function conditionsOf(expected: Expected): Conditions {
  if (expected === 'absent') return { 'if-none-match': '*' };
  return expected?.revision === undefined ? {} : { 'if-match': expected.revision };
}
