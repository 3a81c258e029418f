import {
  BrokerError,
  type ByteStream,
  type Check,
  type Content,
  type Estimate,
  type Item,
  type PluginContext,
  type Refusal,
  type Sink,
  type StoredObject,
  type WriteOptions,
  type Written,
} from '../../core/api/index.ts';
import { GoogleClient } from '../google/http.ts';
import { GcsListing } from '../google/storage/listing.ts';
import { refSchema } from '../google/storage/object.ts';
import { GcsReader } from '../google/storage/reader.ts';
import { removeObject } from '../google/storage/remove.ts';
import { mayReceiveTokens } from './config.ts';
import { checkSink } from './sink-check.ts';
import type { GcsSinkConfig } from './sink-config.ts';
import { gcsLosses, gcsMetadata, gcsRefusal, storedAs } from './sink-objects.ts';
import { Session, type Target, uploadAtOnce } from './upload.ts';

const WRITE_SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write';
/** Of an upload in chunks each but the last is a multiple of this. */
const QUANTUM = 256 * 1024;
const CHUNK = 32 * QUANTUM;
/** US dollars: an insert of class A. Source: https://cloud.google.com/storage/pricing */
const USD = 0.005 / 1000;

/** Objects of a bucket, each verified by Cloud Storage before a reader can see it. */
export class GcsSink implements Sink {
  readonly location: string;
  readonly #config: GcsSinkConfig;
  readonly #client: GoogleClient;
  readonly #listing: GcsListing;
  readonly #reader: GcsReader;
  readonly #deletes: boolean;

  constructor(config: GcsSinkConfig, context: PluginContext) {
    const { bucket, prefix, identity } = config;
    this.location = `gs://${bucket}/${prefix}`;
    this.#config = config;
    this.#deletes = context.use?.deletes === true;
    const token = context.credentials.gcp(identity, {
      scopes: [WRITE_SCOPE],
      within: [{ bucket, prefix, deletes: true }],
    });
    const endpoint = config.endpoint ?? context.endpoints.gcs(context.credentials.universeDomain(identity));
    if (config.endpoint !== undefined && token !== undefined && !mayReceiveTokens(endpoint))
      throw new BrokerError(
        'invalid_config',
        `endpoint ${new URL(endpoint).host} would receive the tokens of identity "${identity}"`,
        { hint: 'Use an identity of kind anonymous with this endpoint, or a googleapis.com endpoint.' },
      );
    this.#client = new GoogleClient({ endpoint, token, now: context.now, transport: context.transport() });
    this.#listing = new GcsListing(this.#client, config);
    this.#reader = new GcsReader(this.#client, config, this.#listing);
  }

