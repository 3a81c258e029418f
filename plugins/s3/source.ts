import {
  ahead,
  asBrokerError,
  BrokerError,
  type ByteStream,
  type Check,
  checked,
  compileGlob,
  type Estimate,
  type HttpResponse,
  type Item,
  type ListOptions,
  type OpenOptions,
  type PluginContext,
  refusalOf,
  resumedRead,
  type Source,
  type StoredObject,
  streamOf,
  z,
} from '../../core/api/index.ts';
import { s3Failure } from './errors.ts';
import { isListed, statusOf } from './lookup.ts';
import { objectItem } from './object.ts';
import { objectPages } from './pages.ts';
import { connectRest, type S3Rest } from './rest.ts';
import type { S3SourceConfig } from './source-config.ts';

/** Looked at at once: a listing of S3 shows neither metadata nor checksums. */
const LOOKS = 64;
/** US dollars: a GET or HEAD, and a byte to the internet from us-east-1. Source: https://aws.amazon.com/s3/pricing/ */
const USD = { read: 0.0004 / 1000, byte: 0.09 / 2 ** 30 };

const refSchema = z.object({ name: z.string(), etag: z.string() });

/** Objects of a bucket, each in the version that was listed. */
export class S3Source implements Source {
  readonly location: string;
  readonly ranges = true;
  readonly portable = true;
  readonly seeks = true;
  readonly selects: (key: string) => boolean;
  readonly #config: S3SourceConfig;
  readonly #context: PluginContext;
  #rest: Promise<S3Rest> | undefined;

  constructor(config: S3SourceConfig, context: PluginContext) {
    this.location = `s3://${config.bucket}/${config.prefix}`;
    this.#config = config;
    this.#context = context;
    const include = config.include?.map(compileGlob);
    const exclude = config.exclude.map(compileGlob);
    this.selects = (key) => include?.some((glob) => glob(key)) !== false && !exclude.some((glob) => glob(key));
  }

  list({ after, only, signal }: ListOptions): AsyncIterable<Item> {
    if (only !== undefined && 'key' in only) return this.#one(only.key, signal);
    return ahead(this.#wanted(after, only?.prefix ?? '', signal), LOOKS, (object) => this.#looked(object, signal));
  }

  async *#one(key: string, signal: AbortSignal): AsyncGenerator<Item> {
    const item = this.selects(key) ? await this.#look(key, signal) : undefined;
    if (item !== undefined) yield item;
  }

