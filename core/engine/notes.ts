import { BrokerError } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import type { Notes } from '../api/source.ts';
import type { Revision, StateStore } from '../api/state.ts';

/** The notes of one source, kept in the state of its pipeline. */
export class SourceNotes implements Notes {
  readonly #store: StateStore;
  readonly #place: string;
  readonly #reset: boolean;
  #revision: Revision | undefined;

  /**
   * @param number the place of the source in the pipeline's list, from 0.
   * @param reset notes that cannot be read are dropped, and do not end the run.
   */
  constructor(store: StateStore, pipeline: string, number: number, reset: boolean) {
    this.#store = store;
    this.#reset = reset;
    this.#place = `${pipeline}.notes-${number}`;
  }

  async read(options: { readonly signal: AbortSignal }): Promise<JsonValue | undefined> {
    const saved = await this.#store.load(this.#place, options).catch(async (error: unknown) => {
      if (!this.#reset || !(error instanceof BrokerError) || error.code !== 'state_unreadable') throw error;
      await this.#store.reset(this.#place, options);
      return undefined;
    });
    this.#revision = saved?.revision;
    return saved?.value;
  }

  async write(value: JsonValue, options: { readonly signal: AbortSignal }): Promise<void> {
    this.#revision = await this.#store.save(this.#place, value, this.#revision, options);
  }
}
