import type { JsonValue } from '../api/json.ts';
import type { Notes } from '../api/source.ts';
import type { Revision, StateStore } from '../api/state.ts';

/** The notes of one source, kept in the state of its pipeline. */
export class SourceNotes implements Notes {
  readonly #store: StateStore;
  readonly #place: string;
  #revision: Revision | undefined;

  /** @param number the place of the source in the pipeline's list, from 0. */
  constructor(store: StateStore, pipeline: string, number: number) {
    this.#store = store;
    this.#place = `${pipeline}.notes-${number}`;
  }

  async read(options: { readonly signal: AbortSignal }): Promise<JsonValue | undefined> {
    const saved = await this.#store.load(this.#place, options);
    this.#revision = saved?.revision;
    return saved?.value;
  }

  async write(value: JsonValue, options: { readonly signal: AbortSignal }): Promise<void> {
    this.#revision = await this.#store.save(this.#place, value, this.#revision, options);
  }

  async reset(options: { readonly signal: AbortSignal }): Promise<void> {
    await this.#store.reset(this.#place, options);
    this.#revision = undefined;
  }
}
