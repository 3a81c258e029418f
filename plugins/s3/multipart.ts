import {
  BrokerError,
  type ByteRange,
  type Content,
  type Item,
  type MemoryLease,
  type WriteOptions,
} from '../../core/api/index.ts';
import type { S3Config } from './config.ts';
import { type Cut, PartSender } from './part-sender.ts';
import { growingPartSize, PartReader, type Passage, partSizeOf } from './parts.ts';
import { continues, finishedParts, leftUpload } from './unfinished.ts';
import { type Completed, type Part, sizeOf, type Uploads } from './uploads.ts';

/** Loaded at first use: what is read in ranges needs none of it. */
const checksumOf = async (body: Buffer): Promise<string> => (await import('./crc32c.ts')).crc32cOf(body);

/** A stream of which the first part may have been read already, with the memory that it holds. */
export interface Begun {
  readonly reader: PartReader;
  readonly first?: { readonly body: Buffer; readonly lease: MemoryLease };
}

/**
 * One multipart upload: parts in parallel where the content can be read in ranges, and the whole object's CRC32C at the
 * end, which S3 verifies. Aborted, and the abort waited for, whatever goes wrong.
 *
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
 */
export class PartUpload {
  readonly #config: S3Config;
  readonly #uploads: Uploads;
  readonly #sender: PartSender;

  constructor(config: S3Config, uploads: Uploads) {
    this.#config = config;
    this.#uploads = uploads;
    this.#sender = new PartSender(config, uploads);
  }

  async run(
    item: Item,
    content: Content,
    conditions: Readonly<Record<string, string>>,
    options: WriteOptions,
    how: Passage | Begun,
  ): Promise<Completed> {
    // A part that fails ends the others.
    const failed = new AbortController();
    const signal = AbortSignal.any([options.signal, failed.signal]);
    const begun = typeof how === 'string' ? undefined : how;
    const usual = this.#cut(content, how);
    const left = await this.#left(item, usual, options);
    const cut = left?.cut ?? usual;
    const uploadId = left?.uploadId ?? (await this.#create(item, options, signal));
    const tell = (parts: readonly Part[]): void =>
      cut &&
      options.unfinished?.tell(
        { uploadId, item: item.id, partSize: cut.partSize, passage: cut.passage },
        sizeOf(parts),
      );
    try {
      tell(left?.parts ?? []);
      const parts =
        cut === undefined
          ? await this.#streamed(uploadId, content, { ...options, signal }, begun)
          : await this.#sender.send(
              uploadId,
              item,
              content,
              cut,
              left?.parts ?? [],
              { ...options, signal },
              failed,
              tell,
            );
      return await this.#uploads.complete(uploadId, item, parts, conditions, signal);
    } catch (error) {
      failed.abort();
      // It is on record: whoever runs next goes on with it, and may have begun to.
      const stays = options.signal.aborted && cut !== undefined && options.unfinished !== undefined;
      if (!stays) await this.#uploads.abort(uploadId);
      throw failed.signal.reason instanceof BrokerError ? failed.signal.reason : error;
    }
  }

  #cut({ size, ranges }: Content, passage: Passage | Begun): Cut | undefined {
    if (typeof passage !== 'string' || !ranges || size === undefined) return undefined;
    return { size, passage, partSize: partSizeOf(size, this.#config, passage) };
  }

  /** Ends what a process before has left and nobody can go on with. */
  async end(left: unknown): Promise<void> {
    const upload = leftUpload(left);
    if (upload !== undefined) await this.#uploads.abort(upload.uploadId);
  }

  /** The parts of a range that are not there yet; the upload is begun and ended by others, and stays whatever happens. */
  async piece(
    uploadId: string,
    item: Item,
    content: Content,
    cut: Cut & { readonly within: ByteRange },
    options: WriteOptions,
  ): Promise<void> {
    const failed = new AbortController();
    const signal = AbortSignal.any([options.signal, failed.signal]);
    const { start, end } = cut.within;
    const first = start / cut.partSize + 1;
    const last = Math.ceil(end / cut.partSize);
    const there = await this.parts(uploadId, cut, options.signal);
    if (there === undefined) throw new BrokerError('superseded', `${item.id}: the upload is not there any more`);
    const finished = there.filter(({ number }) => number >= first && number <= last);
    const tell = (parts: readonly Part[]): void => options.unfinished?.tell(uploadId, sizeOf(parts));
    tell(finished);
    await this.#sender
      .send(uploadId, item, content, cut, finished, { ...options, signal }, failed, tell)
      .catch((error) => {
        failed.abort();
        throw failed.signal.reason instanceof BrokerError ? failed.signal.reason : error;
      });
  }

  /** What S3 holds of an upload, in the sizes that are expected; undefined when it does not know it. */
  async parts(uploadId: string, { size, partSize }: Cut, signal: AbortSignal): Promise<readonly Part[] | undefined> {
    const expected = (number: number): number => Math.min(partSize, size - (number - 1) * partSize);
    const { key, connections } = this.#uploads;
    return await finishedParts(await connections.sdk(), this.#config, key, uploadId, expected, signal);
  }

  /** What a process before has left of exactly this, with the parts that S3 holds of it: cut as it was begun. */
  async #left(item: Item, usual: Cut | undefined, options: WriteOptions) {
    const upload = leftUpload(options.unfinished?.left);
    if (upload === undefined) return undefined;
    // Whoever has changed `partSize` wants it.
    if (usual === undefined || !continues(upload, item, this.#config.partSize && usual.partSize)) {
      await this.#uploads.abort(upload.uploadId);
      return undefined;
    }
    const cut = { ...usual, partSize: upload.partSize };
    const { uploadId } = upload;
    try {
      const parts = await this.parts(uploadId, cut, options.signal);
      return parts && { uploadId, parts, cut };
    } catch (error) {
      // The next try begins anew: nobody would find this one any more.
      if (!options.signal.aborted) await this.#uploads.abort(uploadId);
      throw error;
    }
  }

  async #create(item: Item, options: WriteOptions, signal: AbortSignal): Promise<string> {
    await options.begins?.();
    return this.#uploads.create(item, signal);
  }

  async #streamed(
    uploadId: string,
    content: Content,
    options: WriteOptions,
    begun: Begun | undefined,
  ): Promise<Part[]> {
    if (begun !== undefined) return this.#sequential(uploadId, begun, undefined, options);
    await using reader = new PartReader(await content.open());
    return await this.#sequential(uploadId, { reader }, content.size, options);
  }

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
      parts.push(await this.#uploads.part(uploadId, 1, first.body, await checksumOf(first.body), signal));
    }
    while (!reader.ended) {
      const number = parts.length + 1;
      const wanted =
        size === undefined
          ? growingPartSize(number, this.#config, memory.total)
          : partSizeOf(size, this.#config, 'buffered');
      using lease = await memory.lease(wanted, signal);
      const body = await reader.fill(lease.buffer);
      if (body.length === 0 && number > 1) break;
      parts.push(await this.#uploads.part(uploadId, number, body, await checksumOf(body), signal));
    }
    return parts;
  }
}
