import type { ByteRange, Content, Item, WriteOptions } from '../../core/api/index.ts';
import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { fill, type Passage, partRanges } from './parts.ts';
import { leaseFor, passing } from './passing.ts';
import { patiently } from './patience.ts';
import type { Part, Uploads } from './uploads.ts';

/** An object of known size in parts of equal size. */
export interface Cut {
  readonly size: number;
  readonly partSize: number;
  readonly passage: Passage;
  /** Only these parts: those of one process, where several write one object. */
  readonly within?: ByteRange;
}

/** Sends the parts of an upload, as many at once as there are slots for. */
export class PartSender {
  readonly #config: S3Config;
  readonly #uploads: Uploads;

  constructor(config: S3Config, uploads: Uploads) {
    this.#config = config;
    this.#uploads = uploads;
  }

  /** Those of `finished` are there already. */
  async send(
    uploadId: string,
    item: Item,
    content: Content,
    { size, partSize, passage, within = { start: 0, end: size } }: Cut,
    finished: readonly Part[],
    options: WriteOptions,
    failed: AbortController,
    tell: (parts: readonly Part[]) => void,
  ): Promise<Part[]> {
    const ranges = partRanges(size, partSize, within);
    const parts = [...finished];
    const known = new Set(finished.map(({ number }) => number));
    const send = passage === 'streamed' ? this.#passed : this.#range;
    const all: Promise<void>[] = [];
    let left = Math.ceil((within.end - within.start) / partSize) - known.size;
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
}
