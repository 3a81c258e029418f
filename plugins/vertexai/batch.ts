import { randomUUID } from 'node:crypto';
import {
  BrokerError,
  type ByteStream,
  type Check,
  checked,
  compareKeys,
  type Facts,
  type Item,
  type ListOptions,
  type PluginContext,
  type RunContext,
  type Source,
  streamOf,
  z,
} from '../../core/api/index.ts';
import type { Staging } from '../google/storage/staging.ts';
import { filesOf, jobItem } from './batch-files.ts';
import { fullName, ID_LABEL, type NamingOptions, nameOf } from './batch-job.ts';
import { type BatchNotes, hashOf, type JobNotes, readBatchNotes, writeNotes } from './batch-notes.ts';
import { nameOfJob } from './batch-request.ts';
import { factsOf, verdictOn } from './batch-verdict.ts';
import type { BatchConfig, VertexConfig } from './config.ts';
import type { BatchJob, BatchJobs } from './jobs.ts';
import { Joined } from './joined.ts';
import type { Mode } from './mode.ts';
import { folderUrl, type Storage } from './storage.ts';
import { waitFor } from './waiting.ts';

export interface BatchOptions {
  readonly config: VertexConfig;
  readonly batch: BatchConfig;
  readonly jobs: BatchJobs;
  readonly storage: Storage;
  readonly context: PluginContext;
}

const refSchema = z.union([
  z.object({ staged: z.unknown(), joined: z.number().optional() }),
  z.object({ text: z.string() }),
]);

/** The files of a batch prediction job, which is created or adopted and waited for. */
export class BatchMode implements Mode {
  readonly location: string;
  readonly #config: VertexConfig;
  readonly #batch: BatchConfig;
  readonly #jobs: BatchJobs;
  readonly #storage: Storage;
  readonly #context: PluginContext;
  readonly #joined: Joined | undefined;
  #notes: BatchNotes;
  #job: BatchJob | undefined;
  #facts: Facts | undefined;

  constructor({ config, batch, jobs, storage, context }: BatchOptions) {
    this.#config = config;
    this.#batch = batch;
    this.#jobs = jobs;
    this.#storage = storage;
    this.#context = context;
    this.location = `vertexai://${config.project}/${config.location}/batch`;
    this.#notes = { version: 1, what: hashOf([config.project, config.location, { ...batch, wait: 0 }]) };
    const { join, input } = batch;
    this.#joined = join && input && 'gcs' in input ? new Joined(join, input.gcs, storage) : undefined;
  }

