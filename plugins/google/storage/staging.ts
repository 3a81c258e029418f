import {
  BrokerError,
  type ByteRange,
  type ByteStream,
  type Item,
  type RetryPolicy,
  retry,
} from '../../../core/api/index.ts';
import type { GoogleClient } from '../http.ts';
import { readFailure } from './errors.ts';
import { GcsListing, refSchema } from './listing.ts';
import type { StoragePlace } from './place.ts';
import { GcsReader } from './reader.ts';

const PATIENCE: RetryPolicy = { attempts: 6, baseDelayMs: 200, maxDelayMs: 20_000 };
/** Deleted at once. */
const AT_ONCE = 32;

/** The files of one place in Cloud Storage that a job writes to, and that are ours to delete. */
export class Staging {
  readonly #client: GoogleClient;
  readonly #place: StoragePlace;
  readonly #reader: GcsReader;

  constructor(client: GoogleClient, place: Pick<StoragePlace, 'bucket' | 'prefix' | 'identity'>) {
    this.#client = client;
    this.#place = place;
    this.#reader = new GcsReader(client, place, new GcsListing(client, place));
  }

  get place(): Pick<StoragePlace, 'bucket' | 'prefix' | 'identity'> {
    return this.#place;
  }

  get client(): GoogleClient {
    return this.#client;
  }

  /** `gs://bucket/` and a name below the prefix. */
  url(name: string): string {
    return `gs://${this.#place.bucket}/${this.#place.prefix}${name}`;
  }

  /** Objects below a folder; their keys are what follows it. */
  list(folder: string, signal: AbortSignal): AsyncGenerator<Item> {
    const { bucket, prefix, identity } = this.#place;
    return new GcsListing(this.#client, { bucket, identity, prefix: prefix + folder }).items(undefined, signal);
  }

  /** The object that the place names in full, as it is now. */
  one(signal: AbortSignal): Promise<Item | undefined> {
    const { bucket, prefix, identity } = this.#place;
    return new GcsListing(this.#client, { bucket, identity, prefix: '', object: prefix }).one(prefix, signal);
  }

  open(item: Item, range: ByteRange | undefined, signal: AbortSignal): Promise<ByteStream> {
    return this.#reader.open(item, range, signal);
  }

  /**
   * Deletes everything below a folder that no one else can know of, each in the very version that is listed.
   *
   * @param folder holds the id of an export, so nothing is deleted that it did not make.
   */
  async clear(folder: string, signal: AbortSignal): Promise<number> {
    if (!/[0-9a-f]{8}-[0-9a-f-]{27}\/$/.test(folder)) throw new BrokerError('internal', 'not a folder of an export');
    let deleted = 0;
    const waiting = new Set<Promise<void>>();
    for await (const item of this.list(folder, signal)) {
      const work: Promise<void> = this.#delete(item, signal).finally(() => waiting.delete(work));
      work.catch(() => undefined);
      waiting.add(work);
      deleted++;
      if (waiting.size >= AT_ONCE) await Promise.race(waiting);
    }
    await Promise.all(waiting);
    return deleted;
  }

  async #delete(item: Item, signal: AbortSignal): Promise<void> {
    const { name, generation } = refSchema.parse(item.ref);
    const path = `/storage/v1/b/${this.#place.bucket}/o/${encodeURIComponent(name)}?ifGenerationMatch=${generation}`;
    await retry(
      async () => {
        const response = await this.#client.get({ method: 'DELETE', path, signal });
        // 404: it is gone; 412: it is another one now, and not ours.
        if ([200, 204, 404, 412].includes(response.status)) return void response.body.resume();
        const error = readFailure(`delete ${item.id}`, this.#place, await this.#client.failedAnswer(response));
        throw error.code === 'permission_denied'
          ? new BrokerError('permission_denied', error.message, {
              hint: `Grant roles/storage.objectUser on gs://${this.#place.bucket} to the identity "${this.#place.identity}", and set no retention policy on it.`,
            })
          : error;
      },
      { policy: PATIENCE, signal },
    );
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}
