import { BrokerError, type Check, checked, type Item, z } from '../../core/api/index.ts';
import type { FailedAnswer, GoogleClient } from '../google/http.ts';
import { listFailure } from '../google/storage/errors.ts';
import type { GcsListing } from '../google/storage/listing.ts';
import type { GcsConfig } from './config.ts';

/** What a run does with the bucket. */
const NEEDED = ['storage.objects.list', 'storage.objects.get'] as const;
export const DELETE = 'storage.objects.delete';
export const CREATE = 'storage.objects.create';

/** Whose permissions are asked for. */
type Place = Pick<GcsConfig, 'bucket' | 'prefix' | 'userProject' | 'identity'>;

/** Lists one page, and reads the metadata of what it shows: the two things that a run needs, done and not asked about. */
export async function checkBucket(
  client: GoogleClient,
  config: GcsConfig,
  listing: GcsListing,
  signal: AbortSignal,
): Promise<readonly Check[]> {
  const { bucket, prefix, object } = config;
  if (object !== undefined) return [await checked('read', () => readOne(listing, object, signal))];
  let first: Item | undefined;
  const list = await checked('list', async () => {
    for await (const item of listing.items(undefined, signal, { pages: 1 })) {
      first = item;
      break;
    }
    return first === undefined
      ? `gs://${bucket}/${prefix}: nothing that is selected on its first page`
      : `gs://${bucket}/${prefix}`;
  });
  if (list.verdict === 'fail') return [list, ...(await whatIsMissing(client, config, signal))];
  if (first === undefined) return [list, await mayRead(client, config, signal)];
  const name = prefix + first.key;
  return [list, await checked('read', () => readOne(listing, name, signal))];
}

async function readOne(listing: GcsListing, name: string, signal: AbortSignal): Promise<string> {
  const item = await listing.one(name, signal);
  if (item === undefined) throw new BrokerError('source_gone', `${name} does not exist`);
  return `metadata of ${item.id}`;
}

/**
 * Where nothing is there to be read, the permission itself is asked for. A refusal is no proof: a token or a binding
 * that is limited to a prefix holds nothing on the bucket as a whole.
 */
async function mayRead(client: GoogleClient, config: GcsConfig, signal: AbortSignal): Promise<Check> {
  const held = await permissions(client, config, signal).catch((): readonly string[] => []);
  if (held.includes('storage.objects.get'))
    return { name: 'read', verdict: 'pass', detail: 'holds storage.objects.get' };
  const detail = `there is nothing to read, and storage.objects.get on gs://${config.bucket} could not be confirmed`;
  return { name: 'read', verdict: 'warn', detail, hint: 'Put an object there, or run `isthmus plan`.' };
}

/** For a pipeline that moves: asked for, since a delete that is tried deletes. */
export async function mayDelete(client: GoogleClient, config: GcsConfig, signal: AbortSignal): Promise<Check> {
  const held = await permissions(client, config, signal).catch((): readonly string[] => []);
  if (held.includes(DELETE)) return { name: 'delete', verdict: 'pass', detail: `holds ${DELETE}` };
  const detail = `${DELETE} on gs://${config.bucket} could not be confirmed; the pipeline moves`;
  return {
    name: 'delete',
    verdict: 'warn',
    detail,
    hint: 'Grant roles/storage.objectUser, as `isthmus auth setup` does.',
  };
}

async function whatIsMissing(client: GoogleClient, config: GcsConfig, signal: AbortSignal): Promise<readonly Check[]> {
  const held = await permissions(client, config, signal).catch(() => undefined);
  if (held === undefined) return [];
  const detail = NEEDED.map((permission) => `${held.includes(permission) ? 'holds' : 'lacks'} ${permission}`).join(
    ', ',
  );
  return [{ name: 'permissions', verdict: 'warn', detail: `the identity ${detail}` }];
}

const answerSchema = z.object({ permissions: z.array(z.string()).default([]) });

/** Source: https://cloud.google.com/storage/docs/json_api/v1/buckets/testIamPermissions */
export async function permissions(
  client: GoogleClient,
  config: Place,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const asked = [...NEEDED, CREATE, DELETE].map((permission) => `permissions=${permission}`).join('&');
  const payer = config.userProject === undefined ? '' : `&userProject=${encodeURIComponent(config.userProject)}`;
  const path = `/storage/v1/b/${config.bucket}/iam/testPermissions?${asked}${payer}`;
  const failure = (answer: FailedAnswer): BrokerError => listFailure(config, answer);
  return answerSchema.parse(await client.getJson({ path, signal }, failure)).permissions;
}
