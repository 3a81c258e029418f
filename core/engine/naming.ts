import type { ErrorCode } from '../api/error-codes.ts';
import { BrokerError } from '../api/errors.ts';
import type { Item } from '../api/item.ts';
import { compareKeys } from '../api/keys.ts';
import type { Source } from '../api/source.ts';
import type { Filter } from './filter.ts';
import { type KeyMap, TakenKeys } from './key-map.ts';
import type { Listed } from './order.ts';
import type { Action } from './plan.ts';

/** What becomes of objects that stand for a folder: their names end in `/`, and they are empty. */
export type FolderMarkers = 'copy' | 'skip' | 'refuse';

export interface NamingOptions {
  readonly sources: readonly Source[];
  readonly filter?: Filter | undefined;
  readonly folderMarkers?: FolderMarkers;
  /** Under which keys items are written; by default their own. */
  readonly keys?: KeyMap | undefined;
  /** What becomes of an item that is not there any more. */
  readonly missing?: 'fail' | 'skip';
  /** When the run began; milliseconds since the epoch. */
  readonly since?: number;
}

/** An item with the key that it gets, or what is decided already: it is not to be looked for in the sinks. */
export interface Named extends Listed {
  /** The key that it has in its source, where that is another. */
  readonly from?: string;
  readonly decided?: Decision;
}

/** What is decided by a rule alone. */
export type Decision = Pick<Action, 'action' | 'reason' | 'left' | 'code' | 'hint'>;

/** All that has one key in the sources. */
export interface Group {
  readonly key: string;
  readonly entries: readonly Named[];
}

/** Gives items their keys, and decides what the pipeline decides without a look at the sinks. */
export class Naming {
  readonly #options: NamingOptions;
  readonly #taken: TakenKeys | undefined;

  constructor(options: NamingOptions) {
    this.#options = options;
    this.#taken = options.keys?.unique === false ? new TakenKeys() : undefined;
  }

  /** @param after of what comes up to this key only the names are taken note of: then the answer is undefined. */
  of(group: readonly Listed[], after: string | undefined): Group | undefined {
    const key = group[0]?.item.key ?? '';
    const entries = group.map((one) => this.#named(one));
    if (this.#taken !== undefined && after !== undefined && compareKeys(key, after) <= 0) return undefined;
    return { key, entries: entries.length > 1 ? this.#collided(entries) : entries };
  }

  #named({ item, source }: Listed): Named {
    const { filter, folderMarkers = 'copy', keys, missing, since = Date.now() } = this.#options;
    const leaves = filter?.leaves(item, since);
    if (leaves !== undefined) return { item, source, decided: leave(`left out by the filter: ${leaves}`) };
    // The folder that the source itself is has no name below it.
    if (item.key === '' && item.size === 0) return { item, source, decided: leave('it stands for the source itself') };
    if (folderMarkers !== 'copy' && isFolderMarker(item)) {
      const refused = refusal('key_refused', `${item.id} stands for a folder`, 'Set folderMarkers: copy, or skip.');
      return { item, source, decided: folderMarkers === 'skip' ? leave('it stands for a folder') : refused };
    }
    const { problem } = item;
    if (problem?.code === 'source_gone' && missing === 'skip') return { item, source, decided: leave(problem.message) };
    if (problem !== undefined) return { item, source, decided: refusal(problem.code, problem.message, problem.hint) };
    return keys === undefined ? { item, source } : this.#mapped(item, source, keys);
  }

  #mapped(item: Item, source: number, keys: KeyMap): Named {
    const key = keys.of(item);
    if (key === undefined || key === '') {
      const why = `${item.id} does not have what its key is to be made of`;
      const hint = 'Change key.template, or leave the item out with filter.exclude.';
      return { item, source, decided: refusal('key_refused', why, hint) };
    }
    const named = { item: { ...item, key }, source, ...(key === item.key ? {} : { from: item.key }) };
    if (this.#taken === undefined) return named;
    if (this.#taken.take(key)) {
      if (this.#taken.full) throw tooMany();
      return named;
    }
    const why = `${item.id}: the key "${key}" is taken by an item before it`;
    return { ...named, decided: keys.collisions === 'skip' ? leave(why) : refusal('key_collision', why) };
  }

  /** What would have one key in the sinks can none of it be stored. */
  #collided(entries: readonly Named[]): readonly Named[] {
    const open = entries.filter(({ decided }) => decided === undefined);
    if (new Set(open.map(({ item }) => item.key)).size === open.length) return entries;
    const places = open.map(({ source }) => this.#options.sources[source]?.location ?? '').join(' and ');
    return entries.map((one) =>
      one.decided === undefined
        ? { ...one, decided: refusal('key_collision', `"${one.item.key}" is in ${places}`) }
        : one,
    );
  }
}

const leave = (reason: string): Decision => ({ action: 'skip', reason, left: true });

/** Through the error class, which makes names safe to show. */
export function refusal(code: ErrorCode, message: string, hint?: string): Decision & { readonly action: 'refuse' } {
  const error = new BrokerError(code, message, hint === undefined ? {} : { hint });
  return { action: 'refuse', reason: error.message, code, hint: error.hint };
}

/** Source: https://cloud.google.com/storage/docs/objects#simulated-folders, and what Hadoop's connector writes. */
export const isFolderMarker = ({ key, size }: { readonly key: string; readonly size?: number | undefined }): boolean =>
  size === 0 && (key === '' || key.endsWith('/') || key.endsWith('_$folder$'));

const tooMany = (): BrokerError =>
  new BrokerError('invalid_config', 'there are more items than a key template without {key} can tell apart', {
    hint: 'Put {key}, or {dir}{name}, into key.template; or carry a part with filter.include.',
  });
