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
import { filesOf, jobItem } from './batch-files.ts';
import { fullName, labelFilter, type NamingOptions, nameOf } from './batch-job.ts';
import type { JobNotes } from './batch-notes.ts';
import { BatchRecord } from './batch-record.ts';
import { nameOfJob } from './batch-request.ts';
import { factsOf, isLate, isOver, verdictOn } from './batch-verdict.ts';
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
  readonly #record: BatchRecord;
  #facts: Facts | undefined;

  constructor({ config, batch, jobs, storage, context }: BatchOptions) {
    this.#config = config;
    this.#batch = batch;
    this.#jobs = jobs;
    this.#storage = storage;
    this.#context = context;
    this.location = `vertexai://${config.project}/${config.location}/batch`;
    this.#record = new BatchRecord({ batch, jobs, storage, parent: this.#parent });
    const { join, input } = batch;
    this.#joined = join && input && 'gcs' in input ? new Joined(join, input.gcs, storage) : undefined;
  }

  get #parent(): string {
    return `projects/${this.#config.project}/locations/${this.#config.location}`;
  }

  get #naming(): NamingOptions {
    return { batch: this.#batch, jobs: this.#jobs, parent: this.#parent, pipeline: this.#context.pipeline };
  }

  async *list({ after, only, run, signal }: ListOptions): AsyncGenerator<Item> {
    if (run.purpose === 'survey' || only !== undefined) return;
    if (run.purpose === 'plan') return yield* this.#plan(signal);
    const directory = await this.#ready(run, after, signal);
    if (directory === undefined) return;
    for (const item of await this.#files(directory, signal))
      if (after === undefined || compareKeys(item.key, after) > 0) yield item;
  }

  /** What there is to know of the job, beside its files. */
  async *last({ only, signal }: ListOptions): AsyncGenerator<Item> {
    const { directory, name = '' } = this.#record.job ?? {};
    if (directory === undefined || only !== undefined) return;
    const facts = this.#facts ?? factsOf(await this.#jobs.get(name, signal));
    yield jobItem(`${nameOfJob(name)}/_job.json`, facts, directory, await this.#files(directory, signal));
  }

  async open(item: Item, { range, signal }: Parameters<Source['open']>[1]): Promise<ByteStream> {
    const ref = refSchema.parse(item.ref);
    if ('text' in ref) return streamOf(Buffer.from(ref.text).subarray(range?.start ?? 0, range?.end));
    const { directory } = this.#record.job ?? {};
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
    const { job } = this.#record;
    if (job === undefined || outcome !== 'complete') return;
    await this.#record.put(run, { ...job, durable: true }, signal);
    await this.#record.clear(run, signal);
  }

  async check(signal: AbortSignal): Promise<readonly Check[]> {
    const { job, filter } = this.#batch;
    return [
      await checked('jobs', async () => {
        if (job !== undefined) return (await this.#jobs.get(fullName(job, this.#parent), signal)).name;
        const found = await this.#jobs.all(this.#parent, filter ?? labelFilter('none', 0), signal);
        return filter === undefined ? `may list jobs of ${this.#parent}` : `${found.length} jobs match`;
      }),
    ];
  }

  /** Where the record goes with the process, nobody could find the job again. */
  async close(lasts: RunContext['lasts'], signal: AbortSignal): Promise<void> {
    if (lasts === 'process') await this.#record.end(signal);
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
    this.#joined?.clear();
    const taken = await this.#record.takeUp(run, after !== undefined, signal);
    if (taken === 'done') return undefined;
    if (taken.directory === undefined) return this.#settle(run, taken, signal);
    // Its numbers belong into the report of the run that goes on, too.
    this.#facts = { ...taken.counts, ...factsOf(await this.#jobs.get(taken.name ?? '', signal)) };
    return taken.directory;
  }

  async #settle(run: RunContext, given: JobNotes, signal: AbortSignal): Promise<string> {
    const name = given.name ?? (await nameOf(given, this.#naming, signal));
    const notes = given.name === name ? given : await this.#record.put(run, { ...given, name }, signal);
    const { wait: waitMs, maxFailedRatio } = this.#batch;
    const { now } = this.#context;
    const job = await waitFor(name, () => this.#over(notes, signal), { waitMs, now, signal });
    const { failure, counts } = await verdictOn(job, maxFailedRatio, this.#storage, signal);
    // What the job did not count itself.
    this.#facts = { ...counts, ...this.#facts };
    if (failure === undefined) {
      const directory = job.outputInfo?.gcsOutputDirectory ?? '';
      await this.#record.put(run, { ...notes, directory, ...(counts && { counts: { ...counts } }) }, signal);
      return directory;
    }
    // A failure that was told already was looked at by somebody: another job shows whether it is mended.
    if (notes.told === true) {
      const { told: _, name: __, ...rest } = notes;
      return this.#settle(run, await this.#record.put(run, { ...rest, attempt: notes.attempt + 1 }, signal), signal);
    }
    await this.#record.put(run, { ...notes, told: true }, signal);
    throw failure;
  }

  async #over({ name = '', output }: JobNotes, signal: AbortSignal): Promise<BatchJob | undefined> {
    const job = await this.#jobs.get(name, signal);
    this.#facts = factsOf(job);
    if (isOver(job)) return job;
    if (output !== undefined && isLate(job, this.#batch.timeout, this.#context.now())) {
      this.#context.log.warn('the job takes longer than batch.timeout and is cancelled', { job: name });
      await this.#jobs.cancel(name, signal);
    }
    return undefined;
  }

  async #files(directory: string, signal: AbortSignal, name = this.#record.job?.name ?? ''): Promise<readonly Item[]> {
    const { copyErrors } = this.#batch;
    const options = { folder: nameOfJob(name), copyErrors, joined: this.#joined !== undefined };
    const { items, left } = await filesOf(this.#storage, directory, options, signal);
    if (left > 0) this.#facts = { ...this.#facts, filesOfErrorsLeft: left };
    return items;
  }
}
