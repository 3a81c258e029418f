import { randomUUID } from 'node:crypto';
import { BrokerError, type Facts, type PluginContext, pause, type RunContext } from '../../core/api/index.ts';
import type { GoogleClient } from '../google/http.ts';
import type { StoragePlace } from '../google/storage/place.ts';
import type { Staging } from '../google/storage/staging.ts';
import type { BigQueryClient } from './client.ts';
import type { BigQueryConfig } from './config.ts';
import { factsOf } from './facts.ts';
import { Jobs } from './jobs.ts';
import { type BigQueryNotes, type Export, howHash, readNotes, whatHash, writeNotes } from './notes.ts';
import { type Select, selecting } from './select.ts';
import { checkStaging } from './staging-check.ts';
import { type Planned, type PlanOptions, planUnits } from './units.ts';

const FIRST_POLL_MS = 500;
const LONGEST_POLL_MS = 10_000;
/** BigQuery keeps the result of a query for some 24 hours. */
const RESULT_MS = 20 * 3_600_000;

export interface ExportsOptions {
  readonly config: BigQueryConfig;
  readonly context: PluginContext;
  readonly client: BigQueryClient;
  readonly rows: GoogleClient;
  readonly jobs: Jobs;
  readonly staging: Staging | undefined;
  readonly stagingAt: (place: Pick<StoragePlace, 'bucket' | 'prefix'>) => Staging;
}

/** The export that a run carries, and its notes: begun once, taken up by whoever comes again, tidied up when carried. */
export class Exports {
  readonly #config: BigQueryConfig;
  readonly #context: PluginContext;
  readonly #client: BigQueryClient;
  readonly #rows: GoogleClient;
  readonly #jobs: Jobs;
  readonly #staging: Staging | undefined;
  readonly #stagingAt: ExportsOptions['stagingAt'];
  readonly #what: string;
  #notes: BigQueryNotes;
  #planned: Planned | undefined;
  /** What the searches for what is new were billed. */
  #searched = 0;
  facts: Facts | undefined;

  constructor({ config, context, client, rows, jobs, staging, stagingAt }: ExportsOptions) {
    this.#config = config;
    this.#context = context;
    this.#client = client;
    this.#rows = rows;
    this.#jobs = jobs;
    this.#staging = staging;
    this.#stagingAt = stagingAt;
    this.#what = whatHash(config);
    this.#notes = { version: 1, what: this.#what };
  }

  get current(): Export | undefined {
    return this.#notes.export;
  }

  /** The bookmark of the last complete run of the very same. */
  async bookmark(run: RunContext, signal: AbortSignal): Promise<BigQueryNotes['bookmark']> {
    const notes = await readNotes(run, signal);
    return notes?.what === this.#what ? notes.bookmark : undefined;
  }

  /** All is in every sink: the bookmark moves, then files on their way are deleted. Both are on record before and after. */
  async carried(run: RunContext, signal: AbortSignal): Promise<void> {
    const { export: current } = this.#notes;
    if (current === undefined) return;
    const bookmark = current.until === undefined ? {} : { bookmark: current.until };
    const durable = { ...current, run: run.runId, durable: true } as const;
    await this.#write(run, { ...this.#notes, ...bookmark, export: durable }, signal);
    await this.clear(run, signal);
  }

