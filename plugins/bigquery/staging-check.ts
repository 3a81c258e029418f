import { BrokerError, type Logger, type RetryPolicy, retry, z } from '../../core/api/index.ts';
import { readFailure } from '../google/storage/errors.ts';
import type { Staging } from '../google/storage/staging.ts';

const PATIENCE: RetryPolicy = { attempts: 6, baseDelayMs: 200, maxDelayMs: 20_000 };

const bucketSchema = z.object({
  location: z.string(),
  customPlacementConfig: z.object({ dataLocations: z.array(z.string()).default([]) }).optional(),
  softDeletePolicy: z.object({ retentionDurationSeconds: z.string().default('0') }).optional(),
  retentionPolicy: z.object({ retentionPeriod: z.string().default('0') }).optional(),
});

/**
 * Whether jobs on data in this location can write here, and files can be deleted again.
 *
 * Source: https://cloud.google.com/bigquery/docs/exporting-data#data-locations
 * @throws BrokerError `wrong_region` or `invalid_config`.
 */
export async function checkStaging(
  staging: Staging | undefined,
  location: string,
  log: Logger,
  signal: AbortSignal,
): Promise<string> {
  if (staging === undefined) return 'none is needed';
  const { bucket, identity } = staging.place;
  const path = `/storage/v1/b/${bucket}?fields=location,customPlacementConfig,softDeletePolicy,retentionPolicy`;
  const answer = await retry(
    () =>
      staging.client.getJson({ path, signal }, (failed) => {
        if (failed.status !== 404) return readFailure(`look at gs://${bucket}`, staging.place, failed);
        return new BrokerError('bucket_missing', `gs://${bucket} does not exist`, {
          hint: `Correct staging.bucket: ${bucket} in the source.`,
        });
      }),
    { policy: PATIENCE, signal },
  ).catch((error: unknown) => {
    if (!(error instanceof BrokerError) || error.code !== 'permission_denied') throw error;
    // The job itself will tell where data may not go.
    const hint = `Grant roles/storage.bucketViewer on gs://${bucket} to the identity "${identity}" to have it checked.`;
    log.warn('the location of the staging bucket is not checked', { message: error.message, hint });
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
  log.warn('staging', { message, hint });
  return `${message}. ${hint}`;
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
