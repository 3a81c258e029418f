import { createHash } from 'node:crypto';
import {
  ahead,
  asBrokerError,
  BrokerError,
  type ByteStream,
  type Check,
  checked,
  compareKeys,
  type HttpResponse,
  type Item,
  type ListOptions,
  type OpenOptions,
  type PluginContext,
  refusalOf,
  resumedRead,
  retry,
  type Source,
  streamOf,
  type Transport,
  z,
} from '../../core/api/index.ts';
import { type Entry, entryOf, type HttpConfig } from './config.ts';
import { fetched, httpFailure, nameOf } from './fetch.ts';
import { published } from './published.ts';

/** Asked at once. Servers of others may think more of it an attack. */
const AT_ONCE = 8;
const RETRIES = { attempts: 4, baseDelayMs: 200, maxDelayMs: 20_000 };

const refSchema = z.object({
  url: z.string(),
  key: z.string(),
  etag: z.string().exactOptional(),
  /** Where there is no ETag. */
  modified: z.string().exactOptional(),
  sha256: z.string().exactOptional(),
});

/** What lies at a list of URLs. */
export class HttpSource implements Source {
  readonly location: string;
  readonly ranges = true;
  readonly portable = true;
  readonly #entries: readonly Entry[];
  readonly #transport: Transport;

  constructor({ urls }: HttpConfig, context: PluginContext) {
    this.#entries = urls.map(entryOf).sort((one, other) => compareKeys(one.key, other.key));
    const hosts = new Set(this.#entries.map(({ url }) => new URL(url).host));
    this.location = hosts.size === 1 ? `https://${[...hosts][0]}/` : `${hosts.size} hosts`;
    this.#transport = context.transport();
  }

  list({ after, only, signal }: ListOptions): AsyncIterable<Item> {
    const wanted = this.#entries.filter(
      ({ key }) =>
        (after === undefined || compareKeys(key, after) > 0) &&
        (only === undefined || ('key' in only ? key === only.key : key.startsWith(only.prefix))),
    );
    return ahead(each(wanted, signal), AT_ONCE, (entry) => this.#listed(entry, signal));
  }

  /** What cannot be had is refused by name: it says nothing of the others. */
  async #listed(entry: Entry, signal: AbortSignal): Promise<Item> {
    try {
      return await this.#look(entry, signal);
    } catch (thrown) {
      const error = asBrokerError(thrown);
      // One server that answers nonsense says nothing of the others.
      if (error.code !== 'bad_response' && (error.next === 'run' || error.next === 'wait')) throw error;
      return {
        id: nameOf(entry.url),
        key: entry.key,
        problem: refusalOf(ofItem(error)),
        ref: { url: entry.url, key: entry.key },
      };
    }
  }

