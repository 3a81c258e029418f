import {
  BrokerError,
  type ByteRange,
  type Content,
  type Expected,
  type Item,
  type JsonValue,
  type Logger,
  type Pieces,
  type WriteOptions,
  type Written,
} from '../../core/api/index.ts';
import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { PartUpload } from './multipart.ts';
import { type Passage, partSizeOf, pieceRanges } from './parts.ts';
import { type LeftUpload, leftUpload } from './unfinished.ts';
import { type Connections, sizeOf, Uploads } from './uploads.ts';
import { conditionsOf, type S3Writer, WANTS_SUMS } from './writer.ts';

export interface PiecesOptions {
  readonly config: S3Config;
  readonly log: Logger;
  readonly connect: () => Promise<Connections>;
  readonly writer: S3Writer;
}

/** One multipart upload that many processes write parts to; which parts there are, S3 knows. */
export class S3Pieces implements Pieces {
  readonly #options: PiecesOptions;
  #wantsSums = false;

  constructor(options: PiecesOptions) {
    this.#options = options;
  }

  cut({ size = 0 }: Item, bytes: number): readonly ByteRange[] {
    // Where S3 does not prove the whole, whoever sends it has to hash all of it.
    if (this.#options.config.proof !== 'checksum') return [{ start: 0, end: size }];
    return pieceRanges(size, this.#partSize(size), bytes);
  }

  async begin(item: Item, { signal }: { readonly signal: AbortSignal }): Promise<JsonValue> {
    const uploads = await this.#uploads(item);
    const uploadId = await uploads.create(item, signal).catch((error: unknown) => {
      throw this.#failure(error, item);
    });
    return { uploadId, item: item.id, partSize: this.#partSize(item.size ?? 0) };
  }

  async write(item: Item, content: Content, begun: JsonValue, range: ByteRange, options: WriteOptions): Promise<void> {
    const { uploadId, partSize } = this.#left(item, begun);
    const upload = new PartUpload(this.#options.config, await this.#uploads(item));
    const send = (passage: Passage): Promise<void> =>
      upload.piece(uploadId, item, content, { size: item.size ?? 0, partSize, passage, within: range }, options);
    try {
      if (this.#wantsSums || item.checksums?.crc32c === undefined) return await send('buffered');
      await send('streamed').catch((error: unknown) => {
        if (!(error instanceof Error) || !WANTS_SUMS.test(error.message)) throw error;
        this.#wantsSums = true;
        return send('buffered');
      });
    } catch (error) {
      throw this.#failure(error, item);
    }
  }

  async complete(
    item: Item,
    begun: JsonValue,
    { signal, expected }: { readonly signal: AbortSignal; readonly expected: Expected },
  ): Promise<Written> {
    const { uploadId, partSize } = this.#left(item, begun);
    const uploads = await this.#uploads(item);
    const size = item.size ?? 0;
    const options = { signal, expected, isOwn: true };
    let isCompleted = false;
    const written = await this.#options.writer.proved(item, uploads, options, async () => {
      const cut = { size, partSize, passage: 'streamed' as const };
      const parts = await new PartUpload(this.#options.config, uploads).parts(uploadId, cut, signal);
      if (parts === undefined) {
        // Completed already, perhaps: by somebody who did not hear of it.
        uploads.sent = { size, crc32c: item.checksums?.crc32c ?? '' };
        throw new BrokerError('write_conflict', `${item.id}: NoSuchUpload: the upload is not there any more`);
      }
      const there = sizeOf(parts);
      if (there !== size) throw new BrokerError('truncated', `${item.id}: ${there} of ${size} bytes are there`);
      const conditions = this.#options.config.conditional ? conditionsOf(expected) : {};
      const completed = await uploads.complete(uploadId, item, parts, conditions, signal);
      isCompleted = true;
      return completed;
    });
    // It was there already: then the parts are of no use any more.
    if (!isCompleted) await uploads.abort(uploadId);
    return written;
  }

  async abandon(item: Item, begun: JsonValue): Promise<void> {
    const { uploadId } = this.#left(item, begun);
    await (await this.#uploads(item)).abort(uploadId);
  }

  /** Parts that stream take no memory, so they are as large as is cheap. */
  #partSize(size: number): number {
    return partSizeOf(size, this.#options.config, 'streamed');
  }

  #left(item: Item, begun: JsonValue): LeftUpload {
    const left = leftUpload(begun);
    if (left === undefined || left.item !== item.id)
      throw new BrokerError('state_unreadable', `${item.id}: what is on record of its upload is of something else`);
    return left;
  }

  async #uploads(item: Item): Promise<Uploads> {
    const { config, connect, log } = this.#options;
    return new Uploads(await connect(), config, config.prefix + item.key, log);
  }

  #failure(error: unknown, item: Item): BrokerError {
    const { config } = this.#options;
    return s3Failure(error, `write s3://${config.bucket}/${config.prefix}${item.key}`, 's3:PutObject', config);
  }
}
