import { ahead, BrokerError, type ByteRange, type ByteStream, type Item } from '../../../core/api/index.ts';
import type { GoogleClient } from '../http.ts';
import { GcsListing } from './listing.ts';
import type { StoragePlace } from './place.ts';
import { GcsReader } from './reader.ts';
import { removeObject } from './remove.ts';

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
  list(folder: string, signal: AbortSignal): AsyncIterable<Item> {
    const { bucket, prefix, identity } = this.#place;
    return new GcsListing(this.#client, { bucket, identity, prefix: prefix + folder }).items(undefined, signal);
  }

  /** The object that the place names in full, as it is now. */
  one(signal: AbortSignal): Promise<Item | undefined> {
    const { bucket, prefix, identity } = this.#place;
    return new GcsListing(this.#client, { bucket, identity, prefix: '', object: prefix }).one(prefix, signal);
  }

  open(item: Item, range: ByteRange | undefined, signal: AbortSignal): Promise<ByteStream> {
    return this.#reader.open(item, { signal, ...(range === undefined ? {} : { range }) });
  }

  /**
   * Deletes everything below a folder that no one else can know of, each in the very version that is listed.
   *
   * @param folder holds the id of an export, so nothing is deleted that it did not make.
   */
  async clear(folder: string, signal: AbortSignal): Promise<number> {
    if (!/[0-9a-f]{8}-[0-9a-f-]{27}\/$/.test(folder)) throw new BrokerError('internal', 'not a folder of an export');
    let deleted = 0;
    // What was replaced meanwhile is another one, and not ours.
    const removing = ahead(this.list(folder, signal), AT_ONCE, (item) =>
      removeObject(this.#client, this.#place, item, signal),
    );
    for await (const _ of removing) deleted++;
    return deleted;
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}
