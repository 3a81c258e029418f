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
import type { ResourceConfig } from './config.ts';
import type { Mode } from './mode.ts';
import { ModelExport } from './model-export.ts';
import { placesOf } from './resource-place.ts';
import { folderUrl, parseGs, type Storage } from './storage.ts';
import { waitFor } from './waiting.ts';

const refSchema = z.object({ place: z.string(), staged: z.unknown() });

/** The files of a model, a pipeline or a job: one resolver from the resource to Cloud Storage. */
export class ResourceMode implements Mode {
  readonly location: string;
  readonly #resource: ResourceConfig;
  readonly #api: VertexApi;
  readonly #storage: Storage;
  readonly #context: PluginContext;
  readonly #export: ModelExport | undefined;
  #facts: Facts | undefined;

  constructor(resource: ResourceConfig, api: VertexApi, storage: Storage, context: PluginContext) {
    this.location = `vertexai://${resource.name}`;
    this.#resource = resource;
    this.#api = api;
    this.#storage = storage;
    this.#context = context;
    this.#export = resource.export && new ModelExport(resource, api, storage, context);
  }

  async *list({ after, only, run, signal }: ListOptions): AsyncGenerator<Item> {
    if (run.purpose === 'survey' || only !== undefined) return;
    const { name, artifact, wait: waitMs } = this.#resource;
    const { now } = this.#context;
    let places: readonly string[];
    if (this.#export !== undefined && run.purpose === 'run') {
      const place = await this.#export.place(run, after, signal);
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
    if (outcome === 'complete') await this.#export?.done(run, signal);
  }

  facts(): Facts | undefined {
    return this.#facts;
  }

  async check(signal: AbortSignal): Promise<readonly Check[]> {
    const { name, artifact } = this.#resource;
    return [await checked('resource', async () => (await placesOf(this.#api, name, artifact, signal)).join(', '))];
  }

  async close(lasts: RunContext['lasts'], signal: AbortSignal): Promise<void> {
    if (lasts === 'process') await this.#export?.end(signal);
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
}

function unlessPending(error: unknown): undefined {
  if (!(error instanceof BrokerError) || error.code !== 'pending') throw error;
}
