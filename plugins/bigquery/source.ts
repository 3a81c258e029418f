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
  pause,
  type RunContext,
  type Source,
} from '../../core/api/index.ts';
import { GoogleClient } from '../google/http.ts';
import { Staging } from '../google/storage/staging.ts';
import { checkOptions } from './check-options.ts';
import { BigQueryClient } from './client.ts';
import type { BigQueryConfig } from './config.ts';
import { factsOf } from './facts.ts';
import { Files } from './files.ts';
import { Jobs } from './jobs.ts';
import { locationOf } from './names.ts';
import { type BigQueryNotes, type Bookmark, type Export, howHash, readNotes, whatHash, writeNotes } from './notes.ts';
import { planned } from './plan.ts';
import { selecting } from './select.ts';
import { checkStaging } from './staging-check.ts';
import { type Planned, planUnits } from './units.ts';

const SCOPES = ['https://www.googleapis.com/auth/bigquery', 'https://www.googleapis.com/auth/devstorage.read_write'];
const FIRST_POLL_MS = 500;
const LONGEST_POLL_MS = 10_000;
const CLOSING_MS = 8000;

/** Tables and query results of BigQuery, as files. */
export class BigQuerySource implements Source {
  readonly location: string;
  readonly ranges = true;
  readonly #config: BigQueryConfig;
  readonly #context: PluginContext;
  readonly #client: BigQueryClient;
  readonly #rows: GoogleClient;
  readonly #staging: Staging | undefined;
  readonly #jobs: Jobs;
  readonly #files: Files;
  #notes: BigQueryNotes;
  #planned: Planned | undefined;
  #facts: Facts | undefined;
  #lasts: RunContext['lasts'] = 'process';

