import {
  BrokerError,
  type ByteStream,
  defineSource,
  endpointUrl,
  type HttpResponse,
  type Item,
  type ListOptions,
  type OpenOptions,
  resumedRead,
  type Source,
  type Transport,
  z,
} from 'isthmus';

/** What the store says of a file. */
const fileSchema = z.object({ key: z.string(), size: z.number(), etag: z.string(), crc32c: z.string().optional() });
const pageSchema = z.object({ files: z.array(fileSchema), more: z.boolean() });
const refSchema = z.object({ etag: z.string() });

export const __EXPORT__ = defineSource({
  name: '__NAME__',
  summary: 'Files of a small web API.',
  stability: 'experimental',
  // One schema: the type of `config`, its validation with line and column, the editor's help, the option table.
  config: z.strictObject({ url: endpointUrl().describe('Where the API is: https://files.example.com') }),
  // Touches no network: `isthmus validate` works offline.
  create: ({ url }, context) => new FilesSource(url, context.transport()),
});

class FilesSource implements Source {
  readonly location: string;
  /** `open` takes ranges: large items are read in parallel. */
  readonly ranges = true;
  /** Any process can open its items from what they say of themselves: a run may be spread over many. */
  readonly portable = true;
  readonly #url: string;
  readonly #transport: Transport;

  constructor(url: string, transport: Transport) {
    this.location = `${url}/`;
    this.#url = url;
    this.#transport = transport;
  }

  /** Lazily, page by page, in UTF-8 byte order of the keys, and only what comes after `after`. */
  async *list({ after, signal }: ListOptions): AsyncGenerator<Item> {
    for (let last = after, more = true; more; ) {
      const query = last === undefined ? '' : `?after=${encodeURIComponent(last)}`;
      const page = pageSchema.parse(await this.#json(`/files${query}`, signal));
      for (const { key, size, etag, crc32c } of page.files) {
        // Same content, same id. `checksums` is what the copy is proved by.
        const id = `${this.location}${key}#${etag}`;
        yield { id, key, size, ref: { etag }, ...(crc32c === undefined ? {} : { checksums: { crc32c } }) };
        last = key;
      }
      more = page.more;
    }
  }

  /** The bytes of the very version that was listed, or an error that says what became of it. */
  async open(item: Item, { range, signal }: OpenOptions): Promise<ByteStream> {
    const { start, end } = range ?? { start: 0, end: item.size ?? 0 };
    const connect = (at: number): Promise<HttpResponse> => this.#read(item, at, end, signal);
    const first = await connect(start);
    // A connection that breaks is resumed at the next byte.
    return resumedRead({ item, range: { start, end }, first, connect, signal });
  }

  async #read(item: Item, start: number, end: number, signal: AbortSignal): Promise<HttpResponse> {
    const { etag } = refSchema.parse(item.ref);
    const whole = start === 0 && end === item.size;
    const headers = { 'if-match': etag, ...(whole ? {} : { range: `bytes=${start}-${end - 1}` }) };
    const response = await this.#get(`/files/${encodeURIComponent(item.key)}`, signal, headers);
    if (response.status === 200 || response.status === 206) return response;
    response.body.discard();
    // The code says what to do next: try again, give up this item, end the run.
    if (response.status === 404) throw new BrokerError('source_gone', `${item.id} was deleted after it was listed`);
    if (response.status === 412) throw new BrokerError('source_changed', `${item.id} was replaced after it was listed`);
    throw failure(`read ${item.id}`, response.status);
  }

  async #json(path: string, signal: AbortSignal): Promise<unknown> {
    const response = await this.#get(path, signal);
    if (response.status !== 200) {
      response.body.discard();
      throw failure(`list ${this.location}`, response.status);
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of response.body) chunks.push(Buffer.from(chunk));
    return JSON.parse(Buffer.concat(chunks).toString());
  }

  #get(path: string, signal: AbortSignal, headers: Readonly<Record<string, string>> = {}): Promise<HttpResponse> {
    return this.#transport.request({ method: 'GET', origin: this.#url, path, headers, signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#transport[Symbol.dispose]();
  }
}

function failure(doing: string, status: number): BrokerError {
  const what = `${doing}: HTTP ${status}`;
  if (status === 429) return new BrokerError('throttled', what);
  if (status >= 500) return new BrokerError('unavailable', what);
  if (status === 401 || status === 403) return new BrokerError('permission_denied', what);
  return new BrokerError('invalid_request', what);
}
