import {
  BrokerError,
  type Check,
  compareKeys,
  defineSource,
  type Estimate,
  type Item,
  type ListOptions,
  type OpenOptions,
  type PluginContext,
  type Source,
  type StorageScope,
  type Use,
} from '../../core/api/index.ts';
import { GoogleClient } from '../google/http.ts';
import { GcsListing } from '../google/storage/listing.ts';
import { refSchema } from '../google/storage/object.ts';
import { GcsReader } from '../google/storage/reader.ts';
import { removeObject } from '../google/storage/remove.ts';
import { checkBucket, mayDelete } from './check.ts';
import { type GcsConfig, gcsConfig, mayReceiveTokens } from './config.ts';
import { isInCloud, Manifest, manifestPlace } from './manifest.ts';

// Of its own, so that a bundle holds only what its pipeline uses.
export { gcsSink } from './as-sink.ts';

const READ_SCOPE = 'https://www.googleapis.com/auth/devstorage.read_only';
const WRITE_SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write';

/** US dollars. Source: https://cloud.google.com/storage/pricing-examples (Standard, to the Americas and EMEA, first TiB) */
const USD = { read: 0.0004 / 1000, byte: 0.12 / 2 ** 30 };

/** All that a source reads of its bucket. */
const placeOf = ({ bucket, prefix, object }: Pick<GcsConfig, 'bucket' | 'prefix' | 'object'>): StorageScope =>
  object === undefined ? { bucket, prefix } : { bucket, prefix: object, exact: true };

function placesOf(config: GcsConfig, use: Use = {}): readonly StorageScope[] {
  const place = { ...placeOf(config), ...(use.deletes === true ? { deletes: true as const } : {}) };
  return isInCloud(config.manifest) ? [place, { ...manifestPlace(config.manifest), exact: true }] : [place];
}

class GcsSource implements Source {
  readonly location: string;
  readonly ranges = true;
  readonly portable = true;
  readonly seeks: boolean;
  readonly #config: GcsConfig;
  readonly #client: GoogleClient;
  readonly #listing: GcsListing;
  readonly #reader: GcsReader;
  readonly #manifest: Manifest | undefined;
  readonly #deletes: boolean;

  constructor(config: GcsConfig, context: PluginContext) {
    this.location = `gs://${config.bucket}/${config.object ?? config.prefix}`;
    this.#config = config;
    this.seeks = config.manifest === undefined && config.object === undefined;
    this.#deletes = context.use?.deletes === true;
    const token = context.credentials.gcp(config.identity, {
      scopes: [context.use?.deletes === true ? WRITE_SCOPE : READ_SCOPE],
      within: [...placesOf(config, context.use)],
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
    if (config.manifest !== undefined && (config.object ?? config.matchGlob) !== undefined) {
      throw new BrokerError('invalid_config', 'manifest cannot be used together with object or matchGlob', {
        hint: 'Leave them out: the list says what is wanted.',
      });
    }
    if (config.object !== undefined && config.prefix !== '') {
      throw new BrokerError('invalid_config', 'object and prefix cannot be used together', {
        hint: 'Name the object in full and leave prefix out.',
      });
    }
    this.#client = new GoogleClient({ endpoint, token, now: context.now, transport: context.transport() });
    this.#listing = new GcsListing(this.#client, config);
    this.#reader = new GcsReader(this.#client, config, this.#listing);
    this.#manifest =
      config.manifest === undefined
        ? undefined
        : new Manifest(config.manifest, {
            config,
            client: this.#client,
            listing: this.#listing,
            baseDir: context.baseDir,
          });
  }

  list({ after, only, signal }: ListOptions): AsyncIterable<Item> {
    const { object, matchGlob } = this.#config;
    if (this.#manifest !== undefined) return this.#manifest.items(after, only, signal);
    if (object !== undefined) return this.#object(object, { after, only, signal });
    // What a glob of Cloud Storage selects, only its listing tells.
    if (only !== undefined && 'key' in only && matchGlob === undefined) return this.#one(only.key, signal);
    const below = only !== undefined && 'key' in only ? { prefix: only.key } : only;
    return this.#listing.items(after, signal, { only: below });
  }

  async *#one(key: string, signal: AbortSignal): AsyncGenerator<Item> {
    if (!this.#listing.selects(key)) return;
    const item = await this.#listing.one(this.#config.prefix + key, signal);
    if (item !== undefined) yield item;
  }

  async *#object(
    object: string,
    { after, only, signal }: { after: string | undefined; only: ListOptions['only']; signal: AbortSignal },
  ): AsyncGenerator<Item> {
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

  open(item: Item, options: OpenOptions): ReturnType<Source['open']> {
    return this.#reader.open(item, options);
  }

  selects(key: string): boolean {
    const { object, matchGlob, manifest } = this.#config;
    // What a list or a glob of Cloud Storage leaves out may be there all the same.
    if (matchGlob !== undefined || manifest !== undefined) return false;
    return object === undefined ? this.#listing.selects(key) : key === object;
  }

  async stat(item: Item, { signal }: { signal: AbortSignal }): Promise<Item | undefined> {
    const { name, generation, pinned } = refSchema.parse(item.ref);
    const found = await this.#listing.one(name, signal, pinned && generation);
    return found && pinned ? { ...found, ref: { name, generation, pinned } } : found;
  }

  async remove(item: Item, { signal }: { signal: AbortSignal }): Promise<void> {
    const { name, pinned } = refSchema.parse(item.ref);
    // Deleting is about the live version; without one there is nothing to tell a pinned one from what is gone.
    if (pinned && (await this.#listing.one(name, signal))?.id !== item.id)
      throw new BrokerError('source_changed', `${item.id} is not the current version, and stays`);
    const removed = await removeObject(this.#client, this.#config, item, signal);
    if (removed === 'replaced') throw new BrokerError('source_changed', `${item.id} was replaced, and stays`);
  }

  estimate({ size = 0 }: Item, reads: number): Estimate {
    return { requests: { 'storage.objects.get': reads }, usd: reads * USD.read + size * USD.byte };
  }

  async check({ signal }: { signal: AbortSignal }): Promise<readonly Check[]> {
    const checks = await checkBucket(this.#client, this.#config, this.#listing, signal);
    return this.#deletes ? [...checks, await mayDelete(this.#client, this.#config, signal)] : checks;
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
  localFiles: ({ manifest }) => (manifest === undefined || isInCloud(manifest) ? [] : [manifest]),
  grants: ({ identity, bucket, prefix, object, userProject, manifest }, use) => [
    {
      cloud: 'gcp',
      identity,
      role: use?.deletes === true ? 'roles/storage.objectUser' : 'roles/storage.objectViewer',
      on: placeOf({ bucket, prefix, object }),
      reason: `list${use?.deletes === true ? ', read and delete' : ' and read'} gs://${bucket}/${object ?? prefix}`,
    },
    ...(isInCloud(manifest)
      ? [
          {
            cloud: 'gcp' as const,
            identity,
            role: 'roles/storage.objectViewer',
            on: { ...manifestPlace(manifest), exact: true as const },
            reason: `read ${manifest}`,
          },
        ]
      : []),
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
