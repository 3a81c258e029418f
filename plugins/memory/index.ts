import {
  BrokerError,
  type ByteStream,
  type Content,
  compareKeys,
  defineSink,
  defineSource,
  type Item,
  type ListOptions,
  type Sink,
  type Source,
  type StoredObject,
  throwIfAborted,
  type WriteOptions,
  type Written,
  z,
} from '../../core/api/index.ts';

const CHUNK = 64 * 1024;

/** Items whose bytes are given in the pipeline; for tests and first steps. */
class MemorySource implements Source {
  readonly location = 'memory:';
  readonly ranges = true;
  readonly #items: Map<string, Buffer>;

  constructor(items: Readonly<Record<string, string>>) {
    const sorted = Object.entries(items).sort(([a], [b]) => compareKeys(a, b));
    this.#items = new Map(sorted.map(([key, text]) => [key, Buffer.from(text)]));
  }

  async *list({ after, signal }: ListOptions): AsyncGenerator<Item> {
    throwIfAborted(signal);
    for (const [key, bytes] of this.#items) {
      if (after === undefined || compareKeys(key, after) > 0)
        yield { id: `memory:${key}`, key, size: bytes.length, ref: null };
    }
  }

  async stat(item: Item): Promise<Item | undefined> {
    const key = item.id.slice('memory:'.length);
    const bytes = this.#items.get(key);
    return bytes && { ...item, size: bytes.length };
  }

  async remove(item: Item): Promise<void> {
    this.#items.delete(item.id.slice('memory:'.length));
  }

  async open(item: Item, { range, signal }: Parameters<Source['open']>[1]): ReturnType<Source['open']> {
    throwIfAborted(signal);
    // By its id: the key of an item may be another one in a sink.
    const bytes = this.#items.get(item.id.slice('memory:'.length));
    if (bytes === undefined) throw new BrokerError('source_gone', `${item.id} does not exist`);
    return chunks(bytes.subarray(range?.start, range?.end));
  }
}

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK) yield bytes.subarray(at, at + CHUNK);
}

interface Held {
  readonly bytes: Buffer;
  readonly crc32c: string;
  readonly revision: string;
  readonly origin?: string | undefined;
}

/** Objects in memory, bounded by the run's memory limit only while they are written; for tests. */
export class MemorySink implements Sink {
  readonly location = 'memory:';
  readonly objects = new Map<string, Held>();
  #writes = 0;

  async *list({ after }: { after?: string }): AsyncGenerator<StoredObject> {
    for (const key of [...this.objects.keys()].sort(compareKeys)) {
      const object = await this.stat(key);
      if (object !== undefined && (after === undefined || compareKeys(key, after) > 0)) yield object;
    }
  }

  async stat(key: string): Promise<StoredObject | undefined> {
    const held = this.objects.get(key);
    if (held === undefined) return undefined;
    return {
      key,
      size: held.bytes.length,
      checksums: { crc32c: held.crc32c },
      complete: true,
      revision: held.revision,
      ...(held.origin === undefined ? {} : { origin: held.origin }),
    };
  }

  async write(item: Item, content: Content, { expected, signal }: WriteOptions): Promise<Written> {
    const stream = await content.open();
    const parts: Uint8Array[] = [];
    for await (const chunk of stream) {
      if (signal.aborted) throw new BrokerError('stopped', 'the run was stopped');
      parts.push(Buffer.from(chunk));
    }
    this.#expect(item.key, expected === 'absent' ? null : expected?.revision);
    const bytes = Buffer.concat(parts);
    const crc32c = stream.crc32c();
    const revision = String(++this.#writes);
    this.objects.set(item.key, { bytes, crc32c, revision, origin: item.made?.origin });
    return { location: `memory:${item.key}`, size: bytes.length, checksums: { crc32c } };
  }

  async read(object: StoredObject): Promise<ByteStream> {
    this.#expect(object.key, object.revision);
    return chunks(this.objects.get(object.key)?.bytes ?? Buffer.alloc(0));
  }

  async delete(object: StoredObject): Promise<void> {
    this.#expect(object.key, object.revision);
    this.objects.delete(object.key);
  }

  #expect(key: string, revision: string | null | undefined): void {
    if (revision === undefined || (this.objects.get(key)?.revision ?? null) === revision) return;
    throw new BrokerError('conflict', `memory:${key} was changed after it was looked at`);
  }
}

export const memorySource = defineSource({
  name: 'memory',
  summary: 'Texts that are written in the pipeline itself; for tests.',
  config: z.strictObject({ items: z.record(z.string().min(1), z.string()).describe('Key and text of each item.') }),
  create: ({ items }) => new MemorySource(items),
});

export const memorySink = defineSink({
  name: 'memory',
  summary: 'Keeps objects until the process ends; for tests.',
  config: z.strictObject({}),
  create: () => new MemorySink(),
});
