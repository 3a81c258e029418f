import { BrokerError, type Item, type RetryPolicy, retry } from '../../../core/api/index.ts';
import type { GoogleClient } from '../http.ts';
import { readFailure } from './errors.ts';
import { refSchema } from './object.ts';
import type { StoragePlace } from './place.ts';

const PATIENCE: RetryPolicy = { attempts: 6, baseDelayMs: 200, maxDelayMs: 20_000 };

/**
 * Deletes an object in the very version that was listed.
 *
 * @returns `replaced` when it is another one now, which stays; one that is gone is deleted.
 * Source: https://cloud.google.com/storage/docs/json_api/v1/objects/delete
 */
export async function removeObject(
  client: GoogleClient,
  place: Pick<StoragePlace, 'bucket' | 'prefix' | 'identity' | 'userProject'>,
  item: Item,
  signal: AbortSignal,
): Promise<'deleted' | 'replaced'> {
  const { name, generation } = refSchema.parse(item.ref);
  const payer = place.userProject === undefined ? '' : `&userProject=${encodeURIComponent(place.userProject)}`;
  const path = `/storage/v1/b/${place.bucket}/o/${encodeURIComponent(name)}?ifGenerationMatch=${generation}${payer}`;
  const send = async (): Promise<'deleted' | 'replaced'> => {
    const response = await client.get({ method: 'DELETE', path, signal });
    if ([200, 204, 404, 412].includes(response.status)) {
      response.body.discard();
      return response.status === 412 ? 'replaced' : 'deleted';
    }
    const error = readFailure(`delete ${item.id}`, place, await client.failedAnswer(response));
    throw error.code === 'permission_denied'
      ? new BrokerError('permission_denied', error.message, {
          hint: `Grant roles/storage.objectUser on gs://${place.bucket} to the identity "${place.identity}", and set no retention policy or hold on it.`,
        })
      : error;
  };
  return retry(send, { policy: PATIENCE, signal });
}
