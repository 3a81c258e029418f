import { type Check, checked } from '../../core/api/index.ts';
import type { GoogleClient } from '../google/http.ts';
import type { GcsListing } from '../google/storage/listing.ts';
import { CREATE, DELETE, permissions } from './check.ts';
import type { GcsSinkConfig } from './sink-config.ts';

/** What a sink does with its bucket. Writing is asked for, since a name that may not be deleted would stay. */
export async function checkSink(
  client: GoogleClient,
  config: GcsSinkConfig,
  listing: GcsListing,
  { signal, deletes }: { readonly signal: AbortSignal; readonly deletes: boolean },
): Promise<readonly Check[]> {
  const { bucket, prefix } = config;
  const list = await checked('list', async () => {
    for await (const _ of listing.items(undefined, signal, { pages: 1 })) break;
    return `gs://${bucket}/${prefix}`;
  });
  if (list.verdict === 'fail' && list.code !== 'permission_denied' && list.code !== 'unauthenticated') return [list];
  const held = await permissions(client, config, signal).catch((): readonly string[] => []);
  const asked = (name: string, permission: string): Check => {
    if (held.includes(permission)) return { name, verdict: 'pass', detail: `holds ${permission}` };
    const detail = `${permission} on gs://${bucket} could not be confirmed`;
    return { name, verdict: 'warn', detail, hint: 'Grant roles/storage.objectUser, as `isthmus auth setup` does.' };
  };
  const write = asked('write', CREATE);
  return deletes ? [list, write, asked('delete', DELETE)] : [list, write];
}