  get #parent(): string {
    return `projects/${this.#config.project}/locations/${this.#config.location}`;
  }

  get #naming(): NamingOptions {
    return { batch: this.#batch, jobs: this.#jobs, parent: this.#parent, pipeline: this.#context.pipeline };
  }

  get #isOurs(): boolean {
    return this.#batch.model !== undefined;
  }

  async *list({ after, run, signal }: ListOptions): AsyncGenerator<Item> {
    if (run.purpose === 'survey') return;
    if (run.purpose === 'plan') return yield* this.#plan(signal);
    const directory = await this.#ready(run, after, signal);
    if (directory === undefined) return;
    for (const item of await this.#files(directory, signal))
      if (after === undefined || compareKeys(item.key, after) > 0) yield item;
  }

  /** What there is to know of the job, beside its files. */
  async *last({ signal }: ListOptions): AsyncGenerator<Item> {
    const { directory, name = '' } = this.#notes.job ?? {};
    if (directory === undefined) return;
    const job = this.#job ?? (await this.#jobs.get(name, signal));
    yield jobItem(`${nameOfJob(name)}/_job.json`, factsOf(job), directory, await this.#files(directory, signal));
  }

  async open(item: Item, { range, signal }: Parameters<Source['open']>[1]): Promise<ByteStream> {
    const ref = refSchema.parse(item.ref);
    if ('text' in ref) return streamOf(Buffer.from(ref.text).subarray(range?.start ?? 0, range?.end));
    const { directory } = this.#notes.job ?? {};
    if (directory === undefined) throw new BrokerError('source_gone', `${item.id} belongs to no job that is on record`);
    const staged = this.#storage.at(folderUrl(directory));
    const { joined } = ref;
    const size = joined === undefined ? {} : { size: joined };
    const raw = await staged.open({ ...item, ...size, ref: ref.staged as Item['ref'] }, range, signal);
    return joined === undefined || this.#joined === undefined ? raw : this.#joined.stream(raw, signal);
  }

  facts(): Facts | undefined {
    const unmatched = this.#joined?.unmatched ?? 0;
    return unmatched === 0 ? this.#facts : { ...this.#facts, predictionsWithoutRow: unmatched };
  }

  async finish({ outcome, run, signal }: Parameters<NonNullable<Source['finish']>>[0]): Promise<void> {
    const { job } = this.#notes;
    if (job === undefined || outcome !== 'complete') return;
    await this.#write(run, { ...this.#notes, job: { ...job, durable: true } }, signal);
    await this.#clear(run, signal);
  }

  async check(signal: AbortSignal): Promise<readonly Check[]> {
    const { job, filter } = this.#batch;
    return [
      await checked('jobs', async () => {
        if (job !== undefined) return (await this.#jobs.get(fullName(job, this.#parent), signal)).name;
        const found = await this.#jobs.all(this.#parent, filter ?? `labels.${ID_LABEL}="none"`, signal);
        return filter === undefined ? `may list jobs of ${this.#parent}` : `${found.length} jobs match`;
      }),
    ];
  }

  async close(lasts: RunContext['lasts'], signal: AbortSignal): Promise<void> {
    const { job } = this.#notes;
    if (lasts !== 'process' || job === undefined || !this.#isOurs) return;
    if (job.name !== undefined && job.directory === undefined)
      await this.#jobs.cancel(job.name, signal).catch(() => undefined);
    await this.#output?.clear(`${job.id}/`, signal).catch(() => undefined);
  }

  async *#plan(signal: AbortSignal): AsyncGenerator<Item> {
    const { job, filter, model } = this.#batch;
    const found =
      job === undefined
        ? filter && (await this.#jobs.newest(this.#parent, filter, signal))
        : await this.#jobs.get(fullName(job, this.#parent), signal);
    this.#facts = found ? factsOf(found) : { creates: 'a batch prediction job', model: model ?? '' };
    const directory = (found || undefined)?.outputInfo?.gcsOutputDirectory;
    if (!found || !directory) yield { id: 'job', key: 'JOB/predictions*', ref: { text: '' } };
    else yield* await this.#files(directory, signal, found.name);
  }

  /** The directory of the job, once it is over and good enough. @throws BrokerError `pending` before. */
  async #ready(run: RunContext, after: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const taken = await this.#takeUp(run, after, signal);
    if (taken === 'done') return undefined;
    let notes = taken;
    if (notes === undefined) {
      await run.begins();
      notes = { id: randomUUID(), run: run.runId, attempt: 0 };
      await this.#write(run, { ...this.#notes, job: notes }, signal);
    }
    // What failed and was told is not looked at again: a new one is made, of what was adopted the newest looked for.
    if (notes.told === true) notes = { id: notes.id, run: notes.run, attempt: notes.attempt + 1 };
    if (notes.name === undefined) {
      notes = { ...notes, name: await nameOf(notes, this.#naming, signal) };
      await this.#write(run, { ...this.#notes, job: notes }, signal);
    }
    return this.#settle(run, notes, signal);
  }

  async #takeUp(
    run: RunContext,
    after: string | undefined,
    signal: AbortSignal,
  ): Promise<JobNotes | 'done' | undefined> {
    const { what } = this.#notes;
    const found = await readBatchNotes(run, signal);
    if (found !== undefined) this.#notes = found;
    const same = found?.what === what && !run.reset;
    const job = found?.job;
    if (job?.durable === true && job.run === run.runId) await this.#clear(run, signal);
    if (this.#notes.done === run.runId && same) return 'done';
    if (same && job !== undefined && job.durable !== true) return job;
    if (job !== undefined) {
      await run.begins();
      await this.#clear(run, signal);
    }
    if (!same) this.#notes = { version: 1, what };
    if (after === undefined) return undefined;
    throw new BrokerError('state_unreadable', 'the job that the run was carrying is not on record any more');
  }

  async #settle(run: RunContext, notes: JobNotes, signal: AbortSignal): Promise<string> {
    const { name = '' } = notes;
    if (notes.directory !== undefined) {
      // Its numbers belong into the report of the run that goes on, too.
      this.#job = await this.#jobs.get(name, signal);
      this.#facts = factsOf(this.#job);
      return notes.directory;
    }
    const { wait: waitMs } = this.#batch;
    const { now } = this.#context;
    const job = await waitFor(name, () => this.#over(name, signal), { waitMs, now, signal });
    const { failure, counts } = await verdictOn(job, this.#batch.maxFailedRatio, this.#storage, signal);
    // What the job did not count itself.
    this.#facts = { ...counts, ...this.#facts };
    if (failure !== undefined) {
      await this.#write(run, { ...this.#notes, job: { ...notes, told: true } }, signal);
      throw failure;
    }
    const directory = job.outputInfo?.gcsOutputDirectory ?? '';
    await this.#write(run, { ...this.#notes, job: { ...notes, directory } }, signal);
    return directory;
  }

  async #over(name: string, signal: AbortSignal): Promise<BatchJob | undefined> {
    const job = await this.#jobs.get(name, signal);
    this.#job = job;
    this.#facts = factsOf(job);
    return /_(SUCCEEDED|FAILED|CANCELLED|EXPIRED|PARTIALLY_SUCCEEDED)$/.test(job.state) ? job : undefined;
  }

  async #files(directory: string, signal: AbortSignal, name = this.#notes.job?.name ?? ''): Promise<readonly Item[]> {
    const { copyErrors } = this.#batch;
    const options = { folder: nameOfJob(name), copyErrors, joined: this.#joined !== undefined };
    const { items, left } = await filesOf(this.#storage, directory, options, signal);
    if (left > 0) this.#facts = { ...this.#facts, filesOfErrorsLeft: left };
    return items;
  }

  /** Where jobs of ours write. */
  get #output(): Staging | undefined {
    const { output } = this.#batch;
    return output && this.#storage.at(`gs://${output.bucket}/${output.prefix}`);
  }

  async #clear(run: RunContext, signal: AbortSignal): Promise<void> {
    const { job, ...rest } = this.#notes;
    if (job === undefined) return;
    if (this.#isOurs && !this.#batch.keepOutput) await this.#output?.clear(`${job.id}/`, signal);
    await this.#write(run, job.durable === true ? { ...rest, done: job.run } : rest, signal);
  }

  async #write(run: RunContext, notes: BatchNotes, signal: AbortSignal): Promise<void> {
    await writeNotes(run, notes, signal);
    this.#notes = notes;
  }
}
