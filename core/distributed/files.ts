import type { z } from 'zod';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { StoredObject } from '../api/item.ts';
import type { JsonValue } from '../api/json.ts';
import { type Line, linesOf } from '../api/lines.ts';
import { type RetryPolicy, retry } from '../api/retry.ts';
import type { Expected, Sink } from '../api/sink.ts';
import { Crc32cPool } from '../engine/crc32c.ts';
import { type Kept, keepFile } from '../engine/keep-file.ts';
import { FairMemoryBudget } from '../engine/memory.ts';

/** What files may take while they are written: four shards at once. */
const MEMORY = 48 * 2 ** 20;
const LONGEST_LINE = 256 * 1024;

/** The files of distributed runs, in the place where the state of the pipeline is kept. */
export class Files {
  readonly #sink: Sink;
  readonly #retry: RetryPolicy;
  readonly #memory = new FairMemoryBudget(MEMORY);
  readonly #hashers = new Crc32cPool();

  constructor(sink: Sink, policy: RetryPolicy) {
    this.#sink = sink;
    this.#retry = policy;
  }

  get location(): string {
    return this.#sink.location;
  }

  /** Where Step Functions reads a file. @throws BrokerError when it is in no bucket of S3. */
  inBucket(key: string): { readonly bucket: string; readonly key: string } {
    const [, bucket, prefix] = /^s3:\/\/([^/]+)\/(.*)$/s.exec(this.#sink.location) ?? [];
    if (bucket !== undefined && prefix !== undefined) return { bucket, key: prefix + key };
    throw new BrokerError('invalid_config', `${this.#sink.location}: Step Functions reads from S3 only`, {
      hint: 'Use state: { use: s3, with: { bucket: … } }.',
    });
  }

  async write(key: string, content: Kept | string, signal: AbortSignal, expected?: Expected): Promise<void> {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    const contentType = key.endsWith('.json') ? 'application/json' : 'application/x-ndjson';
    const given = { memory: this.#memory, hashers: this.#hashers, retry: this.#retry, signal, contentType, expected };
    await keepFile(this.#sink, key, bytes, given);
  }

  /** @returns false when it is there already; then that one stays. */
  async create(key: string, value: JsonValue, signal: AbortSignal): Promise<boolean> {
    try {
      await this.write(key, JSON.stringify(value), signal, 'absent');
      return true;
    } catch (thrown) {
      if (asBrokerError(thrown).code !== 'conflict') throw thrown;
      return false;
    }
  }

  /** @returns undefined when there is no such file. @throws BrokerError `state_unreadable` when it is of another form. */
  async json<Schema extends z.ZodType>(
    key: string,
    schema: Schema,
    signal: AbortSignal,
  ): Promise<z.output<Schema> | undefined> {
    const object = await this.#find(key, signal);
    if (object === undefined) return undefined;
    return await this.jsonOf(object, schema, signal);
  }

  async jsonOf<Schema extends z.ZodType>(
    object: StoredObject,
    schema: Schema,
    signal: AbortSignal,
  ): Promise<z.output<Schema>> {
    const text = async (): Promise<string> => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of await this.#open(object, signal)) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks).toString();
    };
    const read = await retry(text, { policy: this.#retry, signal });
    try {
      return schema.parse(JSON.parse(read));
    } catch {
      throw new BrokerError('state_unreadable', `${this.#sink.location}${object.key}: it is not what was saved there`);
    }
  }

  /** @throws BrokerError `not_carried` when the file is not there: somebody has deleted it. */
  async *lines(key: string, signal: AbortSignal): AsyncGenerator<Line> {
    yield* linesOf(await this.stream(key, signal), { name: this.#sink.location + key, longest: LONGEST_LINE });
  }

  async stream(key: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const object = await this.#find(key, signal);
    if (object !== undefined) return await this.#open(object, signal);
    throw new BrokerError('not_carried', `${this.#sink.location}${key} does not exist`, {
      hint: 'Somebody has deleted it. Start the state machine anew, without an input.',
    });
  }

  /** All below a folder, in the order of their names. */
  async *list(folder: string, signal: AbortSignal): AsyncGenerator<StoredObject> {
    for await (const object of this.#sink.list?.({ signal, after: folder }) ?? []) {
      if (!object.key.startsWith(folder)) return;
      yield object;
    }
  }

  #find(key: string, signal: AbortSignal): Promise<StoredObject | undefined> {
    return retry(async () => this.#sink.stat?.(key, { signal }), { policy: this.#retry, signal });
  }

  async #open(object: StoredObject, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    if (this.#sink.read === undefined) throw new BrokerError('internal', `${this.#sink.location} cannot be read`);
    return await this.#sink.read(object, { signal });
  }
}
