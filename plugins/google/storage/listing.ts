import {
  BrokerError,
  compareKeys,
  compileGlob,
  type Item,
  type RetryPolicy,
  retry,
  z,
} from '../../../core/api/index.ts';
import type { FailedAnswer, GoogleClient } from '../http.ts';
import { listFailure } from './errors.ts';
import type { StoragePlace } from './place.ts';

/** The fields of an object that we carry. Source: https://cloud.google.com/storage/docs/json_api/v1/objects#resource */
export const FIELDS = [
  'name',
  'generation',
  'size',
  'crc32c',
  'md5Hash',
  'updated',
  'contentType',
  'contentEncoding',
  'cacheControl',
  'contentDisposition',
  'contentLanguage',
  'metadata',
] as const;

const objectSchema = z.object({
  name: z.string(),
  generation: z.string(),
  size: z.string().regex(/^\d+$/),
  crc32c: z.string().optional(),
  md5Hash: z.string().optional(),
  updated: z.string().optional(),
  contentType: z.string().optional(),
  contentEncoding: z.string().optional(),
  cacheControl: z.string().optional(),
  contentDisposition: z.string().optional(),
  contentLanguage: z.string().optional(),
  metadata: z.record(z.string(), z.string()).optional(),
});
const pageSchema = z.object({ items: z.array(z.unknown()).default([]), nextPageToken: z.string().min(1).optional() });

/** A listing is one long request: a passing fault must not end the run. */
const PATIENCE: RetryPolicy = { attempts: 6, baseDelayMs: 200, maxDelayMs: 20_000 };

export const refSchema = z.object({ name: z.string(), generation: z.string() });

export interface Limits {
  readonly only?: { readonly prefix: string } | undefined;
  /** The most that are asked for. */
  readonly pages?: number;
}

/** Lists a bucket page by page, from `after` on; what the filters leave out is not an item. */
export class GcsListing {
  readonly #client: GoogleClient;
  readonly #config: StoragePlace;
  /** What the filters leave of the bucket. */
  readonly selects: (key: string) => boolean;
  readonly #policy: RetryPolicy;

  constructor(client: GoogleClient, config: StoragePlace, policy: RetryPolicy = PATIENCE) {
    this.#policy = policy;
    this.#client = client;
    this.#config = config;
    const include = config.include?.map(compileGlob);
    const exclude = (config.exclude ?? []).map(compileGlob);
    this.selects = (key) => include?.some((glob) => glob(key)) !== false && !exclude.some((glob) => glob(key));
  }

  async *items(after: string | undefined, signal: AbortSignal, { only, pages }: Limits = {}): AsyncGenerator<Item> {
    const start = after === undefined ? undefined : this.#config.prefix + after;
    const prefix = this.#config.prefix + (only?.prefix ?? '');
    let token: string | undefined;
    let left = pages ?? Number.POSITIVE_INFINITY;
    do {
      const page = await this.#page(prefix, start, token, signal);
      for (const entry of page.items) {
        const item = this.item(entry);
        if ((after === undefined || compareKeys(item.key, after) > 0) && this.selects(item.key)) yield item;
      }
      // A server that answers with the token it was given would be asked for ever.
      if (page.nextPageToken !== undefined && page.nextPageToken === token) {
        throw new BrokerError('list_order', `gs://${this.#config.bucket}: the listing repeats its page token`);
      }
      token = page.nextPageToken;
    } while (token !== undefined && --left > 0);
  }

  /** The object of the option `object`, or nothing. */
  async one(name: string, signal: AbortSignal, generation?: string): Promise<Item | undefined> {
    const query = this.#query({ generation, fields: FIELDS.join(',') });
    const path = `/storage/v1/b/${this.#config.bucket}/o/${encodeURIComponent(name)}?${query}`;
    let missing = false;
    const failure = (answer: FailedAnswer): BrokerError => {
      missing = answer.status === 404 && !/specified bucket does not exist/i.test(answer.message);
      return this.#failure(answer);
    };
    const fetch = (): Promise<unknown> => this.#client.getJson({ path, signal }, failure);
    const entry = await retry(fetch, { policy: this.#policy, signal }).catch((error: unknown) => {
      if (missing) return undefined;
      throw error;
    });
    return entry === undefined ? undefined : this.item(entry);
  }

  async #page(prefix: string, start: string | undefined, token: string | undefined, signal: AbortSignal) {
    const { bucket, matchGlob } = this.#config;
    const query = this.#query({
      prefix: prefix === '' ? undefined : prefix,
      startOffset: start,
      matchGlob,
      pageToken: token,
      maxResults: '1000',
      fields: `items(${FIELDS.join(',')}),nextPageToken`,
    });
    const fetch = () =>
      this.#client.getJson({ path: `/storage/v1/b/${bucket}/o?${query}`, signal }, (failed) => this.#failure(failed));
    const answer = await retry(fetch, { policy: this.#policy, signal });
    const page = pageSchema.safeParse(answer);
    if (!page.success)
      throw new BrokerError('bad_response', `${this.#client.host}: the listing has not the form of a listing`);
    return page.data;
  }

  /** An object resource as an item. */
  item(entry: unknown): Item {
    const parsed = objectSchema.safeParse(entry);
    if (!parsed.success)
      throw new BrokerError('bad_response', `${this.#client.host}: the listing holds an entry that is no object`);
    const { name, generation, size, crc32c, md5Hash, updated, metadata, ...headers } = parsed.data;
    const { bucket, prefix, object } = this.#config;
    const known = Object.entries(headers).filter(([, value]) => value !== undefined && value !== '');
    return {
      id: `gs://${bucket}/${name}#${generation}`,
      key: object === undefined ? name.slice(prefix.length) : name,
      size: Number(size),
      checksums: { ...(crc32c === undefined ? {} : { crc32c }), ...(md5Hash === undefined ? {} : { md5: md5Hash }) },
      ...(updated === undefined ? {} : { modifiedAt: updated }),
      headers: Object.fromEntries(known),
      ...(metadata === undefined ? {} : { metadata }),
      ref: { name, generation },
    };
  }

  #query(parameters: Readonly<Record<string, string | undefined>>): string {
    const given = Object.entries({ ...parameters, userProject: this.#config.userProject });
    return given
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${name}=${encodeURIComponent(value ?? '')}`)
      .join('&');
  }

  #failure(answer: FailedAnswer): BrokerError {
    return listFailure(this.#config, answer);
  }
}
