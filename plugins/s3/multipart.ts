import {
  BrokerError,
  type ByteRange,
  type Content,
  type Item,
  type MemoryLease,
  type WriteOptions,
} from '../../core/api/index.ts';
import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { fill, growingPartSize, PartReader, type Passage, partRanges, partSizeOf } from './parts.ts';
import { leaseFor, passing } from './passing.ts';
import { patiently } from './patience.ts';
import { continues, finishedParts, leftUpload } from './unfinished.ts';
import { type Completed, type Part, sizeOf, type Uploads } from './uploads.ts';

/** Loaded at first use: what is read in ranges needs none of it. */
const checksumOf = async (body: Buffer): Promise<string> => (await import('./crc32c.ts')).crc32cOf(body);

/** A stream of which the first part may have been read already, with the memory that it holds. */
export interface Begun {
  readonly reader: PartReader;
  readonly first?: { readonly body: Buffer; readonly lease: MemoryLease };
}

/** An object of known size in parts of equal size. */
interface Cut {
  readonly size: number;
  readonly partSize: number;
  readonly passage: Passage;
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

  constructor(config: S3Config, uploads: Uploads) {
    this.#config = config;
    this.#uploads = uploads;
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
          : await this.#ranges(uploadId, item, content, cut, left?.parts ?? [], { ...options, signal }, failed, tell);
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
    const expected = (number: number): number => Math.min(cut.partSize, cut.size - (number - 1) * cut.partSize);
    const { uploadId } = upload;
    try {
      const { key, connections } = this.#uploads;
      const s3 = await connections.sdk();
      const parts = await finishedParts(s3, this.#config, key, uploadId, expected, options.signal);
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

  async #ranges(
    uploadId: string,
    item: Item,
    content: Content,
    { size, partSize, passage }: Cut,
    finished: readonly Part[],
    options: WriteOptions,
    failed: AbortController,
    tell: (parts: readonly Part[]) => void,
  ): Promise<Part[]> {
    const ranges = partRanges(size, partSize);
    const parts = [...finished];
    const known = new Set(finished.map(({ number }) => number));
    const send = passage === 'streamed' ? this.#passed : this.#range;
    const all: Promise<void>[] = [];
    let left = Math.ceil(size / partSize) - known.size;
    let workers = 0;
    const worker = async (stays: boolean): Promise<void> => {
      // Step by step: a loop that is left would end the sequence for the others, too.
      for (let next = ranges.next(); next.done !== true; next = ranges.next()) {
        const { number, ...range } = next.value;
        if (known.has(number)) continue;
        left--;
        const part = () => send.call(this, uploadId, number, range, content, options);
        parts.push(await this.#patiently(item, part, options));
        tell(parts);
        // One more slot is for one more part: then it is anybody's again.
        if (!stays) return;
        addWorkers();
      }
    };
    /** The write itself has a slot; for each part more that is sent at once another one is needed. */
    const addWorkers = (): void => {
      while (left > 0 && workers < this.#config.partConcurrency && !failed.signal.aborted) {
        const isFirst = all.length === 0;
        const slot = isFirst ? undefined : options.slots?.tryTake();
        if (!isFirst && options.slots !== undefined && slot === undefined) return;
        workers++;
        const one = worker(isFirst || options.slots === undefined)
          .finally(() => {
            workers--;
            slot?.[Symbol.dispose]();
          })
          .then(addWorkers)
          .catch((error: unknown) => {
            failed.abort(s3Failure(error, `write ${item.id}`, 's3:PutObject', this.#config));
            throw error;
          });
        one.catch(() => undefined);
        all.push(one);
      }
    };
    addWorkers();
    // All of them are waited for, those that are added meanwhile too: none may still send when the upload is aborted.
    for (let index = 0; index < all.length; index++) await all[index]?.catch(() => undefined);
    await Promise.all(all);
    return parts.sort((a, b) => a.number - b.number);
  }

  /** What goes wrong with one part is no reason to send the others again. */
  #patiently<T>(item: Item, once: () => Promise<T>, { signal }: WriteOptions): Promise<T> {
    const part = (): Promise<T> =>
      once().catch((thrown: unknown) => {
        throw s3Failure(thrown, `write ${item.id}`, 's3:PutObject', this.#config);
      });
    // `write_conflict`: the upload is gone, and with it its parts.
    return patiently(part, signal, ({ next, code }) => next === 'retry' && code !== 'write_conflict');
  }

  /** A part that passes from the source to S3 without being held. */
  async #passed(uploadId: string, number: number, range: ByteRange, content: Content, options: WriteOptions) {
    const size = range.end - range.start;
    using lease = await leaseFor(size, options);
    return await this.#uploads.part(uploadId, number, passing(content, size, lease, range), undefined, options.signal);
  }

  async #range(uploadId: string, number: number, range: ByteRange, content: Content, options: WriteOptions) {
    const { memory, signal } = options;
    using lease = await memory.lease(range.end - range.start, signal);
    const stream = await content.open(range);
    const body = lease.buffer.subarray(0, await fill(lease.buffer, stream, signal));
    return await this.#uploads.part(uploadId, number, body, stream.crc32c(), signal);
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
