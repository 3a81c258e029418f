import { AnonymousCredential, type BlobItem, ContainerClient, RestError } from '@azure/storage-blob';
import {
  asBrokerError,
  BrokerError,
  type ByteStream,
  type ContentHeaders,
  compareKeys,
  type Item,
  type ListOptions,
  type OpenOptions,
  type PluginContext,
  type Source,
  streamOf,
  z,
} from 'isthmus';
import { keylessCredential } from './keyless.ts';

export interface AzureBlobConfig {
  readonly account: string;
  readonly container: string;
  readonly prefix: string;
  readonly tenantId?: string | undefined;
  readonly clientId?: string | undefined;
  readonly identity?: string | undefined;
  readonly endpoint?: string | undefined;
}

const refSchema = z.object({ name: z.string(), etag: z.string() });

/** Blobs of a container, each read as it was listed. Source: https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api */
export class AzureBlobSource implements Source {
  readonly location: string;
  readonly ranges = true;
  readonly portable = true;
  readonly #client: ContainerClient;
  readonly #prefix: string;

  constructor(config: AzureBlobConfig, context: PluginContext) {
    const { account, container, prefix, tenantId, clientId, identity, endpoint } = config;
    this.location = `https://${account}.blob.core.windows.net/${container}/${prefix}`;
    this.#prefix = prefix;
    const base = endpoint === undefined ? `https://${account}.blob.core.windows.net` : `${endpoint}/${account}`;
    const credential =
      tenantId === undefined || clientId === undefined
        ? new AnonymousCredential()
        : keylessCredential(tenantId, clientId, identity, context);
    this.#client = new ContainerClient(`${base}/${container}`, credential);
  }

  /** Azure can go on only where a page ended, so what comes before is passed over. */
  async *list({ after, only, signal }: ListOptions): AsyncGenerator<Item> {
    const below = only === undefined ? '' : 'key' in only ? only.key : only.prefix;
    const options = { prefix: this.#prefix + below, includeMetadata: true, abortSignal: signal };
    try {
      signal.throwIfAborted();
      for await (const blob of this.#client.listBlobsFlat(options)) {
        const item = this.#item(blob);
        if (after === undefined || compareKeys(item.key, after) > 0) yield item;
      }
    } catch (error) {
      throw failure(error, `list ${this.location}`, 'run');
    }
  }

  #item({ name, properties, metadata }: BlobItem): Item {
    const { contentLength = 0, contentMD5, lastModified, accessTier } = properties;
    const etag = quoted(properties.etag);
    return {
      id: `${this.location}${name.slice(this.#prefix.length)}#${etag.replaceAll('"', '')}`,
      key: name.slice(this.#prefix.length),
      size: contentLength,
      checksums: contentMD5 === undefined ? {} : { md5: Buffer.from(contentMD5).toString('base64') },
      modifiedAt: lastModified.toISOString(),
      headers: headersOf(properties),
      ...(metadata === undefined || Object.keys(metadata).length === 0 ? {} : { metadata }),
      ...(accessTier === undefined ? {} : { storageClass: accessTier }),
      ref: { name, etag },
    };
  }

  async open(item: Item, { range, signal }: OpenOptions): Promise<ByteStream> {
    const { name, etag } = refSchema.parse(item.ref);
    const { start, end } = range ?? { start: 0, end: item.size ?? 0 };
    const blob = this.#client.getBlobClient(name);
    try {
      signal.throwIfAborted();
      const conditions = { ifMatch: etag };
      if (end <= start) {
        // Also of an empty blob it must be known whether it is still there.
        await blob.getProperties({ conditions, abortSignal: signal });
        return streamOf();
      }
      const answer = await blob.download(start, end - start, { conditions, abortSignal: signal });
      const { readableStreamBody: body } = answer;
      if (body === undefined) throw new BrokerError('bad_response', `read ${item.id}: no body`);
      return bytesOf(body as AsyncIterable<Uint8Array>, item);
    } catch (error) {
      // To a condition on what is not there Azure answers as to one that does not hold.
      const gone = error instanceof RestError && error.statusCode === 412 && !(await this.stat(item, { signal }));
      if (gone) throw new BrokerError('source_gone', `${item.id} was deleted after it was listed`);
      throw failure(error, `read ${item.id}`, 'item');
    }
  }

  async stat(item: Item, { signal }: { readonly signal: AbortSignal }): Promise<Item | undefined> {
    const { name } = refSchema.parse(item.ref);
    try {
      const now = await this.#client.getBlobClient(name).getProperties({ abortSignal: signal });
      const { contentLength = 0, etag: found, contentMD5, lastModified = new Date(0) } = now;
      const properties = { ...now, contentLength, etag: found ?? '', contentMD5, lastModified };
      return this.#item({ name, properties, metadata: now.metadata } as unknown as BlobItem);
    } catch (error) {
      if (error instanceof RestError && error.statusCode === 404) return undefined;
      throw failure(error, `look at ${item.id}`, 'item');
    }
  }
}

/** A body that breaks off is tried again by the engine, from the start of the range. */
async function* bytesOf(body: AsyncIterable<Uint8Array>, item: Item): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of body) yield chunk;
  } catch (error) {
    throw failure(error, `read ${item.id}`, 'item');
  }
}

const quoted = (etag: string): string => (etag.startsWith('"') ? etag : `"${etag}"`);

function headersOf(properties: BlobItem['properties']): ContentHeaders {
  const { contentType, contentEncoding, cacheControl, contentDisposition, contentLanguage } = properties;
  const all = { contentType, contentEncoding, cacheControl, contentDisposition, contentLanguage };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value)) as ContentHeaders;
}

/** What of an error may be shown: never the request, which holds a token. */
function failure(error: unknown, doing: string, of: 'run' | 'item'): BrokerError {
  if (error instanceof BrokerError) return error;
  if (!(error instanceof RestError)) return asBrokerError(error);
  const { statusCode: status, code } = error;
  const what = `${doing}: ${status === undefined ? '' : `HTTP ${status} `}${code ?? ''}`;
  if (status === undefined) return new BrokerError('network', what);
  if (status === 404 && of === 'run') return new BrokerError('bucket_missing', what);
  if (status === 404) return new BrokerError('source_gone', what);
  if (status === 412) return new BrokerError('source_changed', what);
  if (status === 429) return new BrokerError('throttled', what);
  if (status >= 500) return new BrokerError('unavailable', what);
  if (status === 401 || status === 403)
    return new BrokerError(of === 'run' ? 'unauthenticated' : 'permission_denied', what, {
      hint: 'Give the application the role Storage Blob Data Reader on the container.',
    });
  return new BrokerError('invalid_request', what);
}