  /** The export of this run, its jobs over. @throws BrokerError `pending` while they are not. */
  async ready(run: RunContext, after: string | undefined, signal: AbortSignal): Promise<Export | undefined> {
    let current = await this.#takeUp(run, after, signal);
    if (current === 'done') return undefined;
    if (current === undefined) {
      // Whoever begins a job is the only one that does, and will be known again.
      await run.begins();
      const startedAt = new Date(this.#context.now()).toISOString();
      const { staging } = this.#config;
      const place = staging && { staging: { bucket: staging.bucket, prefix: staging.prefix } };
      current = { id: randomUUID(), run: run.runId, startedAt, how: howHash(this.#config), ...place };
      await this.#write(run, { ...this.#notes, export: current }, signal);
    }
    if (current.units === undefined) {
      const { id, startedAt } = current;
      const select = this.select(id, signal);
      const found = await this.planUnits(
        { bookmark: this.#notes.bookmark, startedAt, select, estimates: false },
        signal,
      );
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
    this.#notes = (await readNotes(run, signal)) ?? { version: 1, what: this.#what };
    const same = this.#notes.what === this.#what && !run.reset;
    const { export: current } = this.#notes;
    if (current?.durable === true && current.run === run.runId) await this.clear(run, signal);
    if (same && this.#notes.done === run.runId) return 'done';
    const unended = same && current?.durable !== true && current?.how === howHash(this.#config) ? current : undefined;
    if (unended !== undefined && (after !== undefined || this.#isWorth(unended))) {
      if (unended.run === run.runId) return unended;
      // It is this run's now: whoever comes again must find it so.
      await run.begins();
      const adopted = { ...unended, run: run.runId };
      await this.#write(run, { ...this.#notes, export: adopted }, signal);
      return adopted;
    }
    if (this.#notes.export !== undefined) {
      await run.begins();
      await this.clear(run, signal);
      this.#context.log.info('an earlier export was tidied up', { export: current?.id });
    }
    if (!same) {
      if (this.#notes.bookmark !== undefined)
        this.#context.log.warn('the bookmark is dropped: something else is exported now');
      this.#notes = { version: 1, what: this.#what };
    }
    return this.#lost(after);
  }

  /** Whether an export that was not carried is better gone on with than made anew. */
  #isWorth({ startedAt, units }: Export): boolean {
    // Rows of tables cost nothing, and the table may be another one by now.
    if (units?.every((unit) => !Jobs.needed(unit))) return false;
    const keep = this.#config.staging?.keep ?? RESULT_MS;
    const limit = units?.some(({ engine }) => engine === 'rows') === true ? Math.min(keep, RESULT_MS) : keep;
    return this.#context.now() - Date.parse(startedAt) <= limit;
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
      this.facts = this.#factsOf(current);
      if (changed) await this.#write(run, { ...this.#notes, export: current }, signal);
      if (advanced.failed !== undefined) throw advanced.failed;
      if (advanced.over) return current;
      const open = current.units?.filter(({ result }) => result === undefined).length ?? 0;
      if (this.#context.now() + waitMs > until) {
        const ids = (this.facts?.jobs as readonly string[] | undefined)?.join(', ') ?? '';
        throw new BrokerError('pending', `${open} of ${current.units?.length} jobs are not over: ${ids}`, {
          retryAfterMs: LONGEST_POLL_MS,
        });
      }
      // An attempt that is to be made anew needs no wait; a second more or less is nothing to it.
      await pause(waitMs, signal);
    }
  }

  async clear(run: RunContext, signal: AbortSignal): Promise<void> {
    const { export: current, ...rest } = this.#notes;
    if (current === undefined) return;
    await this.undo(current, signal);
    await this.#write(run, current.durable === true ? { ...rest, done: current.run } : rest, signal);
  }

  /** Ends what still runs, since it would go on writing, and deletes what it wrote, where it wrote it. */
  async undo(current: Export, signal: AbortSignal): Promise<void> {
    if (current.durable !== true) await this.#jobs.end(current, signal);
    await (current.staging && this.#stagingAt(current.staging))?.clear(`${current.id}/`, signal);
  }

  #factsOf(current: Export): Facts {
    const searched = this.#searched === 0 ? {} : { searchBytesBilled: this.#searched };
    return { ...factsOf(current, this.#planned, this.#jobs, this.#config), ...searched };
  }

  async #write(run: RunContext, notes: BigQueryNotes, signal: AbortSignal): Promise<void> {
    await writeNotes(run, notes, signal);
    this.#notes = notes;
  }

  planUnits(
    plan: Pick<PlanOptions, 'bookmark' | 'startedAt' | 'select' | 'estimates'>,
    signal: AbortSignal,
  ): Promise<Planned> {
    return planUnits({ ...plan, config: this.#config, client: this.#client, log: this.#context.log, signal });
  }

  select(id: string, signal: AbortSignal): Select {
    const { pipeline, now } = this.#context;
    const onBilled = (bytes: number): void => {
      this.#searched += bytes;
    };
    const options = { client: this.#client, rows: this.#rows, config: this.#config, pipeline, now, onBilled };
    return selecting(options, id, signal);
  }
}
