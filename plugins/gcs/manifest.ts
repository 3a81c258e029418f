import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import {
  ahead,
  BrokerError,
  type ByteStream,
  compareKeys,
  type Item,
  type ListOptions,
  linesOf,
  type Refusal,
  refusalOf,
  systemErrorCode,
  z,
} from '../../core/api/index.ts';
import type { GoogleClient } from '../google/http.ts';
import { deniedOnly, GcsListing } from '../google/storage/listing.ts';
import { refSchema } from '../google/storage/object.ts';
import { GcsReader } from '../google/storage/reader.ts';
import type { GcsConfig } from './config.ts';

/** A list in any order is sorted in memory up to here; a longer one must be in order. */
const MOST_SORTED = 200_000;
const LONGEST_LINE = 256 * 1024;
/** Objects that are asked for at once. */
const AT_ONCE = 32;

/** An object that a list names. */
interface Entry {
  readonly name: string;
  readonly generation?: string | undefined;
  readonly line: number;
}

export const isInCloud = (manifest: string | undefined): manifest is string => manifest?.startsWith('gs://') === true;

/** The bucket and the name in `gs://bucket/name`. */
export function manifestPlace(url: string): { readonly bucket: string; readonly prefix: string } {
  const [bucket = '', ...name] = url.slice('gs://'.length).split('/');
  return { bucket, prefix: name.join('/') };
}

export interface ManifestOptions {
  readonly config: GcsConfig;
  readonly client: GoogleClient;
  readonly listing: GcsListing;
  readonly baseDir: string;
}

/** A list of objects, each asked for by name; what is not there any more is an item that says so. */
export class Manifest {
  readonly #file: string;
  readonly #options: ManifestOptions;

  constructor(file: string, options: ManifestOptions) {
    this.#file = file;
    this.#options = options;
  }

