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
  z,
} from '../../core/api/index.ts';
import type { VertexApi } from './api.ts';
import { hashOf, readNotes, writeNotes } from './batch-notes.ts';
import type { ResourceConfig } from './config.ts';
import type { Mode } from './mode.ts';
import { placesOf } from './resource-place.ts';
import { folderUrl, parseGs, type Storage } from './storage.ts';
import { waitFor } from './waiting.ts';

const refSchema = z.object({ place: z.string(), staged: z.unknown() });

const notesSchema = z.strictObject({
  version: z.literal(1),
  what: z.string(),
  done: z.string().exactOptional(),
  /** An export of a model that is under way, or carried and to be deleted. */
  export: z
    .strictObject({
      id: z.string(),
      run: z.string(),
      operation: z.string().exactOptional(),
      durable: z.literal(true).exactOptional(),
    })
    .exactOptional(),
});
type ResourceNotes = z.output<typeof notesSchema>;

const operationSchema = z.object({
  name: z.string(),
  done: z.boolean().default(false),
  error: z.object({ message: z.string().default('') }).optional(),
  metadata: z.object({ outputInfo: z.object({ artifactOutputUri: z.string().optional() }).optional() }).optional(),
});

/** The files of a model, a pipeline or a job: one resolver from the resource to Cloud Storage. */
export class ResourceMode implements Mode {
  readonly location: string;
  readonly #resource: ResourceConfig;
  readonly #api: VertexApi;
  readonly #storage: Storage;
  readonly #context: PluginContext;
  #notes: ResourceNotes;
  #facts: Facts | undefined;

  constructor(resource: ResourceConfig, api: VertexApi, storage: Storage, context: PluginContext) {
    this.location = `vertexai://${resource.name}`;
    this.#resource = resource;
    this.#api = api;
    this.#storage = storage;
    this.#context = context;
    this.#notes = { version: 1, what: hashOf(resource) };
  }

