import { randomUUID } from 'node:crypto';
import { BrokerError, type PluginContext, type RunContext, z } from '../../core/api/index.ts';
import { ended, unlessMissing } from '../google/ended.ts';
import type { VertexApi } from './api.ts';
import { hashOf, readNotes, writeNotes } from './batch-notes.ts';
import type { ResourceConfig } from './config.ts';
import type { Storage } from './storage.ts';
import { waitFor } from './waiting.ts';

const exportNotes = z.strictObject({
  id: z.string(),
  run: z.string(),
  /** Where the copy goes, below the folder of the id. */
  bucket: z.string(),
  prefix: z.string(),
  operation: z.string().exactOptional(),
  durable: z.literal(true).exactOptional(),
});

const notesSchema = z.strictObject({
  version: z.literal(1),
  what: z.string(),
  done: z.string().exactOptional(),
  /** Under way, or carried and to be deleted. */
  export: exportNotes.exactOptional(),
});
type ExportNotes = z.output<typeof notesSchema>;

const operationSchema = z.object({
  name: z.string(),
  done: z.boolean().default(false),
  error: z.object({ message: z.string().default('') }).optional(),
  metadata: z.object({ outputInfo: z.object({ artifactOutputUri: z.string().optional() }).optional() }).optional(),
});
type Operation = z.output<typeof operationSchema>;

/**
 * The copy of a model that is made to be carried, and deleted afterwards.
 *
 * Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models/export
 */
export class ModelExport {
  readonly #resource: ResourceConfig;
  readonly #api: VertexApi;
  readonly #storage: Storage;
  readonly #context: PluginContext;
  #notes: ExportNotes;

  constructor(resource: ResourceConfig, api: VertexApi, storage: Storage, context: PluginContext) {
    this.#resource = resource;
    this.#api = api;
    this.#storage = storage;
    this.#context = context;
    const { wait, ...what } = resource;
    this.#notes = { version: 1, what: hashOf(what) };
  }

  /** `gs://…` of the copy; undefined when this run has carried it already. @throws BrokerError `pending` before. */
  async place(run: RunContext, after: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const { what } = this.#notes;
    const found = await readNotes(notesSchema, run, signal);
    if (found !== undefined) this.#notes = found;
    const same = found?.what === what && !run.reset;
    if (found?.export?.durable === true || (found?.export !== undefined && !same)) await this.#clear(run, signal);
    if (same && this.#notes.done === run.runId) return undefined;
    if (!same) this.#notes = { version: 1, what };
    const { name, export: wanted, wait: waitMs } = this.#resource;
    const { bucket = '', prefix = '', format } = wanted ?? {};
    let current = this.#notes.export;
    if (current === undefined) {
      await run.begins();
      if (after !== undefined)
        throw new BrokerError('state_unreadable', 'the export that the run was carrying is not on record any more');
      current = { id: randomUUID(), run: run.runId, bucket, prefix };
    }
    // Whoever began with it, it is this run's now.
    current = { ...current, run: run.runId };
    await this.#write(run, { ...this.#notes, export: current }, signal);
    if (current.operation === undefined) {
      const outputUriPrefix = `gs://${bucket}/${prefix}${current.id}/`;
      const outputConfig = { exportFormatId: format, artifactDestination: { outputUriPrefix } };
      const begun = await this.#api.begin(`${name}:export`, JSON.stringify({ outputConfig }), signal);
      current = { ...current, operation: operationSchema.parse(begun).name };
      await this.#write(run, { ...this.#notes, export: current }, signal);
    }
    const { operation = '' } = current;
    const ask = async (): Promise<Operation | undefined> => {
      const told = await this.#look(operation, signal);
      return told.done ? told : undefined;
    };
    const { error, metadata } = await waitFor(operation, ask, { waitMs, now: this.#context.now, signal });
    const place = metadata?.outputInfo?.artifactOutputUri;
    if (error === undefined && place !== undefined) return place;
    await this.#clear(run, signal);
    throw new BrokerError('job_failed', `export of ${name}: ${error?.message || 'it does not say where it wrote'}`);
  }

  /** All of it is proved in the sink. */
  async done(run: RunContext, signal: AbortSignal): Promise<void> {
    const { export: current } = this.#notes;
    if (current === undefined) return;
    await this.#write(run, { ...this.#notes, export: { ...current, durable: true } }, signal);
    await this.#clear(run, signal);
  }

  /** What is under way writes no more before its files are deleted. */
  async end(signal: AbortSignal): Promise<void> {
    const { export: current } = this.#notes;
    if (current === undefined) return;
    const { bucket, prefix, id, operation, durable } = current;
    if (operation !== undefined && durable !== true) {
      const isOver = async (): Promise<boolean> => (await this.#look(operation, signal)).done;
      const cancel = (): Promise<unknown> => this.#api.begin(`${operation}:cancel`, '{}', signal);
      await ended({ name: operation, isOver, cancel }, signal);
    }
    await this.#storage.at(`gs://${bucket}/${prefix}`).clear(`${id}/`, signal);
  }

  async #look(operation: string, signal: AbortSignal): Promise<Operation> {
    const found = await this.#api.get(operation, signal).catch(unlessMissing);
    if (found !== undefined) return operationSchema.parse(found);
    // Operations are not known for ever; the next run exports anew.
    return { name: operation, done: true, error: { message: 'its operation is not known any more' } };
  }

  async #clear(run: RunContext, signal: AbortSignal): Promise<void> {
    const { export: current, ...rest } = this.#notes;
    if (current === undefined) return;
    await this.end(signal);
    await this.#write(run, current.durable === true ? { ...rest, done: current.run } : rest, signal);
  }

  async #write(run: RunContext, notes: ExportNotes, signal: AbortSignal): Promise<void> {
    await writeNotes(run, notes, signal);
    this.#notes = notes;
  }
}
