import { createHash } from 'node:crypto';
import { compareKeys } from '../../core/api/keys.ts';
import { type Body, bufferBody } from './body.ts';

/** An object resource of the JSON API. Source: https://cloud.google.com/storage/docs/json_api/v1/objects#resource */
export interface GcsObject {
  readonly name: string;
  readonly bucket: string;
  readonly generation: string;
  readonly metageneration: string;
  readonly size: string;
  readonly crc32c?: string;
  /** Composite objects have none. */
  readonly md5Hash?: string;
  readonly componentCount?: number;
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly cacheControl?: string;
  readonly contentDisposition?: string;
  readonly contentLanguage?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly storageClass: string;
  readonly customTime?: string;
  readonly temporaryHold?: boolean;
  readonly timeCreated: string;
  readonly updated: string;
  readonly customerEncryption?: { readonly encryptionAlgorithm: string; readonly keySha256: string };
  readonly body: Body;
}

export interface PutOptions {
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly cacheControl?: string;
  readonly contentDisposition?: string;
  readonly contentLanguage?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly storageClass?: string;
  readonly customTime?: string;
  readonly temporaryHold?: boolean;
  /** RFC 3339. Default: now. */
  readonly updated?: string;
  /** Published as for any object, but for one of a customer's key. */
  readonly crc32c?: false;
  /** As `compose` makes it: without an MD5. */
  readonly composite?: boolean;
  /** Encrypted with a key that only the customer holds. */
  readonly customerKey?: boolean;
}

/** What a bucket lists and holds; names in UTF-8 byte order. */
export interface ObjectTable {
  get(name: string): GcsObject | undefined;
  /** Names that sort at or after `start`, ascending. */
  from(start: string): Iterable<GcsObject>;
}

let lastGeneration = 1_700_000_000_000_000n;

/** A bucket in memory. */
export class GcsBucket implements ObjectTable {
  readonly name: string;
  /** Principals that may read; `allUsers` for a public bucket. */
  readonly readers = new Set<string>();
  /** Principals that may create and delete objects. */
  readonly writers = new Set<string>();
  requesterPays = false;
  /** Older generations stay, and can be read by their number. */
  versioned = false;
  readonly #older = new Map<string, GcsObject>();
  location = 'EU';
  /** Seconds for which deleted objects are kept, and billed; that of a new bucket is a week. */
  softDelete = 0;
  /** Seconds for which no object may be deleted or replaced. */
  retention = 0;
  #objects = new Map<string, GcsObject>();
  #sorted: string[] | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** Stores an object; an older generation of the same name is gone, as in a bucket without versions. */
  put(name: string, content: string | Uint8Array | Body, options: PutOptions = {}): GcsObject {
    const bytes = typeof content === 'string' || content instanceof Uint8Array ? Buffer.from(content) : undefined;
    const body = bytes === undefined ? (content as Body) : bufferBody(bytes);
    const { composite, customerKey, crc32c: published, storageClass = 'STANDARD', ...headers } = options;
    const now = options.updated ?? new Date().toISOString();
    const object: GcsObject = {
      name,
      bucket: this.name,
      generation: String(++lastGeneration),
      metageneration: '1',
      size: String(body.size),
      ...(published === false ? {} : { crc32c: body.crc32c }),
      ...(composite === true || bytes === undefined
        ? {}
        : { md5Hash: createHash('md5').update(bytes).digest('base64') }),
      ...(composite === true ? { componentCount: 2 } : {}),
      ...headers,
      storageClass,
      timeCreated: now,
      updated: now,
      ...(customerKey === true ? { customerEncryption: { encryptionAlgorithm: 'AES256', keySha256: 'c2hh' } } : {}),
      body,
    };
    this.#retire(name);
    if (!this.#objects.has(name)) this.#sorted = undefined;
    this.#objects.set(name, object);
    return object;
  }

  #retire(name: string): void {
    const old = this.#objects.get(name);
    if (this.versioned && old !== undefined) this.#older.set(`${name}#${old.generation}`, old);
  }

  /** One of the older generations, where they are kept. */
  older(name: string, generation: string): GcsObject | undefined {
    return this.#older.get(`${name}#${generation}`);
  }

  delete(name: string): boolean {
    this.#retire(name);
    this.#sorted = undefined;
    return this.#objects.delete(name);
  }

  get(name: string): GcsObject | undefined {
    return this.#objects.get(name);
  }

  *from(start: string): Iterable<GcsObject> {
    this.#sorted ??= [...this.#objects.keys()].sort(compareKeys);
    const names = this.#sorted;
    let low = 0;
    for (let high = names.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if (compareKeys(names[middle] ?? '', start) < 0) low = middle + 1;
      else high = middle;
    }
    for (let index = low; index < names.length; index++) {
      const object = this.#objects.get(names[index] ?? '');
      if (object !== undefined) yield object;
    }
  }
}

/** A bucket of very many equal objects that takes no memory: `prefix` and a number of nine digits. */
export class VirtualBucket extends GcsBucket {
  readonly #prefix: string;
  readonly #count: number;
  readonly #model: GcsObject;

  constructor(name: string, options: { readonly prefix: string; readonly count: number; readonly body: Body }) {
    super(name);
    this.#prefix = options.prefix;
    this.#count = options.count;
    this.#model = new GcsBucket(name).put('model', options.body, { contentType: 'application/octet-stream' });
  }

  override get(name: string): GcsObject | undefined {
    const number = name.startsWith(this.#prefix) ? Number(name.slice(this.#prefix.length)) : Number.NaN;
    return this.#name(number) === name && number < this.#count ? { ...this.#model, name } : undefined;
  }

  override *from(start: string): Iterable<GcsObject> {
    const digits = start.startsWith(this.#prefix) ? start.slice(this.#prefix.length) : '';
    for (let number = Number(digits.padEnd(9, '0').slice(0, 9)); number < this.#count; number++) {
      const name = this.#name(number);
      if (compareKeys(name, start) >= 0) yield { ...this.#model, name };
    }
  }

  #name(number: number): string {
    return `${this.#prefix}${String(number).padStart(9, '0')}`;
  }
}