  async *list({ after, run, signal }: ListOptions): AsyncGenerator<Item> {
    if (run.purpose === 'survey') return;
    const { name, artifact, export: wanted, wait: waitMs } = this.#resource;
    const { now } = this.#context;
    let places: readonly string[];
    if (wanted !== undefined && run.purpose === 'run') {
      const place = await this.#exported(run, after, signal);
      if (place === undefined) return;
      places = [place];
    } else {
      const ask = (): Promise<readonly string[] | undefined> =>
        placesOf(this.#api, name, artifact, signal).catch(unlessPending);
      places = await waitFor(name, ask, { waitMs: run.purpose === 'plan' ? 0 : waitMs, now, signal });
    }
    this.#facts = { resource: name, places: [...places] };
    for (const item of await this.#files(places, signal))
      if (after === undefined || compareKeys(item.key, after) > 0) yield item;
  }

  open(item: Item, { range, signal }: Parameters<Source['open']>[1]): Promise<ByteStream> {
    const { place, staged } = refSchema.parse(item.ref);
    return this.#storage.at(place).open({ ...item, ref: staged as Item['ref'] }, range, signal);
  }

  async finish({ outcome, run, signal }: Parameters<NonNullable<Source['finish']>>[0]): Promise<void> {
    const { export: current } = this.#notes;
    if (current === undefined || outcome !== 'complete') return;
    await this.#write(run, { ...this.#notes, export: { ...current, durable: true } }, signal);
    await this.#clear(run, signal);
  }

  facts(): Facts | undefined {
    return this.#facts;
  }

  async check(signal: AbortSignal): Promise<readonly Check[]> {
    const { name, artifact } = this.#resource;
    return [await checked('resource', async () => (await placesOf(this.#api, name, artifact, signal)).join(', '))];
  }

  async close(lasts: RunContext['lasts'], signal: AbortSignal): Promise<void> {
    const { export: current } = this.#notes;
    if (lasts === 'process' && current !== undefined)
      await this.#copies?.clear(`${current.id}/`, signal).catch(() => undefined);
  }

  get #copies() {
    const { export: wanted } = this.#resource;
    return wanted && this.#storage.at(`gs://${wanted.bucket}/${wanted.prefix}`);
  }

  /** Several places may hold the same names: then each has a folder of its own. */
  async #files(places: readonly string[], signal: AbortSignal): Promise<Item[]> {
    const items: Item[] = [];
    for (const [index, place] of places.entries()) {
      const before = places.length === 1 ? '' : `${index}/`;
      const folder = folderUrl(place);
      const found = await Array.fromAsync(this.#storage.at(folder).list('', signal));
      for (const item of found)
        if (item.key !== '' && !item.key.endsWith('/'))
          items.push({ ...item, key: before + item.key, ref: { place: folder, staged: item.ref } });
      if (found.length > 0) continue;
      // The place may be one object.
      const { bucket, name } = parseGs(place);
      const all = `gs://${bucket}/`;
      for await (const item of this.#storage.at(all).list(name, signal)) {
        if (item.key === '')
          items.push({
            ...item,
            key: before + name.slice(name.lastIndexOf('/') + 1),
            ref: { place: all, staged: item.ref },
          });
        break;
      }
    }
    return items.sort((a, b) => compareKeys(a.key, b.key));
  }

  /** The copy of a model that was asked for. Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models/export */
  async #exported(run: RunContext, after: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const { what } = this.#notes;
    const found = await readNotes(notesSchema, run, signal);
    if (found !== undefined) this.#notes = found;
    const same = found?.what === what && !run.reset;
    if (found?.export?.durable === true || (found?.export !== undefined && !same)) await this.#clear(run, signal);
    if (same && this.#notes.done === run.runId) return undefined;
    if (!same) this.#notes = { version: 1, what };
    let current = this.#notes.export;
    if (current === undefined) {
      if (after !== undefined)
        throw new BrokerError('state_unreadable', 'the export that the run was carrying is not on record any more');
      await run.begins();
      current = { id: randomUUID(), run: run.runId };
      await this.#write(run, { ...this.#notes, export: current }, signal);
    }
    if (current.operation === undefined) {
      const { name, export: wanted } = this.#resource;
      const outputUriPrefix = `gs://${wanted?.bucket}/${wanted?.prefix}${current.id}/`;
      const outputConfig = { exportFormatId: wanted?.format, artifactDestination: { outputUriPrefix } };
      const begun = operationSchema.parse(
        await this.#api.post(`${name}:export`, JSON.stringify({ outputConfig }), signal),
      );
      current = { ...current, operation: begun.name };
      await this.#write(run, { ...this.#notes, export: current }, signal);
    }
    const { operation = '' } = current;
    const { wait: waitMs } = this.#resource;
    const ask = async () => {
      const told = operationSchema.parse(await this.#api.get(operation, signal));
      return told.done ? told : undefined;
    };
    const { error, metadata } = await waitFor(operation, ask, { waitMs, now: this.#context.now, signal });
    const place = metadata?.outputInfo?.artifactOutputUri;
    if (error === undefined && place !== undefined) return place;
    await this.#clear(run, signal);
    throw new BrokerError(
      'job_failed',
      `export of ${this.#resource.name}: ${error?.message || 'it does not say where it wrote'}`,
    );
  }

  async #clear(run: RunContext, signal: AbortSignal): Promise<void> {
    const { export: current, ...rest } = this.#notes;
    if (current === undefined) return;
    await this.#copies?.clear(`${current.id}/`, signal);
    await this.#write(run, current.durable === true ? { ...rest, done: current.run } : rest, signal);
  }

  async #write(run: RunContext, notes: ResourceNotes, signal: AbortSignal): Promise<void> {
    await writeNotes(run, notes, signal);
    this.#notes = notes;
  }
}

function unlessPending(error: unknown): undefined {
  if (!(error instanceof BrokerError) || error.code !== 'pending') throw error;
}
