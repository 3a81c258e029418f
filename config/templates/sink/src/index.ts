import {
  BrokerError,
  type Content,
  defineSink,
  endpointUrl,
  type HttpResponse,
  type Item,
  type Sink,
  type StoredObject,
  type Transport,
  type WriteOptions,
  type Written,
  z,
} from 'isthmus';

const CHUNK = 1024 * 1024;
/** What is given up must be tidied up although the run's own signal may have fired. */
const CLOSING_MS = 10_000;

/** What the store says of a file. */
const fileSchema = z.object({ key: z.string(), size: z.number(), etag: z.string(), crc32c: z.string() });
const pageSchema = z.object({ files: z.array(fileSchema), more: z.boolean() });

export const __EXPORT__ = defineSink({
  name: '__NAME__',
  summary: 'Files of a small web API.',
  stability: 'experimental',
  // One schema: the type of `config`, its validation with line and column, the editor's help, the option table.
  config: z.strictObject({ url: endpointUrl().describe('Where the API is: https://files.example.com') }),
  // Touches no network: `isthmus validate` works offline.
  create: ({ url }, context) => new FilesSink(url, context.transport()),
});

class FilesSink implements Sink {
  readonly location: string;
  readonly #url: string;
  readonly #transport: Transport;

  constructor(url: string, transport: Transport) {
    this.location = `${url}/`;
    this.#url = url;
    this.#transport = transport;
  }

  /** In UTF-8 byte order: the engine walks it beside the listing of the source. */
  async *list({ after, signal }: { signal: AbortSignal; after?: string }): AsyncGenerator<StoredObject> {
    for (let last = after, more = true; more; ) {
      const query = last === undefined ? '' : `?after=${encodeURIComponent(last)}`;
      const answer = await this.#send('GET', `/files${query}`, { signal });
      const page = pageSchema.parse(await jsonOf(expected(answer, `list ${this.location}`)));
      for (const file of page.files) {
        yield storedAs(file);
        last = file.key;
      }
      more = page.more;
    }
  }

  async stat(key: string, { signal }: { signal: AbortSignal }): Promise<StoredObject | undefined> {
    const answer = await this.#send('GET', `/about/${encodeURIComponent(key)}`, { signal });
    if (answer.status === 404) return void answer.body.discard();
    return storedAs(fileSchema.parse(await jsonOf(expected(answer, `look at ${this.location}${key}`))));
  }

  /** All or nothing: chunk by chunk to an upload that no reader sees, which then takes the place of the file. */
  async write(item: Item, content: Content, options: WriteOptions): Promise<Written> {
    const { signal, memory } = options;
    const doing = `write ${this.location}${item.key}`;
    const begun = z.object({ id: z.string() });
    const { id } = begun.parse(await jsonOf(expected(await this.#send('POST', '/uploads', { signal }), doing)));
    try {
      // A bounded buffer, from the memory that the pipeline allows.
      using lease = await memory.lease(CHUNK, signal);
      const stream = await content.open();
      let [filled, size] = [0, 0];
      const flush = async (): Promise<void> => {
        const body = lease.buffer.subarray(0, filled);
        expected(await this.#send('PUT', `/uploads/${id}`, { signal, body }), doing).body.discard();
        size += filled;
        filled = 0;
      };
      for await (const chunk of stream)
        for (let at = 0; at < chunk.byteLength; ) {
          const part = chunk.subarray(at, at + CHUNK - filled);
          lease.buffer.set(part, filled);
          filled += part.byteLength;
          at += part.byteLength;
          if (filled === CHUNK) await flush();
        }
      if (filled > 0) await flush();
      // The store compares what it has with the checksum, and whether the file is as the plan saw it.
      return await this.#commit(id, item, { size, crc32c: stream.crc32c() }, options);
    } catch (error) {
      const closing = AbortSignal.timeout(CLOSING_MS);
      await this.#send('DELETE', `/uploads/${id}`, { signal: closing }).then(
        ({ body }) => body.discard(),
        () => undefined,
      );
      throw error;
    }
  }

  async #commit(
    id: string,
    { key }: Item,
    { size, crc32c }: { size: number; crc32c: string },
    { signal, expected: seen }: WriteOptions,
  ): Promise<Written> {
    const headers: Record<string, string> = { 'x-crc32c': crc32c };
    if (seen === 'absent') headers['if-none-match'] = '*';
    else if (seen?.revision !== undefined) headers['if-match'] = seen.revision;
    const path = `/uploads/${id}/commit?key=${encodeURIComponent(key)}`;
    const answer = await this.#send('POST', path, { signal, headers });
    const stored = fileSchema.parse(await jsonOf(expected(answer, `write ${this.location}${key}`)));
    if (stored.crc32c !== crc32c || stored.size !== size)
      throw new BrokerError('unverifiable', `${this.location}${key}: the store confirmed another checksum or size`);
    return { location: `${this.location}${key}`, size, checksums: { crc32c } };
  }

  /** Exactly the revision that was seen, or `conflict`. */
  async delete({ key, revision = '' }: StoredObject, { signal }: { signal: AbortSignal }): Promise<void> {
    const path = `/files/${encodeURIComponent(key)}`;
    const answer = await this.#send('DELETE', path, { signal, headers: { 'if-match': revision } });
    expected(answer, `delete ${this.location}${key}`).body.discard();
  }

  #send(
    method: string,
    path: string,
    rest: { signal: AbortSignal; headers?: Readonly<Record<string, string>>; body?: Uint8Array },
  ): Promise<HttpResponse> {
    return this.#transport.request({ method, origin: this.#url, path, headers: {}, ...rest });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#transport[Symbol.dispose]();
  }
}

const storedAs = ({ key, size, etag, crc32c }: z.output<typeof fileSchema>): StoredObject => ({
  key,
  size,
  checksums: { crc32c },
  complete: true,
  revision: etag,
});

/** The code of an error says what to do next: try again, give up this item, end the run. */
function expected(answer: HttpResponse, doing: string): HttpResponse {
  const { status } = answer;
  if (status < 300) return answer;
  answer.body.discard();
  const what = `${doing}: HTTP ${status}`;
  if (status === 412) throw new BrokerError('conflict', what);
  if (status === 422) throw new BrokerError('checksum_mismatch', what);
  if (status === 429) throw new BrokerError('throttled', what);
  if (status >= 500) throw new BrokerError('unavailable', what);
  if (status === 401 || status === 403) throw new BrokerError('permission_denied', what);
  throw new BrokerError('invalid_request', what);
}

async function jsonOf({ body }: HttpResponse): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(Buffer.from(chunk));
  return JSON.parse(Buffer.concat(chunks).toString());
}
