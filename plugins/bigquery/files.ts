import {
  BrokerError,
  type ByteRange,
  type ByteStream,
  compareKeys,
  encodeCrc32c,
  type Item,
  streamOf,
  z,
} from '../../core/api/index.ts';
import type { GoogleClient } from '../google/http.ts';
import type { Staging } from '../google/storage/staging.ts';
import type { BigQueryClient, TableInfo } from './client.ts';
import type { BigQueryConfig } from './config.ts';
import { Jobs } from './jobs.ts';
import { type ManifestFile, manifestItem, manifestText } from './manifest.ts';
import type { Export, Unit } from './notes.ts';
import { type Counted, type RowPlace, rowStream } from './rows.ts';
import type { Schema } from './schema.ts';
import { extensionOf, queryConfiguration } from './sql.ts';

const refSchema = z.union([
  z.object({ staged: z.unknown() }),
  z.object({ rows: z.number().int() }),
  z.object({ text: z.string() }),
]);

export interface FilesOptions {
  readonly client: BigQueryClient;
  readonly rows: GoogleClient;
  readonly staging: Staging | undefined;
  readonly jobs: Jobs;
  readonly config: BigQueryConfig;
  readonly pipeline: string;
}

/** What was written of a unit whose rows were read. */
interface Written extends Counted {
  readonly bytes: number;
  readonly crc32c: string;
}

/** The files of an export: staged by jobs, or made of rows as they are read. */
export class Files {
  readonly #options: FilesOptions;
  /** By the id of the item. */
  readonly #written = new Map<string, Written>();

  constructor(options: FilesOptions) {
    this.#options = options;
  }

  /**
   * In key order, since units are ordered by their folders. All are found before the first is given: an export that
   * lacks a file is not begun to be carried.
   *
   * @throws BrokerError `files_missing`
   */
  async items(current: Export, signal: AbortSignal): Promise<readonly Item[]> {
    const found: Item[] = [];
    for (const [index, unit] of (current.units ?? []).entries()) {
      if (unit.engine === 'rows') found.push(this.#rowItem(current, index, unit));
      else found.push(...(await this.#staged(current, index, unit, signal)));
    }
    return found;
  }

  #rowItem(current: Export, index: number, unit: Unit): Item {
    const key = `${unit.folder}part-000000000000${extensionOf(this.#options.jobs.shape(unit))}`;
    const contentType = key.includes('.csv') ? 'text/csv' : 'application/x-ndjson';
    const encoding = key.endsWith('.gz') ? 'application/gzip' : contentType;
    return {
      id: `bigquery:${current.id}/${index}-${unit.attempt}`,
      key,
      headers: { contentType: encoding },
      ref: { rows: index },
    };
  }

  /** @throws BrokerError `files_missing` unless there are as many as the job says. */
  async #staged(current: Export, index: number, unit: Unit, signal: AbortSignal): Promise<Item[]> {
    const folder = Jobs.folder(current, index, unit.attempt);
    const found = await Array.fromAsync(this.#options.staging?.list(folder, signal) ?? []);
    const { files } = unit.result ?? {};
    // A job writes one at least, also of an empty table.
    if (found.length !== (files ?? Math.max(1, found.length))) {
      const wrote = files === undefined ? 'does not say how many it wrote' : `wrote ${files}`;
      throw new BrokerError(
        'files_missing',
        `${this.#options.staging?.url(folder)} holds ${found.length} files, the job of ${unit.label} ${wrote}`,
      );
    }
    return found.map((item) => ({ ...item, key: unit.folder + item.key, ref: { staged: item.ref } }));
  }

  async open(
    item: Item,
    current: Export | undefined,
    { range, signal }: { readonly range?: ByteRange; readonly signal: AbortSignal },
  ): Promise<ByteStream> {
    const ref = refSchema.parse(item.ref);
    const { staging } = this.#options;
    if ('text' in ref) return streamOf(Buffer.from(ref.text).subarray(range?.start ?? 0, range?.end));
    if ('rows' in ref && current !== undefined) return this.#rows(current, ref.rows, signal);
    if ('staged' in ref && staging !== undefined)
      return staging.open({ ...item, ref: ref.staged as Item['ref'] }, range, signal);
    throw new BrokerError('source_gone', `${item.id} belongs to no export that is on record`);
  }

  async #rows(current: Export, index: number, signal: AbortSignal): Promise<ByteStream> {
    const unit = current.units?.[index];
    if (unit === undefined) throw new BrokerError('source_gone', 'the export has no such part');
    const { rows, jobs } = this.#options;
    const table = unit.sql === undefined ? await this.#unchanged(unit, signal) : undefined;
    const schema = table?.schema?.fields;
    const counted: Counted = { rows: 0 };
    const stream = rowStream(rows, this.#place(current, index), schema, jobs.shape(unit), counted, signal);
    return this.#hashed(stream, current, index, unit, counted, signal);
  }

  /** A table that is read row by row is the one that was listed, before and after. @throws BrokerError `source_changed` */
  async #unchanged({ table, label, modified }: Unit, signal: AbortSignal): Promise<TableInfo | undefined> {
    if (table === undefined) return undefined;
    const info = await this.#options.client.table(table, signal);
    if (info.lastModifiedTime === modified) return info;
    throw new BrokerError('source_changed', `${label} was changed after it was looked at`, {
      hint: 'Run again: rows that are read come from a table that rests. Or name a staging bucket: a job sees one state.',
    });
  }

  async *#hashed(
    stream: ByteStream,
    current: Export,
    index: number,
    unit: Unit,
    counted: Counted,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const hasher = await (await import('./hasher.ts')).newHasher();
    hasher.init();
    let bytes = 0;
    let held: Uint8Array | undefined;
    for await (const chunk of stream) {
      hasher.update(chunk);
      bytes += chunk.byteLength;
      if (held !== undefined) yield held;
      held = chunk;
    }
    if (unit.sql === undefined) await this.#unchanged(unit, signal);
    const crc32c = encodeCrc32c(Number.parseInt(hasher.digest('hex'), 16));
    this.#written.set(this.#rowItem(current, index, unit).id, { rows: counted.rows, bytes, crc32c });
    // The last piece comes when all of it is known to be right.
    if (held !== undefined) yield held;
  }

