import { randomUUID } from 'node:crypto';
import { BrokerError, type RunContext } from '../../core/api/index.ts';
import { ended, unlessMissing } from '../google/ended.ts';
import { labelFilter } from './batch-job.ts';
import { type BatchNotes, hashOf, type JobNotes, readBatchNotes, writeNotes } from './batch-notes.ts';
import { isOver } from './batch-verdict.ts';
import type { BatchConfig } from './config.ts';
import type { BatchJobs } from './jobs.ts';
import type { Storage } from './storage.ts';

export interface BatchRecordOptions {
  readonly batch: BatchConfig;
  readonly jobs: BatchJobs;
  readonly storage: Storage;
  /** `projects/…/locations/…` */
  readonly parent: string;
}

/** What is on record of the job of a pipeline, and how it is taken off: ended, its files deleted, forgotten. */
export class BatchRecord {
  readonly #batch: BatchConfig;
  readonly #jobs: BatchJobs;
  readonly #storage: Storage;
  readonly #parent: string;
  #notes: BatchNotes;

  constructor({ batch, jobs, storage, parent }: BatchRecordOptions) {
    this.#batch = batch;
    this.#jobs = jobs;
    this.#storage = storage;
    this.#parent = parent;
    // What changes nothing of a job needs no other one.
    const { wait, timeout, labels, maxFailedRatio, copyErrors, keepOutput, join, ...what } = batch;
    this.#notes = { version: 1, what: hashOf([parent, what]) };
  }

  get job(): JobNotes | undefined {
    return this.#notes.job;
  }

  async put(run: RunContext, job: JobNotes, signal: AbortSignal): Promise<JobNotes> {
    await this.#write(run, { ...this.#notes, job }, signal);
    return job;
  }

  /**
   * The job that this run goes on with: one that is on record, or a new one; `done` when all of it was carried.
   *
   * @param goesOn the run has carried something already.
   */
  async takeUp(run: RunContext, goesOn: boolean, signal: AbortSignal): Promise<JobNotes | 'done'> {
    const { what } = this.#notes;
    const found = await readBatchNotes(run, signal);
    if (found !== undefined) this.#notes = found;
    const same = found?.what === what && !run.reset;
    if (found?.job?.durable === true && found.job.run === run.runId) await this.clear(run, signal);
    if (this.#notes.done === run.runId && same) return 'done';
    const { job } = this.#notes;
    // Whoever began with it, it is this run's now.
    if (same && job !== undefined && job.durable !== true) return this.put(run, { ...job, run: run.runId }, signal);
    await run.begins();
    await this.clear(run, signal);
    if (!same) this.#notes = { version: 1, what };
    if (goesOn)
      throw new BrokerError('state_unreadable', 'the job that the run was carrying is not on record any more');
    const { model, output } = this.#batch;
    const { bucket, prefix } = output ?? {};
    const ours =
      model === undefined || bucket === undefined || prefix === undefined ? {} : { output: { bucket, prefix } };
    return this.put(run, { id: randomUUID(), run: run.runId, attempt: 0, ...ours }, signal);
  }

  /** Takes the job off the record; one of ours is ended before its files are deleted. */
  async clear(run: RunContext, signal: AbortSignal): Promise<void> {
    const { job, ...rest } = this.#notes;
    if (job === undefined) return;
    await this.end(signal);
    await this.#write(run, job.durable === true ? { ...rest, done: job.run } : rest, signal);
  }

  /** @throws BrokerError `pending` when a job that was cancelled goes on for too long. */
  async end(signal: AbortSignal): Promise<void> {
    const { job } = this.#notes;
    if (job?.output === undefined) return;
    const { bucket, prefix } = job.output;
    if (job.directory === undefined) await this.#cancel(job, signal);
    if (!this.#batch.keepOutput) await this.#storage.at(`gs://${bucket}/${prefix}`).clear(`${job.id}/`, signal);
  }

  async #cancel(job: JobNotes, signal: AbortSignal): Promise<void> {
    const name = job.name ?? (await this.#nameByLabel(job, signal));
    if (name === undefined) return;
    const isEnded = async (): Promise<boolean> => {
      const found = await this.#jobs.get(name, signal).catch(unlessMissing);
      return found === undefined || isOver(found);
    };
    await ended({ name, isOver: isEnded, cancel: () => this.#jobs.cancel(name, signal) }, signal);
  }

  /** Where its name was not written down any more. */
  async #nameByLabel({ id, attempt }: JobNotes, signal: AbortSignal): Promise<string | undefined> {
    const [found] = await this.#jobs.all(this.#parent, labelFilter(id, attempt), signal);
    return found?.name;
  }

  async #write(run: RunContext, notes: BatchNotes, signal: AbortSignal): Promise<void> {
    await writeNotes(run, notes, signal);
    this.#notes = notes;
  }
}
