import {
  type ByteStream,
  type Check,
  checked,
  type Estimate,
  type Item,
  Paged,
  type PluginContext,
  type Refusal,
  type Sink,
  type StoredObject,
  type TidyOptions,
} from '../../core/api/index.ts';
import { connectS3, type S3 } from './client.ts';
import type { S3Config } from './config.ts';
import { s3Failure } from './errors.ts';
import { s3Estimate } from './estimate.ts';
import { ORIGIN, s3Refusal } from './headers.ts';
import { isListed, statusOf } from './lookup.ts';
import { md5OfEtag } from './page.ts';
import { objectPages } from './pages.ts';
import { S3Pieces } from './pieces.ts';
import { probeDelete, probeWrite } from './probe.ts';
import { connectRest, type S3Rest } from './rest.ts';
import { abortUploads } from './tidy.ts';
import { S3Writer } from './writer.ts';

export class S3Sink implements Sink {
  readonly location: string;
  readonly #config: S3Config;
  readonly #context: PluginContext;
  readonly #writer: S3Writer;
  readonly pieces: S3Pieces;
  #rest: Promise<S3Rest> | undefined;
  #s3: Promise<S3> | undefined;

  constructor(config: S3Config, context: PluginContext) {
    this.location = `s3://${config.bucket}/${config.prefix}`;
    this.#config = config;
    this.#context = context;
    const connect = async () => ({ rest: await this.#connect(), sdk: () => this.#sdk() });
    const shared = { config, log: context.log, connect };
    this.#writer = new S3Writer({ ...shared, stat: (key, signal) => this.stat(key, { signal }) });
    this.pieces = new S3Pieces({ ...shared, writer: this.#writer });
  }

  refuses(item: Item): Refusal | undefined {
    return s3Refusal(item, this.#config);
  }

  list({ after, signal }: { signal: AbortSignal; after?: string }): AsyncIterable<StoredObject> {
    return new Paged(this.#pages(after, signal));
  }

  async *#pages(after: string | undefined, signal: AbortSignal): AsyncGenerator<Iterable<StoredObject>> {
    const place = { config: this.#config, location: this.location, prefix: this.#config.prefix };
    yield* objectPages(await this.#connect(), place, after, signal);
  }

  async stat(key: string, { signal }: { signal: AbortSignal }): Promise<StoredObject | undefined> {
    const rest = await this.#connect();
    const { bucket, prefix } = this.#config;
    try {
      const mode = { 'x-amz-checksum-mode': 'ENABLED' };
      const { headers } = await rest.done({ method: 'HEAD', key: prefix + key, headers: mode, signal });
      return storedIn(key, headers);
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      if (statusOf(error) === 403) {
        const there = await isListed(rest, prefix + key, signal).catch(() => true);
        if (!there) return undefined;
      }
      throw s3Failure(error, `look at s3://${bucket}/${prefix}${key}`, 's3:GetObject', this.#config);
    }
  }

  async read(object: StoredObject, { signal }: { signal: AbortSignal }): Promise<ByteStream> {
    const rest = await this.#connect();
    const { bucket, prefix } = this.#config;
    const headers: Record<string, string> = object.revision === undefined ? {} : { 'if-match': object.revision };
    const { body } = await rest
      .send({ method: 'GET', key: prefix + object.key, headers, signal })
      .catch((error: unknown) => {
        throw s3Failure(error, `read s3://${bucket}/${prefix}${object.key}`, 's3:GetObject', this.#config);
      });
    return body;
  }

  estimate(item: Item): Estimate {
    return s3Estimate(item, this.#config);
  }

  write(...[item, content, options]: Parameters<Sink['write']>): ReturnType<Sink['write']> {
    return this.#writer.write(item, content, options);
  }

  async delete(object: StoredObject, { signal }: { signal: AbortSignal }): Promise<void> {
    const rest = await this.#connect();
    const { bucket, prefix, conditional } = this.#config;
    const headers: Record<string, string> =
      conditional && object.revision !== undefined ? { 'if-match': object.revision } : {};
    await rest.done({ method: 'DELETE', key: prefix + object.key, headers, signal }).catch((error: unknown) => {
      // It is gone: by an earlier try whose answer was lost, or by somebody else.
      if (statusOf(error) === 404 && (error as Error).name !== 'NoSuchBucket') return;
      throw s3Failure(error, `delete s3://${bucket}/${prefix}${object.key}`, 's3:DeleteObject', this.#config);
    });
  }

  async tidy(key: string, options: TidyOptions): Promise<void> {
    await abortUploads(await this.#sdk(), this.#config, key, options);
  }

  async check({ signal }: { signal: AbortSignal }): Promise<readonly Check[]> {
    const list = await checked('list', async () => {
      for await (const _ of this.list({ signal })) break;
      return this.location;
    });
    // Where not even the listing works, a second refusal says nothing new.
    if (list.verdict === 'fail' && list.code !== 'permission_denied') return [list];
    const write = await checked('write', () => probeWrite(this.#config, () => this.#connect(), signal));
    if (this.#context.use?.deletes !== true) return [list, write];
    return [list, write, await checked('delete', () => probeDelete(this.#config, () => this.#connect(), signal))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const [rest, s3] = await Promise.all([this.#rest?.catch(() => undefined), this.#s3?.catch(() => undefined)]);
    rest?.[Symbol.dispose]();
    s3?.client.destroy();
  }

  #connect(): Promise<S3Rest> {
    this.#rest ??= connectRest(this.#config, this.#context);
    return this.#rest;
  }

  #sdk(): Promise<S3> {
    this.#s3 ??= connectS3(this.#config, this.#context);
    return this.#s3;
  }
}

/** What the answer to a HEAD says of an object. */
function storedIn(key: string, headers: Readonly<Record<string, string>>): StoredObject {
  const { etag, 'x-amz-checksum-crc32c': crc32c, 'x-amz-checksum-type': type = 'FULL_OBJECT' } = headers;
  const isKms = headers['x-amz-server-side-encryption']?.startsWith('aws:kms') === true;
  const md5 = isKms ? undefined : md5OfEtag(etag);
  const modified = Date.parse(headers['last-modified'] ?? '');
  const origin = headers[`x-amz-meta-${ORIGIN}`];
  return {
    key,
    size: Number(headers['content-length'] ?? 0),
    checksums: {
      ...(crc32c !== undefined && type === 'FULL_OBJECT' ? { crc32c } : {}),
      ...(md5 === undefined ? {} : { md5 }),
    },
    complete: true,
    ...(etag === undefined ? {} : { revision: etag }),
    ...(Number.isNaN(modified) ? {} : { modifiedAt: new Date(modified).toISOString() }),
    ...(origin === undefined ? {} : { origin }),
  };
}