  async #look(entry: Entry, signal: AbortSignal): Promise<Item> {
    const { headers } = await this.#head(entry.url, signal);
    const told = published(headers);
    if (entry.sha256 !== undefined && told.sha256 !== undefined && told.sha256 !== entry.sha256)
      throw new BrokerError(
        'checksum_mismatch',
        `${nameOf(entry.url)}: the server publishes another SHA-256 than urls`,
      );
    const pinned = entry.md5 === undefined ? undefined : Buffer.from(entry.md5, 'hex').toString('base64');
    if (pinned !== undefined && told.checksums.md5 !== undefined && told.checksums.md5 !== pinned)
      throw new BrokerError('checksum_mismatch', `${nameOf(entry.url)}: the server publishes another MD5 than urls`);
    const sha256 = entry.sha256 ?? told.sha256;
    const hasVersion = (told.etag ?? told.modifiedAt) !== undefined;
    // Without either nothing tells that it is the same: each look is at another one.
    const version = told.etag ?? told.modifiedAt ?? `looked-at-${performance.timeOrigin + performance.now()}`;
    return {
      id: `${nameOf(entry.url)}#${version.replaceAll('"', '')}`,
      key: entry.key,
      // Some answer a HEAD with a length of nothing, whatever there is.
      ...(told.size === undefined || told.size === 0 ? {} : { size: told.size }),
      // What the pipeline names counts, whatever the server says besides.
      checksums: pinned === undefined ? told.checksums : { md5: pinned },
      ...(told.modifiedAt === undefined ? {} : { modifiedAt: told.modifiedAt }),
      headers: told.headers,
      // A SHA-256 is of all bytes; and what has no version, or a server without ranges, cannot be read in parts.
      ...(sha256 !== undefined || pinned !== undefined || !hasVersion || !told.ranges ? { whole: true } : {}),
      ...(hasVersion || sha256 !== undefined || pinned !== undefined ? {} : { versioned: false }),
      ref: {
        url: entry.url,
        key: entry.key,
        ...(told.etag === undefined ? {} : { etag: told.etag }),
        ...(told.etag === undefined && told.modifiedAt !== undefined ? { modified: told.modifiedAt } : {}),
        ...(sha256 === undefined ? {} : { sha256 }),
      },
    };
  }

  async #head(url: string, signal: AbortSignal): Promise<HttpResponse> {
    const look = async (): Promise<HttpResponse> => {
      const response = await fetched(this.#transport, url, { method: 'HEAD', signal });
      response.body.discard();
      if (response.status === 200) return response;
      // Some servers do not know HEAD; the head of a GET says the same.
      if (response.status !== 405 && response.status !== 501) throw httpFailure(url, response);
      const whole = await fetched(this.#transport, url, { method: 'GET', signal });
      whole.body.discard();
      if (whole.status !== 200) throw httpFailure(url, whole);
      return whole;
    };
    return retry(look, { policy: RETRIES, signal });
  }

  async open(item: Item, { range, signal }: OpenOptions): Promise<ByteStream> {
    const { url, etag, modified, sha256 } = refSchema.parse(item.ref);
    const hasVersion = etag !== undefined || modified !== undefined;
    const connect = async (start: number, end: number | undefined): Promise<HttpResponse> => {
      const whole = start === 0 && (end === undefined || end === item.size);
      const headers: Record<string, string> = whole
        ? {}
        : { range: `bytes=${start}-${end === undefined ? '' : end - 1}` };
      if (!whole && etag !== undefined) headers['if-range'] = etag;
      const response = await fetched(this.#transport, url, { method: 'GET', headers, signal });
      if (response.status !== 200 && response.status !== 206) {
        response.body.discard();
        throw response.status === 404 || response.status === 410
          ? new BrokerError('source_gone', `${item.id} does not exist any more`)
          : httpFailure(url, response);
      }
      const now = published(response.headers);
      const same = !hasVersion || (etag === undefined ? now.modifiedAt === modified : now.etag === etag);
      if (same) return response;
      response.body.discard();
      throw new BrokerError('source_changed', `${item.id} was replaced after it was listed`);
    };
    const end = range?.end ?? item.size;
    const start = range?.start ?? 0;
    const first = await connect(start, end).catch((thrown: unknown) => {
      throw ofItem(asBrokerError(thrown));
    });
    // Without a length there is nothing to resume to, and without a version nobody knows whether it is the same.
    const stream =
      end === undefined || (!hasVersion && range === undefined)
        ? first.body
        : end <= start
          ? emptied(first)
          : resumedRead({ item, range: { start, end }, first, connect: (at) => connect(at, end), signal });
    const read = ofItemStream(stream);
    return sha256 !== undefined && start === 0 && end === item.size ? hashed(read, item, sha256) : read;
  }

  async stat(item: Item, { signal }: { readonly signal: AbortSignal }): Promise<Item | undefined> {
    const { key } = refSchema.parse(item.ref);
    const entry = this.#entries.find((one) => one.key === key);
    if (entry === undefined) return undefined;
    return this.#look(entry, signal).catch((error: unknown) => {
      if (error instanceof BrokerError && error.code === 'source_gone') return undefined;
      throw error;
    });
  }

  async check({ signal }: { readonly signal: AbortSignal }): Promise<readonly Check[]> {
    const [first] = this.#entries;
    if (first === undefined) return [];
    return [await checked('read', async () => (await this.#look(first, signal)).id)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#transport[Symbol.dispose]();
  }
}

async function* each(entries: readonly Entry[], signal: AbortSignal): AsyncGenerator<Entry> {
  for (const entry of entries) {
    if (signal.aborted) throw new BrokerError('stopped', 'the run was stopped');
    yield entry;
  }
}

/** Nonsense of one server is the failure of what it serves. */
const ofItem = (error: BrokerError): BrokerError =>
  error.code === 'bad_response' ? new BrokerError('invalid_request', error.message) : error;

function ofItemStream(stream: ByteStream): ByteStream {
  const rethrow = (thrown: unknown): never => {
    throw thrown instanceof BrokerError ? ofItem(thrown) : thrown;
  };
  const { pump } = stream;
  return {
    async *[Symbol.asyncIterator]() {
      try {
        yield* stream;
      } catch (thrown) {
        rethrow(thrown);
      }
    },
    ...(pump === undefined ? {} : { pump: (take) => pump.call(stream, take).catch(rethrow) }),
  };
}

function emptied(response: HttpResponse): ByteStream {
  response.body.discard();
  return streamOf();
}

/** Holds one chunk back until the end has been compared: nobody stores what is not what was promised. */
function hashed(stream: ByteStream, item: Item, sha256: string): ByteStream {
  return {
    async *[Symbol.asyncIterator]() {
      const hash = createHash('sha256');
      let held: Uint8Array | undefined;
      for await (const chunk of stream) {
        if (held !== undefined) yield held;
        hash.update(chunk);
        held = Buffer.from(chunk);
      }
      const found = hash.digest('hex');
      if (found !== sha256)
        throw new BrokerError('checksum_mismatch', `${item.id}: read SHA-256 ${found}, published is ${sha256}`);
      if (held !== undefined) yield held;
    },
  };
}