  /** Where the rows of a unit are. */
  #place(current: Export, index: number): RowPlace {
    const unit = current.units?.[index];
    const { project } = this.#options.config;
    if (unit?.sql !== undefined)
      return {
        kind: 'job',
        project,
        jobId: this.#options.jobs.idOf(current, index, unit.attempt),
        location: current.location ?? 'US',
      };
    const { table = '', ...names } = unit?.table ?? { project, dataset: '' };
    const partition = unit?.partition === undefined ? '' : `$${unit.partition}`;
    return { kind: 'table', ...names, table: table + partition };
  }

  /** One for each unit, beside its files. */
  async *manifests(current: Export, name: string, signal: AbortSignal): AsyncGenerator<Item> {
    const { jobs, pipeline } = this.#options;
    const units = [...(current.units ?? []).entries()].sort(([, a], [, b]) =>
      compareKeys(a.folder + name, b.folder + name),
    );
    for (const [index, unit] of units) {
      const { files, rows } = await this.#contents(current, index, unit, signal);
      const jobId = Jobs.needed(unit) ? jobs.idOf(current, index, unit.attempt) : undefined;
      const schema = await this.#schema(current, unit, signal);
      const text = manifestText({ pipeline, current, unit, jobId, shape: jobs.shape(unit), schema, files, rows });
      yield manifestItem(unit.folder + name, text);
    }
  }

  async #contents(current: Export, index: number, unit: Unit, signal: AbortSignal) {
    if (unit.engine !== 'rows') {
      const staged = await this.#staged(current, index, unit, signal);
      const files = staged.map(({ key, size = 0, checksums }) => ({
        key,
        bytes: size,
        crc32c: checksums?.crc32c ?? '',
      }));
      return { files, rows: unit.result?.rows ?? (await this.#tableRows(unit, signal)) };
    }
    // A run that was paused in between has to count anew.
    const { id, key } = this.#rowItem(current, index, unit);
    if (!this.#written.has(id)) for await (const _ of await this.#rows(current, index, signal));
    const { rows, bytes, crc32c } = this.#written.get(id) ?? { rows: 0, bytes: 0, crc32c: '' };
    const files: ManifestFile[] = [{ key, bytes, crc32c }];
    return { files, rows };
  }

  /** An extract job does not say how many rows it wrote: as many as the table has, if it has not changed since. */
  async #tableRows({ table, partition, modified }: Unit, signal: AbortSignal): Promise<number | null> {
    // Where a policy may leave rows out, nobody knows how many it left.
    if (table === undefined || partition !== undefined || this.#options.config.allowFiltered) return null;
    const { lastModifiedTime, numRows, streamingBuffer } = await this.#options.client.table(table, signal);
    return lastModifiedTime === modified && streamingBuffer === undefined ? (numRows ?? null) : null;
  }

  async #schema({ location }: Export, { table, sql, parameters = [] }: Unit, signal: AbortSignal): Promise<Schema> {
    const { client, config } = this.#options;
    if (table !== undefined) return (await client.table(table, signal)).schema?.fields ?? [];
    const looked = await client.dryRun(queryConfiguration(sql ?? '', parameters, config), location, signal);
    return looked.statistics.query?.schema?.fields ?? [];
  }
}
