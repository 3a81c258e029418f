import {
  BrokerError,
  compareKeys,
  compileGlob,
  type Item,
  Paged,
  type Refusal,
  type RetryPolicy,
  refusalOf,
  retry,
} from '../../../core/api/index.ts';
import type { FailedAnswer, GoogleClient } from '../http.ts';
import { listFailure, lookFailure } from './errors.ts';
import { FIELDS, objectItem, refSchema } from './object.ts';
import type { StoragePlace } from './place.ts';

interface Page {
  readonly items: readonly unknown[];
  readonly nextPageToken?: string;
}

const hasSum = (entry: unknown): boolean => (entry as { readonly crc32c?: unknown } | null)?.crc32c !== undefined;

function isPage(answer: unknown): answer is Partial<Page> {
  if (typeof answer !== 'object' || answer === null) return false;
  const { items, nextPageToken: token } = answer as { readonly [Name in keyof Page]?: unknown };
  return (
    (items === undefined || Array.isArray(items)) &&
    (token === undefined || (typeof token === 'string' && token !== ''))
  );
}

/** Empty pages that come one after the other; the glob of a server may leave out thousands of objects. */
const MOST_EMPTY = 10_000;
/** A loop of more pages than this ends with the order of the keys. */
const REMEMBERED = 32;

/** A listing is one long request: a passing fault must not end the run. */
const PATIENCE: RetryPolicy = { attempts: 6, baseDelayMs: 200, maxDelayMs: 20_000 };

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

  items(after: string | undefined, signal: AbortSignal, limits: Limits = {}): AsyncIterable<Item> {
    return new Paged(this.#pages(after, signal, limits));
  }

  async *#pages(
    after: string | undefined,
    signal: AbortSignal,
    { only, pages: most = Number.POSITIVE_INFINITY }: Limits,
  ): AsyncGenerator<Iterable<Item>> {
    const start = after === undefined ? undefined : this.#config.prefix + after;
    const prefix = this.#config.prefix + (only?.prefix ?? '');
    const seen: string[] = [];
    let empty = 0;
    let page: Promise<Page> | undefined = this.#page(prefix, start, undefined, signal);
    for (let left = most; page !== undefined; ) {
      const { items, nextPageToken: token }: Page = await page;
      empty = items.length === 0 ? empty + 1 : 0;
      // Tokens that come again, or pages without end that hold nothing, would be followed for ever.
      if (token !== undefined && (seen.includes(token) || empty > MOST_EMPTY))
        throw new BrokerError('list_order', `gs://${this.#config.bucket}: the listing goes round in a loop of pages`);
      if (token !== undefined) seen.push(token);
      if (seen.length > REMEMBERED) seen.shift();
      // Asked for while this one is read.
      page = token === undefined || --left <= 0 ? undefined : this.#page(prefix, start, token, signal);
      page?.catch(() => undefined);
      const wanted = this.#wanted(items, after);
      yield items.every(hasSum) ? wanted : await this.#proved(wanted, signal);
    }
  }

  *#wanted(entries: readonly unknown[], after: string | undefined): Generator<Item> {
    for (const entry of entries) {
      const item = this.item(entry);
      if (after !== undefined && compareKeys(item.key, after) <= 0) continue;
      if (this.selects(item.key)) yield item;
    }
  }

  /** Items, with what only the object itself may show: few have no checksum in a listing. */
  async #proved(items: Iterable<Item>, signal: AbortSignal): Promise<readonly Item[]> {
    const all: Item[] = [];
    for (const item of items) all.push(item.checksums?.crc32c === undefined ? await this.#looked(item, signal) : item);
    return all;
  }

  /**
   * An object, or nothing; one that cannot be proved says so.
   *
   * @param generation that very version only.
   * @throws BrokerError `permission_denied` when this object may not be looked at: it says nothing of the others.
   */
  async one(name: string, signal: AbortSignal, generation?: string): Promise<Item | undefined> {
    const query = this.#query({ generation, fields: FIELDS.join(',') });
    const path = `/storage/v1/b/${this.#config.bucket}/o/${encodeURIComponent(name)}?${query}`;
    let missing = false;
    const failure = (answer: FailedAnswer): BrokerError => {
      missing = answer.status === 404 && !/specified bucket does not exist/i.test(answer.message);
      return lookFailure(name, this.#config, answer);
    };
    const fetch = (): Promise<unknown> => this.#client.getJson({ path, signal }, failure);
    const entry = await retry(fetch, { policy: this.#policy, signal }).catch((error: unknown) => {
      if (missing) return undefined;
      throw error;
    });
    return entry === undefined ? undefined : provable(this.item(entry));
  }

  /** What a listing does not show, the object itself may. */
  async #looked(item: Item, signal: AbortSignal): Promise<Item> {
    if (item.problem !== undefined) return item;
    const { name, generation } = refSchema.parse(item.ref);
    try {
      return (await this.one(name, signal, generation)) ?? provable(item);
    } catch (thrown) {
      return { ...item, problem: deniedOnly(thrown) };
    }
  }

  async #page(
    prefix: string,
    start: string | undefined,
    token: string | undefined,
    signal: AbortSignal,
  ): Promise<Page> {
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
      this.#client.getJson({ path: `/storage/v1/b/${bucket}/o?${query}`, signal }, (failed) =>
        listFailure(this.#config, failed),
      );
    const answer = await retry(fetch, { policy: this.#policy, signal });
    if (!isPage(answer))
      throw new BrokerError('bad_response', `${this.#client.host}: the listing has not the form of a listing`);
    return { items: [], ...answer };
  }

  /** An object resource as an item. */
  item(entry: unknown): Item {
    return objectItem(entry, this.#config, this.#client.host);
  }

  #query(parameters: Readonly<Record<string, string | undefined>>): string {
    const given = Object.entries({ ...parameters, userProject: this.#config.userProject });
    return given
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${name}=${encodeURIComponent(value ?? '')}`)
      .join('&');
  }
}

/** Without a published CRC32C there is nothing that the bytes could be proved by. */
function provable(item: Item): Item {
  if (item.problem !== undefined || item.checksums?.crc32c !== undefined) return item;
  const error = new BrokerError('unverifiable', `${item.id}: Cloud Storage publishes no CRC32C of it`, {
    hint: 'Rewrite the object in place (`gcloud storage cp` onto itself), or leave it out with `exclude`.',
  });
  return { ...item, problem: refusalOf(error) };
}

/** What `one` has thrown, where it is about that object alone. @throws what it has thrown, where it is not. */
export function deniedOnly(thrown: unknown): Refusal {
  if (!(thrown instanceof BrokerError) || thrown.code !== 'permission_denied') throw thrown;
  return refusalOf(thrown);
}