  async *#wanted(after: string | undefined, below: string, signal: AbortSignal): AsyncGenerator<StoredObject> {
    const { prefix } = this.#config;
    const place = { config: this.#config, location: this.location, prefix, below, headers: this.#payer() };
    for await (const page of objectPages(await this.#connect(), place, after, signal))
      for (const object of page) if (this.selects(object.key)) yield object;
  }

  /** One that may not be looked at, or is gone already, is refused by name: it says nothing of the others. */
  async #looked(object: StoredObject, signal: AbortSignal): Promise<Item> {
    const { bucket, prefix } = this.#config;
    const bare = (error: BrokerError): Item => ({
      id: `s3://${bucket}/${prefix}${object.key}#${(object.revision ?? '').replaceAll('"', '')}`,
      key: object.key,
      size: object.size,
      problem: refusalOf(error),
      ref: { name: prefix + object.key, etag: object.revision ?? '' },
    });
    try {
      const found = await this.#look(object.key, signal);
      return found ?? bare(new BrokerError('source_gone', `s3://${bucket}/${prefix}${object.key} does not exist`));
    } catch (thrown) {
      const error = asBrokerError(thrown);
      if (error.next !== 'item') throw error;
      return bare(error);
    }
  }

  async #look(key: string, signal: AbortSignal, again = false): Promise<Item | undefined> {
    const rest = await this.#connect();
    const { bucket, prefix } = this.#config;
    const name = prefix + key;
    try {
      const headers = { 'x-amz-checksum-mode': 'ENABLED', ...this.#payer() };
      const answer = await rest.done({ method: 'HEAD', key: name, headers, signal });
      if (!/^\d+$/.test(answer.headers['content-length'] ?? ''))
        throw new BrokerError('invalid_request', `look at s3://${bucket}/${name}: the answer tells no size`);
      return objectItem(bucket, key, name, answer.headers);
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      const doing = `look at s3://${bucket}/${name}`;
      if (statusOf(error) === 400) {
        const why = await this.#badRequest(rest, name, doing, signal);
        // A token that had ended was renewed meanwhile.
        if (why === undefined && !again) return this.#look(key, signal, true);
        throw why ?? s3Failure(error, doing, 's3:GetObject', this.#config);
      }
      if (statusOf(error) === 403 && !(await isListed(rest, name, signal).catch(() => true))) return undefined;
      throw s3Failure(error, doing, 's3:GetObject', this.#config);
    }
  }

  /** The answer to a HEAD has no words: a GET says whether it is a customer's key, the region, or a token that has ended. */
  async #badRequest(rest: S3Rest, name: string, doing: string, signal: AbortSignal): Promise<BrokerError | undefined> {
    try {
      const headers = { range: 'bytes=0-0', ...this.#payer() };
      const { body } = await rest.send({ method: 'GET', key: name, headers, signal });
      body.discard();
      return undefined;
    } catch (error) {
      const { message } = error as Error;
      if (statusOf(error) === 400 && /server.side encryption|customer/i.test(message))
        return new BrokerError('source_encrypted', `${doing}: it is encrypted with a customer's key`);
      return s3Failure(error, doing, 's3:GetObject', this.#config);
    }
  }

  async open(item: Item, { range, signal, scratch }: OpenOptions): Promise<ByteStream> {
    const { start, end } = range ?? { start: 0, end: item.size };
    if (end === undefined) throw new BrokerError('internal', `${item.id}: its size is not known`);
    const connect = (at: number): Promise<HttpResponse> => this.#get(item, at, end, signal, scratch);
    // Also of an empty object it must be known whether it is still there.
    if (end === 0) return this.#empty(item, signal);
    if (start >= end) return streamOf();
    return resumedRead({ item, range: { start, end }, first: await connect(start), connect, signal });
  }

  async #empty(item: Item, signal: AbortSignal): Promise<ByteStream> {
    const now = await this.stat(item, { signal });
    if (now?.id !== item.id) throw missing(item, now);
    return streamOf();
  }

  async #get(
    item: Item,
    start: number,
    end: number,
    signal: AbortSignal,
    scratch: Buffer | undefined,
  ): Promise<HttpResponse> {
    const { name, etag } = refSchema.parse(item.ref);
    const rest = await this.#connect();
    const whole = start === 0 && end === item.size;
    const headers = {
      'if-match': etag,
      ...this.#payer(),
      ...(whole ? {} : { range: `bytes=${start}-${end - 1}` }),
    };
    try {
      return await rest.send({ method: 'GET', key: name, headers, signal, ...(scratch && { scratch }) });
    } catch (error) {
      const status = statusOf(error);
      if (status === 412 || status === 404) throw missing(item, await this.stat(item, { signal }));
      if ((error as Error).name === 'InvalidObjectState')
        throw new BrokerError('source_archived', `read ${item.id}: ${(error as Error).message}`);
      throw s3Failure(error, `read ${item.id}`, 's3:GetObject', this.#config);
    }
  }

  stat(item: Item, { signal }: { readonly signal: AbortSignal }): Promise<Item | undefined> {
    const { name } = refSchema.parse(item.ref);
    return this.#look(name.slice(this.#config.prefix.length), signal);
  }

  /** In a bucket with versions the version stays, behind a delete marker. */
  async remove(item: Item, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { name, etag } = refSchema.parse(item.ref);
    const rest = await this.#connect();
    const headers = { 'if-match': etag, ...this.#payer() };
    await rest.done({ method: 'DELETE', key: name, headers, signal }).catch((error: unknown) => {
      if (statusOf(error) === 404 && (error as Error).name !== 'NoSuchBucket') return;
      if (statusOf(error) === 412) throw new BrokerError('source_changed', `${item.id} was replaced, and stays`);
      throw s3Failure(error, `delete ${item.id}`, 's3:DeleteObject', this.#config);
    });
  }

  keyOf(url: string): string | undefined {
    return url.startsWith(this.location) && url !== this.location ? url.slice(this.location.length) : undefined;
  }

  estimate({ size = 0 }: Item, reads: number): Estimate {
    return {
      requests: { 's3:GetObject': reads, 's3:HeadObject': 1 },
      usd: (reads + 1) * USD.read + size * USD.byte,
    };
  }

  async check({ signal }: { readonly signal: AbortSignal }): Promise<readonly Check[]> {
    let first: StoredObject | undefined;
    const list = await checked('list', async () => {
      for await (const object of this.#wanted(undefined, '', signal)) {
        first = object;
        break;
      }
      return this.location;
    });
    if (list.verdict === 'fail') return [list];
    const { key } = first ?? {};
    if (key === undefined) {
      const detail = 'there is nothing to read, so that s3:GetObject could not be tried';
      return [list, { name: 'read', verdict: 'warn', detail, hint: 'Put an object there, or run `isthmus plan`.' }];
    }
    const read = await checked('read', async () => `metadata of ${(await this.#look(key, signal))?.id}`);
    return [list, read];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const rest = await this.#rest?.catch(() => undefined);
    rest?.[Symbol.dispose]();
  }

  #payer(): Readonly<Record<string, string>> {
    return this.#config.requestPayer ? { 'x-amz-request-payer': 'requester' } : {};
  }

  #connect(): Promise<S3Rest> {
    this.#rest ??= connectRest(this.#config, this.#context);
    return this.#rest;
  }
}

const missing = ({ id }: Item, now: Item | undefined): BrokerError =>
  now === undefined
    ? new BrokerError('source_gone', `${id} was deleted after it was listed`)
    : new BrokerError('source_changed', `${id} was replaced by ${now.id}`);