  constructor(config: BigQueryConfig, context: PluginContext) {
    checkOptions(config);
    this.location = locationOf(config);
    this.#config = config;
    this.#context = context;
    const { credentials, endpoints, log, now, pipeline } = context;
    const { identity, project } = config;
    const universe = credentials.universeDomain(identity);
    const token = credentials.gcp(identity, { scopes: SCOPES });
    const endpoint = endpoints.bigquery(universe);
    this.#client = new BigQueryClient({ endpoint, project, token });
    this.#rows = new GoogleClient({ endpoint, token, now });
    this.#staging =
      config.staging &&
      new Staging(new GoogleClient({ endpoint: endpoints.gcs(universe), token, now }), { ...config.staging, identity });
    this.#jobs = new Jobs({ client: this.#client, config, staging: this.#staging, pipeline, log });
    this.#files = new Files({
      client: this.#client,
      rows: this.#rows,
      staging: this.#staging,
      jobs: this.#jobs,
      config,
      pipeline,
    });
    this.#notes = { version: 1, what: whatHash(config) };
  }

  async *list({ after, run, signal }: ListOptions): AsyncGenerator<Item> {
    if (run.purpose === 'survey') return;
    if (run.purpose === 'plan') return yield* this.#plan(run, signal);
    this.#lasts = run.lasts;
    const current = await this.#ready(run, after, signal);
    if (current === undefined) return;
    for await (const item of this.#files.items(current, signal))
      if (after === undefined || compareKeys(item.key, after) > 0) yield item;
  }

  async *last({ signal }: ListOptions): AsyncGenerator<Item> {
    const { export: current } = this.#notes;
    if (current === undefined || this.#config.manifest === null) return;
    yield* this.#files.manifests(current, this.#config.manifest, signal);
  }

  open(item: Item, options: Parameters<Source['open']>[1]): ReturnType<Source['open']> {
    return this.#files.open(item, this.#notes.export, options);
  }

  facts(): Facts | undefined {
    return this.#facts;
  }

  async check({ signal }: { readonly signal: AbortSignal }): Promise<readonly Check[]> {
    let location: string | undefined;
    const plan = await checked('read', async () => {
      const found = await this.#planUnits(undefined, `doctor-${randomUUID()}`, new Date(0).toISOString(), signal);
      location = found.location;
      const { length } = found.units;
      return `${length} ${length === 1 ? 'table, partition or query' : 'tables or partitions'} in ${found.location}`;
    });
    if (this.#staging === undefined || location === undefined) return [plan];
    const place = location;
    return [plan, await checked('staging', () => checkStaging(this.#staging, place, this.#context.log, signal))];
  }

  /** All is durable: the bookmark moves, then the files on their way are deleted. Both are on record before and after. */
  async finish({ outcome, run, signal }: Parameters<NonNullable<Source['finish']>>[0]): Promise<void> {
    const { export: current } = this.#notes;
    if (current === undefined) return;
    this.#facts = factsOf(current, this.#planned, this.#jobs, this.#config);
    if (outcome !== 'complete') return;
    const bookmark = current.until === undefined ? {} : { bookmark: current.until };
    await this.#write(run, { ...this.#notes, ...bookmark, export: { ...current, durable: true } }, signal);
    await this.#clear(run, signal);
  }

  /** A run that nobody can go on with leaves nothing behind. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { export: current } = this.#notes;
    if (current !== undefined && this.#lasts === 'process') {
      const signal = AbortSignal.timeout(CLOSING_MS);
      await this.#jobs.cancel(current, signal).catch(() => undefined);
      await this.#staging?.clear(`${current.id}/`, signal).catch(() => undefined);
    }
    this.#rows[Symbol.dispose]();
    this.#staging?.[Symbol.dispose]();
  }

  async *#plan(run: RunContext, signal: AbortSignal): AsyncGenerator<Item> {
    const notes = await readNotes(run, signal);
    const bookmark = notes?.what === this.#notes.what ? notes.bookmark : undefined;
    const startedAt = new Date(this.#context.now()).toISOString();
    const found = await this.#planUnits(bookmark, `plan-${randomUUID()}`, startedAt, signal);
    const { items, facts } = await planned(found, this.#client, this.#config, signal);
    this.#facts = facts;
    yield* items;
  }

  /** The export of this run, its jobs over. @throws BrokerError `pending` while they are not. */
  async #ready(run: RunContext, after: string | undefined, signal: AbortSignal): Promise<Export | undefined> {
    let current = await this.#takeUp(run, after, signal);
    if (current === 'done') return undefined;
    if (current === undefined) {
      // Whoever begins a job is the only one that does, and will be known again.
      await run.begins();
      const startedAt = new Date(this.#context.now()).toISOString();
      current = { id: randomUUID(), run: run.runId, startedAt, how: howHash(this.#config) };
      await this.#write(run, { ...this.#notes, export: current }, signal);
    }
    if (current.units === undefined) {
      const found = await this.#planUnits(this.#notes.bookmark, current.id, current.startedAt, signal);
      this.#planned = found;
      const { location, units, until } = found;
      if (units.some(({ engine }) => engine !== 'rows'))
        await checkStaging(this.#staging, location, this.#context.log, signal);
      current = { ...current, location, units: [...units], ...(until === undefined ? {} : { until }) };
      await this.#write(run, { ...this.#notes, export: current }, signal);
    }
    return this.#settle(run, current, signal);
  }

  /** What an earlier run left: an export that is not carried yet is gone on with, one that is, tidied up. */
  async #takeUp(run: RunContext, after: string | undefined, signal: AbortSignal): Promise<Export | 'done' | undefined> {
    const { what } = this.#notes;
    const found = await readNotes(run, signal);
    if (found === undefined) return this.#lost(after);
    this.#notes = found;
    const current = found.export;
    if (current?.durable === true && current.run === run.runId) await this.#clear(run, signal);
    if (this.#notes.done === run.runId) return 'done';
    const same = found.what === what && !run.reset;
    const age = current === undefined ? 0 : this.#context.now() - Date.parse(current.startedAt);
    const fresh = age <= (this.#config.staging?.keep ?? Number.POSITIVE_INFINITY);
    const usable =
      same && current?.durable !== true && current?.how === howHash(this.#config) && (fresh || after !== undefined);
    if (current !== undefined && usable) return current;
    if (current !== undefined) {
      await run.begins();
      await this.#clear(run, signal);
      const reason = current.durable === true ? 'it was carried' : fresh ? 'the source was changed' : 'it is too old';
      this.#context.log.info('an earlier export was tidied up', { export: current.id, reason });
    }
    if (!same) this.#notes = { version: 1, what };
    return this.#lost(after);
  }

  /** A place in a listing is good for that listing only. */
  #lost(after: string | undefined): undefined {
    if (after === undefined) return undefined;
    throw new BrokerError('state_unreadable', 'the export that the run was carrying is not on record any more');
  }

  async #settle(run: RunContext, begun: Export, signal: AbortSignal): Promise<Export> {
    let current = begun;
    const until = this.#context.now() + this.#config.wait;
    for (let waitMs = FIRST_POLL_MS; ; waitMs = Math.min(LONGEST_POLL_MS, waitMs * 1.5)) {
      const advanced = await this.#jobs.advance(current, signal);
      const changed = JSON.stringify(advanced.export) !== JSON.stringify(current);
      current = advanced.export;
      this.#facts = factsOf(current, this.#planned, this.#jobs, this.#config);
      if (changed) await this.#write(run, { ...this.#notes, export: current }, signal);
      if (advanced.failed !== undefined) throw advanced.failed;
      if (advanced.over) return current;
      const open = current.units?.filter(({ result }) => result === undefined).length ?? 0;
      if (this.#context.now() + waitMs > until) {
        const ids = (this.#facts?.jobs as readonly string[] | undefined)?.join(', ') ?? '';
        throw new BrokerError('pending', `${open} of ${current.units?.length} jobs are not over: ${ids}`, {
          retryAfterMs: LONGEST_POLL_MS,
        });
      }
      // An attempt that is to be made anew needs no wait; a second more or less is nothing to it.
      await pause(waitMs, signal);
    }
  }

  async #clear(run: RunContext, signal: AbortSignal): Promise<void> {
    const { export: current, ...rest } = this.#notes;
    if (current === undefined) return;
    await this.#staging?.clear(`${current.id}/`, signal);
    await this.#write(run, current.durable === true ? { ...rest, done: current.run } : rest, signal);
  }

  async #write(run: RunContext, notes: BigQueryNotes, signal: AbortSignal): Promise<void> {
    await writeNotes(run, notes, signal);
    this.#notes = notes;
  }

  #planUnits(bookmark: Bookmark | undefined, id: string, startedAt: string, signal: AbortSignal): Promise<Planned> {
    const { log } = this.#context;
    const select = selecting(
      { client: this.#client, rows: this.#rows, config: this.#config, pipeline: this.#context.pipeline },
      id,
      signal,
    );
    return planUnits({ config: this.#config, client: this.#client, select, bookmark, startedAt, log, signal });
  }
}