  async *items(after: string | undefined, only: ListOptions['only'], signal: AbortSignal): AsyncGenerator<Item> {
    const { listing, config } = this.#options;
    const { prefix } = config;
    const start = after === undefined ? undefined : prefix + after;
    const key = only !== undefined && 'key' in only ? only.key : undefined;
    yield* ahead(this.#wanted(start, key, signal), AT_ONCE, async ({ name, generation, line }): Promise<Item> => {
      const pinned = generation === undefined ? {} : { pinned: true as const };
      const refused = (problem: Refusal): Item => {
        const ref = { name, generation: generation ?? '', ...pinned };
        return { id, key: name.slice(prefix.length), problem, ref };
      };
      const id = `gs://${config.bucket}/${name}${generation === undefined ? '' : `#${generation}`}`;
      try {
        const item = await listing.one(name, signal, generation);
        if (item !== undefined) return { ...item, ref: { ...refSchema.parse(item.ref), ...pinned } };
      } catch (thrown) {
        return refused(deniedOnly(thrown));
      }
      const error = new BrokerError('source_gone', `${id} of ${this.#file}:${line} does not exist`, {
        hint: 'Take it off the list, or correct its name or generation.',
      });
      return refused(refusalOf(error));
    });
  }

  async *#wanted(start: string | undefined, key: string | undefined, signal: AbortSignal): AsyncGenerator<Entry> {
    const { prefix } = this.#options.config;
    for await (const entry of this.#inOrder(signal)) {
      if (!entry.name.startsWith(prefix) || entry.name === prefix)
        throw this.#wrong(entry.line, `"${entry.name}" is not below the prefix "${prefix}" of the source`);
      const own = entry.name.slice(prefix.length);
      const wanted = (key ?? own) === own && (start === undefined || compareKeys(entry.name, start) > 0);
      if (wanted && this.#options.listing.selects(own)) yield entry;
    }
  }

  /** By name, each once. */
  async *#inOrder(signal: AbortSignal): AsyncGenerator<Entry> {
    const first: Entry[] = [];
    const entries = this.#entries(signal);
    for await (const entry of entries) {
      first.push(entry);
      if (first.length >= MOST_SORTED) break;
    }
    const isLong = first.length >= MOST_SORTED;
    // The beginning of a long list is told from its end only if all of it is in order.
    if (!isLong) first.sort((a, b) => compareKeys(a.name, b.name));
    let last: Entry | undefined;
    const all = isLong ? chained(first, this.#entries(signal, MOST_SORTED)) : first;
    for await (const entry of all) {
      const order = last === undefined ? 1 : compareKeys(entry.name, last.name);
      if (order === 0) throw this.#wrong(Math.max(entry.line, last?.line ?? 0), `"${entry.name}" is there twice`);
      if (order < 0)
        throw this.#wrong(entry.line, `a list of more than ${MOST_SORTED} objects must be in order: LC_ALL=C sort`);
      yield entry;
      last = entry;
    }
  }

  async *#entries(signal: AbortSignal, skip = 0): AsyncGenerator<Entry> {
    const isCsv = this.#file.endsWith('.csv');
    let count = 0;
    for await (const { text, number } of linesOf(await this.#open(signal), {
      name: this.#file,
      longest: LONGEST_LINE,
    })) {
      const entry = isCsv ? this.#fromCsv(text, number) : this.#fromJson(text, number);
      if (entry !== undefined && count++ >= skip) yield entry;
    }
  }

  /** @returns undefined for the line with the names of the columns. */
  #fromCsv(text: string, line: number): Entry | undefined {
    if (text.startsWith('{"')) throw this.#wrong(line, 'a line of JSON: let the name of the list end in .jsonl');
    const fields = csvFields(text);
    if (fields === undefined) throw this.#wrong(line, 'a quote is not closed, or stands in the middle of a field');
    const [name = '', generation = ''] = fields;
    if (line === 1 && /^(name|key|object)$/i.test(name)) {
      if (fields.length > 2 || !/^(generation)?$/i.test(generation))
        throw this.#wrong(line, 'columns can be name and generation, in this order');
      return undefined;
    }
    if (fields.length > 2)
      throw this.#wrong(line, `expected name,generation; found ${fields.length} fields. Quote names that hold a comma`);
    return this.#entry({ name, generation: generation === '' ? undefined : generation }, line);
  }

  #fromJson(text: string, line: number): Entry {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw this.#wrong(line, 'not JSON');
    }
    return this.#entry(value, line);
  }

  #entry(value: unknown, line: number): Entry {
    const parsed = entrySchema.safeParse(value);
    if (parsed.success) return { ...parsed.data, line };
    const [issue] = parsed.error.issues;
    throw this.#wrong(line, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not an entry'}`);
  }

  async #open(signal: AbortSignal): Promise<ByteStream> {
    const { client, config, baseDir } = this.#options;
    if (!isInCloud(this.#file)) return localFile(resolve(baseDir, this.#file));
    const { bucket, prefix: name } = manifestPlace(this.#file);
    const place = { bucket, prefix: '', identity: config.identity, userProject: config.userProject };
    const listing = new GcsListing(client, place);
    const item = await listing.one(name, signal);
    if (item === undefined)
      throw new BrokerError('invalid_config', `${this.#file} does not exist`, {
        hint: 'Correct manifest in the source.',
      });
    return new GcsReader(client, place, listing).open(item, { signal });
  }

  #wrong(line: number, why: string): BrokerError {
    return new BrokerError('invalid_config', `${this.#file}:${line}: ${why}`, {
      hint: 'Correct the line in the list.',
    });
  }
}

const entrySchema = z.object({
  name: z.string('must be the name of an object').min(1, 'must be the name of an object'),
  generation: z
    .union([z.string(), z.bigint(), z.number().int().transform(String)])
    .transform(String)
    .refine((text) => /^\d{1,19}$/.test(text) && BigInt(text) < 2n ** 63n, 'must be a generation: digits, in quotes')
    .optional(),
});

/** Fields as RFC 4180 has them; undefined when quotes do not fit. */
function csvFields(line: string): string[] | undefined {
  const fields: string[] = [];
  for (let at = 0; at <= line.length; ) {
    const found = line[at] === '"' ? /"((?:[^"]|"")*)"(,|$)/y : /([^",]*)(,|$)/y;
    found.lastIndex = at;
    const match = found.exec(line);
    if (match === null) return undefined;
    fields.push((match[1] ?? '').replaceAll('""', '"'));
    at = found.lastIndex;
    if (match[2] === '') return fields;
  }
  return fields;
}

async function* chained<T>(first: readonly T[], rest: AsyncIterable<T>): AsyncGenerator<T> {
  yield* first;
  yield* rest;
}

async function* localFile(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path);
  } catch (error) {
    throw new BrokerError('invalid_config', `${path}: ${systemErrorCode(error) ?? 'it cannot be read'}`, {
      hint: 'Correct manifest in the source: it is relative to the pipeline file.',
    });
  }
}
