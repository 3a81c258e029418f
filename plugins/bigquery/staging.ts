import {
  BrokerError,
  type ByteRange,
  type ByteStream,
  type Item,
  type Logger,
  type RetryPolicy,
  retry,
  z,
} from '../../core/api/index.ts';
import type { GoogleClient } from '../google/http.ts';
import { readFailure } from '../google/storage/errors.ts';
import { GcsListing, refSchema } from '../google/storage/listing.ts';
import type { StoragePlace } from '../google/storage/place.ts';
import { GcsReader } from '../google/storage/reader.ts';

const PATIENCE: RetryPolicy = { attempts: 6, baseDelayMs: 200, maxDelayMs: 20_000 };
/** Deleted at once. */
const AT_ONCE = 32;

const bucketSchema = z.object({
  location: z.string(),
  customPlacementConfig: z.object({ dataLocations: z.array(z.string()).default([]) }).optional(),
  softDeletePolicy: z.object({ retentionDurationSeconds: z.string().default('0') }).optional(),
  retentionPolicy: z.object({ retentionPeriod: z.string().default('0') }).optional(),
});

/** The files of one place in Cloud Storage that jobs write to, and that are ours to delete. */
export class Staging {
  readonly #client: GoogleClient;
  readonly #place: StoragePlace;
  readonly #reader: GcsReader;
  readonly #log: Logger;

  constructor(client: GoogleClient, place: Pick<StoragePlace, 'bucket' | 'prefix' | 'identity'>, log: Logger) {
    this.#client = client;
    this.#place = place;
    this.#reader = new GcsReader(client, place, new GcsListing(client, place));
    this.#log = log;
  }

  get bucket(): string {
    return this.#place.bucket;
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

  /**
   * Whether jobs on data in this location can write here, and files can be deleted again.
   *
   * Source: https://cloud.google.com/bigquery/docs/exporting-data#data-locations
   * @throws BrokerError `wrong_region` or `invalid_config`.
   */
  async check(location: string, signal: AbortSignal): Promise<string> {
    const { bucket, identity } = this.#place;
    const path = `/storage/v1/b/${bucket}?fields=location,customPlacementConfig,softDeletePolicy,retentionPolicy`;
    const answer = await retry(
      () =>
        this.#client.getJson({ path, signal }, (failed) => {
          if (failed.status !== 404) return readFailure(`look at gs://${bucket}`, this.#place, failed);
          return new BrokerError('bucket_missing', `gs://${bucket} does not exist`, {
            hint: `Correct staging.bucket: ${bucket} in the source.`,
          });
        }),
      { policy: PATIENCE, signal },
    ).catch((error: unknown) => {
      if (!(error instanceof BrokerError) || error.code !== 'permission_denied') throw error;
      // The job itself will tell where data may not go.
      const hint = `Grant roles/storage.bucketViewer on gs://${bucket} to the identity "${identity}" to have it checked.`;
      this.#log.warn('the location of the staging bucket is not checked', { message: error.message, hint });
      return undefined;
    });
    if (answer === undefined) return `gs://${bucket}: its location could not be looked at`;
    const found = bucketSchema.parse(answer);
    const places = found.customPlacementConfig?.dataLocations ?? [];
    if (!isNear(location, found.location, places)) {
      throw new BrokerError(
        'wrong_region',
        `the data are in ${location}, the staging bucket gs://${bucket} in ${found.location}`,
        { hint: `Use a staging bucket in ${location}.` },
      );
    }
    const kept = Number(found.retentionPolicy?.retentionPeriod ?? 0);
    if (kept > 0) {
      throw new BrokerError('invalid_config', `gs://${bucket} has a retention policy of ${kept} s`, {
        hint: 'Use a staging bucket without one: jobs rewrite files, and what was carried is deleted.',
      });
    }
    const soft = Number(found.softDeletePolicy?.retentionDurationSeconds ?? 0);
    if (soft === 0) return `gs://${bucket} in ${found.location}`;
    const message = `gs://${bucket} keeps deleted objects for ${Math.round(soft / 86_400)} days (soft delete), and they are billed`;
    const hint = `Turn it off for the staging bucket: gcloud storage buckets update gs://${bucket} --clear-soft-delete`;
    this.#log.warn('staging', { message, hint });
    return `${message}. ${hint}`;
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

/** Regions of the dual-regions that have names. Source: https://cloud.google.com/storage/docs/locations#predefined */
const DUAL: Readonly<Record<string, readonly string[]>> = {
  NAM4: ['US-CENTRAL1', 'US-EAST1'],
  EUR4: ['EUROPE-NORTH1', 'EUROPE-WEST4'],
  EUR5: ['EUROPE-WEST1', 'EUROPE-WEST2'],
  EUR7: ['EUROPE-WEST2', 'EUROPE-WEST3'],
  EUR8: ['EUROPE-WEST3', 'EUROPE-WEST6'],
  ASIA1: ['ASIA-NORTHEAST1', 'ASIA-NORTHEAST2'],
};
/** In Europe, but not in its multi-region. */
const NOT_EU = ['EUROPE-WEST2', 'EUROPE-WEST6'];

function isNear(data: string, bucket: string, places: readonly string[]): boolean {
  const [from, to] = [data.toUpperCase(), bucket.toUpperCase()];
  // From the US multi-region BigQuery exports to anywhere.
  if (from === to || from === 'US') return true;
  if (from === 'EU') return /^(EUR\d|EUROPE-)/.test(to) && !NOT_EU.includes(to);
  return [...(DUAL[to] ?? []), ...places.map((place) => place.toUpperCase())].includes(from);
}
