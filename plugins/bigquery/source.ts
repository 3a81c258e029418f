import { randomUUID } from 'node:crypto';
import {
  BrokerError,
  type Check,
  checked,
  compareKeys,
  type Facts,
  type Item,
  type ListOptions,
  type PluginContext,
  type RunContext,
  type Source,
} from '../../core/api/index.ts';
import { GoogleClient } from '../google/http.ts';
import { Staging } from '../google/storage/staging.ts';
import { BigQueryClient } from './client.ts';
import type { BigQueryConfig } from './config.ts';
import { Exports, type ExportsOptions } from './exports.ts';
import { Files } from './files.ts';
import { Jobs } from './jobs.ts';
import { locationOf } from './names.ts';
import type { Export } from './notes.ts';
import { planned } from './plan.ts';
import { pretending } from './select.ts';
import { checkStaging } from './staging-check.ts';

const SCOPES = ['https://www.googleapis.com/auth/bigquery', 'https://www.googleapis.com/auth/devstorage.read_write'];
const CLOSING_MS = 8000;

/** Tables and query results of BigQuery, as files. */
export class BigQuerySource implements Source {
  readonly location: string;
  readonly ranges = true;
  readonly transient = true;
  /** Files lie in staging; rows are read of an export that only whoever began it knows. */
  readonly portable: boolean;
  readonly #config: BigQueryConfig;
  readonly #context: PluginContext;
  readonly #client: BigQueryClient;
  readonly #rows: GoogleClient;
  readonly #storage: GoogleClient;
  readonly #staging: Staging | undefined;
  readonly #jobs: Jobs;
  readonly #files: Files;
  readonly #exports: Exports;
  #facts: Facts | undefined;
  #lasts: RunContext['lasts'] = 'process';

  constructor(config: BigQueryConfig, context: PluginContext) {
    this.location = locationOf(config);
    this.#config = config;
    this.#context = context;
    const { credentials, endpoints, log, now, pipeline } = context;
    const { identity, project } = config;
    const universe = credentials.universeDomain(identity);
    const token = credentials.gcp(identity, { scopes: SCOPES });
    const endpoint = endpoints.bigquery(universe);
    this.#client = new BigQueryClient({ endpoint, project, token });
    this.#rows = new GoogleClient({ endpoint, token, now, transport: context.transport() });
    this.#storage = new GoogleClient({ endpoint: endpoints.gcs(universe), token, now, transport: context.transport() });
    const stagingAt: ExportsOptions['stagingAt'] = ({ bucket, prefix }) =>
      new Staging(this.#storage, { bucket, prefix, identity });
    this.#staging = config.staging && stagingAt(config.staging);
    this.portable = this.#staging !== undefined;
    this.#jobs = new Jobs({ client: this.#client, config, staging: this.#staging, pipeline, log });
    this.#files = new Files({
      client: this.#client,
      rows: this.#rows,
      staging: this.#staging,
      jobs: this.#jobs,
      config,
      pipeline,
    });
    this.#exports = new Exports({
      config,
      context,
      client: this.#client,
      rows: this.#rows,
      jobs: this.#jobs,
      staging: this.#staging,
      stagingAt,
    });
  }

  async *list({ after, only, run, signal }: ListOptions): AsyncGenerator<Item> {
    // It has no keys before an export: a selection means another source.
    if (run.purpose === 'survey' || only !== undefined) return;
    if (run.purpose === 'plan') return yield* this.#plan(run, signal);
    this.#lasts = run.lasts;
    const current = await this.#exports.ready(run, after, signal);
    if (current === undefined) return;
    for (const item of await this.#itemsOf(current, run, after, signal))
      if (after === undefined || compareKeys(item.key, after) > 0) yield item;
  }

  /** An export that has lost files before any was carried is given up: the next run makes another. */
  async #itemsOf(
    current: Export,
    run: RunContext,
    after: string | undefined,
    signal: AbortSignal,
  ): Promise<readonly Item[]> {
    try {
      return await this.#files.items(current, signal);
    } catch (error) {
      if (error instanceof BrokerError && error.code === 'files_missing' && after === undefined)
        await this.#exports.clear(run, signal);
      throw error;
    }
  }

  async *last({ signal }: ListOptions): AsyncGenerator<Item> {
    const { current } = this.#exports;
    if (current === undefined || this.#config.manifest === null) return;
    yield* this.#files.manifests(current, this.#config.manifest, signal);
  }

  open(item: Item, options: Parameters<Source['open']>[1]): ReturnType<Source['open']> {
    return this.#files.open(item, this.#exports.current, options);
  }

  facts(): Facts | undefined {
    return this.#facts ?? this.#exports.facts;
  }

  async check({ signal }: { readonly signal: AbortSignal }): Promise<readonly Check[]> {
    let location: string | undefined;
    const plan = await checked('read', async () => {
      const select = pretending(this.#client, this.#config, signal);
      const found = await this.#exports.planUnits(
        { bookmark: undefined, startedAt: new Date(0).toISOString(), select, estimates: true },
        signal,
      );
      location = found.location;
      const { length } = found.units;
      return `${length} ${length === 1 ? 'table, partition or query' : 'tables or partitions'} in ${found.location}`;
    });
    if (this.#staging === undefined || location === undefined) return [plan];
    const place = location;
    return [plan, await checked('staging', () => checkStaging(this.#staging, place, this.#context.log, signal))];
  }

  async finish({ outcome, run, signal }: Parameters<NonNullable<Source['finish']>>[0]): Promise<void> {
    if (outcome === 'complete') await this.#exports.carried(run, signal);
  }

  /** A run that nobody can go on with leaves nothing behind. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { current } = this.#exports;
    if (current !== undefined && this.#lasts === 'process') {
      const signal = AbortSignal.timeout(CLOSING_MS);
      await this.#exports.undo(current, signal).catch(() => undefined);
    }
    this.#rows[Symbol.dispose]();
    this.#storage[Symbol.dispose]();
  }

  async *#plan(run: RunContext, signal: AbortSignal): AsyncGenerator<Item> {
    const bookmark = await this.#exports.bookmark(run, signal);
    const startedAt = new Date(this.#context.now()).toISOString();
    const select = this.#exports.select(`plan-${randomUUID()}`, signal);
    const found = await this.#exports.planUnits({ bookmark, startedAt, select, estimates: true }, signal);
    const { items, facts } = await planned(found, this.#client, this.#config, signal);
    this.#facts = facts;
    yield* items;
  }
}
