import {
  BrokerError,
  type Check,
  compareKeys,
  defineSource,
  type Item,
  type ListOptions,
  type PluginContext,
  type Source,
  type StorageScope,
} from '../../core/api/index.ts';
import { GoogleClient } from '../google/http.ts';
import { GcsListing } from '../google/storage/listing.ts';
import { GcsReader } from '../google/storage/reader.ts';
import { checkBucket } from './check.ts';
import { type GcsConfig, gcsConfig, mayReceiveTokens } from './config.ts';

const READ_SCOPE = 'https://www.googleapis.com/auth/devstorage.read_only';

/** All that a source reads of its bucket. */
const placeOf = ({ bucket, prefix, object }: Pick<GcsConfig, 'bucket' | 'prefix' | 'object'>): StorageScope =>
  object === undefined ? { bucket, prefix } : { bucket, prefix: object, exact: true };

class GcsSource implements Source {
  readonly location: string;
  readonly ranges = true;
  readonly #config: GcsConfig;
  readonly #client: GoogleClient;
  readonly #listing: GcsListing;
  readonly #reader: GcsReader;

  constructor(config: GcsConfig, context: PluginContext) {
    this.location = `gs://${config.bucket}/${config.object ?? config.prefix}`;
    this.#config = config;
    const token = context.credentials.gcp(config.identity, {
      scopes: [READ_SCOPE],
      within: [placeOf(config)],
    });
    const endpoint = config.endpoint ?? context.endpoints.gcs(context.credentials.universeDomain(config.identity));
    if (config.endpoint !== undefined && token !== undefined && !mayReceiveTokens(endpoint)) {
      throw new BrokerError(
        'invalid_config',
        `endpoint ${new URL(endpoint).host} would receive the tokens of identity "${config.identity}"`,
        {
          hint: 'Use an identity of kind anonymous with this endpoint, or a googleapis.com endpoint.',
        },
      );
    }
    if (config.object !== undefined && config.prefix !== '') {
      throw new BrokerError('invalid_config', 'object and prefix cannot be used together', {
        hint: 'Name the object in full and leave prefix out.',
      });
    }
    this.#client = new GoogleClient({ endpoint, token, now: context.now });
    this.#listing = new GcsListing(this.#client, config);
    this.#reader = new GcsReader(this.#client, config, this.#listing);
  }

  async *list({ after, only, signal }: ListOptions): AsyncGenerator<Item> {
    const { object, prefix, matchGlob } = this.#config;
    // What a glob of Cloud Storage selects, only its listing tells.
    if (object === undefined && only !== undefined && 'key' in only && matchGlob === undefined) {
      const item = this.#listing.selects(only.key) ? await this.#listing.one(prefix + only.key, signal) : undefined;
      if (item !== undefined) yield item;
      return;
    }
    if (object === undefined) {
      const below = only !== undefined && 'key' in only ? { prefix: only.key } : only;
      return yield* this.#listing.items(after, signal, { only: below });
    }
    if (after !== undefined && compareKeys(object, after) <= 0) return;
    const item = await this.#listing.one(object, signal);
    // Somebody asks for it because it was there a moment ago; else it is a mistake in the pipeline.
    if (item === undefined && only !== undefined) return;
    if (item === undefined) {
      throw new BrokerError('invalid_config', `gs://${this.#config.bucket}/${object} does not exist`, {
        hint: 'Correct object in the source.',
      });
    }
    yield item;
  }

  keyOf(url: string): string | undefined {
    const { bucket, prefix, object } = this.#config;
    const base = `gs://${bucket}/`;
    if (!url.startsWith(base + (object ?? prefix))) return undefined;
    const name = url.slice(base.length);
    if (object !== undefined) return name === object ? name : undefined;
    return name === prefix ? undefined : name.slice(prefix.length);
  }

  open(item: Item, { range, signal }: Parameters<Source['open']>[1]): ReturnType<Source['open']> {
    return this.#reader.open(item, range, signal);
  }

  async check({ signal }: { signal: AbortSignal }): Promise<readonly Check[]> {
    return checkBucket(this.#client, this.#config, this.#listing, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client[Symbol.dispose]();
  }
}

export const gcs = defineSource({
  name: 'gcs',
  summary: 'Objects of a Google Cloud Storage bucket, read as they are stored and pinned to their generation.',
  config: gcsConfig,
  identities: ['gcp', 'anonymous'],
  grants: ({ identity, bucket, prefix, object, userProject }) => [
    {
      cloud: 'gcp',
      identity,
      role: 'roles/storage.objectViewer',
      on: placeOf({ bucket, prefix, object }),
      reason: `list and read gs://${bucket}/${object ?? prefix}`,
    },
    ...(userProject === undefined
      ? []
      : [
          {
            cloud: 'gcp' as const,
            identity,
            role: 'roles/serviceusage.serviceUsageConsumer',
            on: { project: userProject },
            reason: `let ${userProject} pay for reading`,
          },
        ]),
  ],
  create: (config, context) => new GcsSource(config, context),
});