  refuses(item: Item): Refusal | undefined {
    return gcsRefusal(item, this.#config);
  }

  async *list({ after, signal }: { signal: AbortSignal; after?: string }): AsyncGenerator<StoredObject> {
    for await (const item of this.#listing.items(after, signal)) yield storedAs(item);
  }

  async stat(key: string, { signal }: { signal: AbortSignal }): Promise<StoredObject | undefined> {
    const item = await this.#listing.one(this.#config.prefix + key, signal);
    return item && storedAs(item);
  }

  async write(item: Item, content: Content, options: WriteOptions): Promise<Written> {
    const target = this.#target(item, options.expected);
    using lease = await options.memory.lease(Math.min(CHUNK, item.size ?? CHUNK, options.memory.total), options.signal);
    const stream = await content.open();
    const resource = await this.#sent(item, stream, target, lease.buffer, options);
    return this.#written(item, resource, stream.crc32c());
  }

  /** What fits into the buffer goes at once, all else in chunks. A chunk is sent when it is known whether it is the last. */
  async #sent(
    item: Item,
    stream: Awaited<ReturnType<Content['open']>>,
    target: Target,
    buffer: Buffer,
    { signal }: WriteOptions,
  ): Promise<unknown> {
    // What fits into it as a whole needs no rounding.
    const fits = item.size !== undefined && item.size <= buffer.length;
    const limit = fits || buffer.length < QUANTUM ? buffer.length : buffer.length - (buffer.length % QUANTUM);
    let session: Session | undefined;
    let [filled, sent] = [0, 0];
    try {
      for await (const piece of stream) {
        for (let at = 0; at < piece.byteLength; ) {
          if (filled === limit) {
            session ??= await Session.begin(this.#client, target, signal);
            await session.send(buffer.subarray(0, filled), sent, undefined, signal);
            sent += filled;
            filled = 0;
          }
          const part = piece.subarray(at, at + limit - filled);
          buffer.set(part, filled);
          filled += part.byteLength;
          at += part.byteLength;
        }
      }
      const crc32c = stream.crc32c();
      const rest = buffer.subarray(0, filled);
      if (session !== undefined) return await session.send(rest, sent, { size: sent + filled, crc32c }, signal);
      const again = (): Promise<unknown> => this.#ours(item, crc32c, signal);
      return await uploadAtOnce(this.#client, target, rest, crc32c, signal, again);
    } catch (error) {
      await session?.abandon();
      throw error;
    }
  }

  /** After an answer that was lost: the object that is there, if it has these bytes. */
  async #ours(item: Item, crc32c: string, signal: AbortSignal): Promise<unknown> {
    const now = await this.#listing.one(this.#config.prefix + item.key, signal);
    if (now?.checksums?.crc32c !== crc32c) return undefined;
    const { name, generation } = refSchema.parse(now.ref);
    return { name, generation, size: String(now.size), crc32c, md5Hash: now.checksums.md5 };
  }

  #written(item: Item, resource: unknown, crc32c: string): Written {
    const stored = this.#listing.item(resource);
    const { name, generation } = refSchema.parse(stored.ref);
    const url = `gs://${this.#config.bucket}/${name}`;
    if (stored.checksums?.crc32c !== crc32c)
      throw new BrokerError('unverifiable', `${url}: Cloud Storage has confirmed no CRC32C, or another one`);
    return {
      location: url,
      size: stored.size ?? 0,
      checksums: stored.checksums,
      version: generation,
      notes: gcsLosses(item, this.#config),
    };
  }

  #target(item: Item, expected: WriteOptions['expected']): Target {
    const { bucket, prefix, identity, storageClass, kmsKeyName, userProject } = this.#config;
    const name = prefix + item.key;
    const { contentType = 'application/octet-stream' } = item.headers ?? {};
    const generation = expected === 'absent' ? '0' : expected?.revision;
    return {
      bucket,
      name,
      identity,
      url: `gs://${bucket}/${name}`,
      contentType,
      resource: {
        ...item.headers,
        contentType,
        ...(storageClass === undefined ? {} : { storageClass }),
        metadata: gcsMetadata(item, this.#config),
        // Compared when all is there; what else is known is told with the last chunk.
        ...(item.checksums?.crc32c === undefined ? {} : { crc32c: item.checksums.crc32c }),
      },
      query: {
        ...(generation === undefined ? {} : { ifGenerationMatch: generation }),
        ...(kmsKeyName === undefined ? {} : { kmsKeyName }),
        ...(userProject === undefined ? {} : { userProject }),
      },
    };
  }

  async read({ key, revision = '', size }: StoredObject, { signal }: { signal: AbortSignal }): Promise<ByteStream> {
    const name = this.#config.prefix + key;
    const item = {
      id: `gs://${this.#config.bucket}/${name}#${revision}`,
      key,
      size,
      ref: { name, generation: revision },
    };
    try {
      return await this.#reader.open(item, { signal });
    } catch (thrown) {
      if (!(thrown instanceof BrokerError) || !['source_gone', 'source_changed'].includes(thrown.code)) throw thrown;
      throw new BrokerError('conflict', thrown.message);
    }
  }

  async delete({ key, revision = '' }: StoredObject, { signal }: { signal: AbortSignal }): Promise<void> {
    const name = this.#config.prefix + key;
    const item = { id: `gs://${this.#config.bucket}/${name}`, key, ref: { name, generation: revision } };
    const removed = await removeObject(this.#client, this.#config, item, signal);
    if (removed === 'replaced') throw new BrokerError('conflict', `${item.id} was changed after it was listed`);
  }

  estimate({ size = 0 }: Item): Estimate {
    const chunks = Math.ceil(size / CHUNK);
    return chunks <= 1
      ? { requests: { 'storage.objects.insert': 1 }, reads: 1, usd: USD }
      : { requests: { 'storage.objects.insert': chunks + 1 }, reads: 1, usd: USD };
  }

  check({ signal }: { signal: AbortSignal }): Promise<readonly Check[]> {
    return checkSink(this.#client, this.#config, this.#listing, { signal, deletes: this.#deletes });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client[Symbol.dispose]();
  }
}
