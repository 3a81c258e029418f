import type { Item } from '../api/item.ts';
import type { RunContext, Source } from '../api/source.ts';
import type { Filter } from './filter.ts';
import type { KeyMap } from './key-map.ts';
import { type Decision, type Named, refusal } from './naming.ts';
import { listed } from './select.ts';

export interface RivalsOptions {
  readonly sources: readonly Source[];
  readonly keys: KeyMap;
  readonly filter?: Filter | undefined;
  readonly run: (source: number) => RunContext;
  readonly signal: AbortSignal;
  readonly since?: number;
}

/** What a run of a part says of an item whose key may be another's: the sources are asked for the others, one by one. */
export class Rivals {
  readonly #options: RivalsOptions;

  constructor(options: RivalsOptions) {
    this.#options = options;
  }

  /** @returns a refusal; undefined when what is there under the key can be of no other item. */
  async refuses({ item, from = item.key, source }: Named): Promise<Decision | undefined> {
    const { keys } = this.#options;
    if (keys.mayCome === undefined) return taken(`${item.id}: "${item.key}" is there, and may be of another item`);
    for (const key of new Set(keys.mayCome(item.key)))
      for (const [number, other] of this.#options.sources.entries())
        for await (const found of this.#named(other, number, key))
          if (keys.of(found) === item.key && !(number === source && found.key === from))
            return taken(`${item.id}: "${item.key}" is also the key of ${found.id}`);
    return undefined;
  }

  async *#named(source: Source, number: number, key: string): AsyncGenerator<Item> {
    const { run, signal, filter, since = Date.now() } = this.#options;
    for await (const item of listed(source, { signal, run: run(number), only: { key } }))
      if (filter?.leaves(item, since) === undefined) yield item;
  }
}

const taken = (what: string): Decision =>
  refusal('key_collision', what, 'Run the pipeline as a whole: that knows all keys.');
