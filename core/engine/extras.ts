import { ahead } from '../api/ahead.ts';
import { BrokerError } from '../api/errors.ts';
import type { Item, StoredObject } from '../api/item.ts';
import type { Sink } from '../api/sink.ts';
import type { RunContext, Source } from '../api/source.ts';
import { isFolderMarker } from './naming.ts';
import { isBeyond, merged } from './order.ts';
import type { Action, Rules, Step } from './plan.ts';
import { listed } from './select.ts';

/** How much may be deleted; more, and nothing is. */
export interface DeleteGuard {
  readonly maxCount: number;
  /** Of the objects of the sink that the pipeline could have written. */
  readonly maxPercent: number;
}

/** Objects of a sink, and how many of them no source has. */
export interface ExtrasCount {
  readonly found: number;
  readonly of: number;
}

export interface ExtrasOptions extends Pick<Rules, 'filter' | 'keys' | 'folderMarkers'> {
  readonly sources: readonly Source[];
  readonly sinks: readonly Sink[];
  readonly run: (source: number) => RunContext;
  readonly signal: AbortSignal;
  /** In the sources: only what comes after this key, up to the other. */
  readonly after?: string | undefined;
  readonly until?: string | undefined;
}

/**
 * Walks a sink beside all sources. Extra is what none of them has, whether a filter lets it through or not, and what
 * the pipeline could have written: a key that is left out by a filter, or that no source selects, is somebody else's.
 *
 * @yields for each object that the pipeline could have written whether it is extra, in key order; with its key in the sources.
 */
export async function* withExtras(
  options: ExtrasOptions,
  number: number,
): AsyncGenerator<{ readonly stored: StoredObject; readonly key: string; readonly extra: boolean }> {
  const { sources, sinks, run, signal, filter, keys, folderMarkers = 'copy', after } = options;
  const sink = sinks[number];
  if (sink?.list === undefined) return;
  const sourceKey = (key: string): string | undefined => (keys === undefined ? key : keys.sourceKey?.(key));
  const isOurs = ({ key, size }: Item): boolean =>
    // A marker that is not carried was made by somebody else; that of the source itself never is.
    !(isFolderMarker({ key, size }) && (folderMarkers !== 'copy' || key === '')) &&
    filter?.key(key) !== false &&
    sources.some((source) => source.selects?.(key) !== false);
  const listings = sources.map((source, place) => ({
    items: source.list({ signal, run: run(place), ...(after === undefined ? {} : { after }) }),
    location: source.location,
  }));
  const stored = sink.list({ signal, ...(after === undefined ? {} : { after: (keys?.prefix ?? '') + after }) });
  const asItems = (async function* (): AsyncGenerator<Item> {
    for await (const object of stored) {
      const key = sourceKey(object.key);
      if (key !== undefined) yield { id: key, key, size: object.size, ref: object as never };
    }
  })();
  for await (const group of merged([...listings, { items: asItems, location: sink.location }])) {
    if (isBeyond(group[0]?.item.key ?? '', options.until)) return;
    const ours = group.find(({ source }) => source === sources.length);
    if (ours === undefined || !isOurs(ours.item)) continue;
    yield { stored: ours.item.ref as unknown as StoredObject, key: ours.item.key, extra: group.length === 1 };
  }
}

export async function countExtras(options: ExtrasOptions, sink: number): Promise<ExtrasCount> {
  let [found, of] = [0, 0];
  for await (const { extra } of withExtras(options, sink)) {
    of++;
    if (extra) found++;
  }
  return { found, of };
}

/** @throws BrokerError `delete_guard` when more would be deleted than may be. */
export function guard({ maxCount, maxPercent }: DeleteGuard, { found, of }: ExtrasCount, location: string): void {
  const percent = of === 0 ? 0 : (found / of) * 100;
  if (found <= maxCount && percent <= maxPercent) return;
  const [limit, option] =
    found > maxCount ? [`${maxCount}`, `maxCount: ${found}`] : [`${maxPercent} %`, `maxPercent: ${Math.ceil(percent)}`];
  throw new BrokerError(
    'delete_guard',
    `${found} of ${of} objects in ${location} are in no source (${percent.toFixed(1)} %), at most ${limit} may be deleted; none was`,
    { hint: `Look at \`isthmus plan\`. If all of them are to go, set delete.${option}; if not, mend the source.` },
  );
}

/** The id of what has come to be in a source under a key of the sink; undefined while nothing has. */
export async function inSources(options: Omit<ExtrasOptions, 'sinks'>, key: string): Promise<string | undefined> {
  const { sources, run, signal, keys } = options;
  const only = { key: keys === undefined ? key : (keys.sourceKey?.(key) ?? key) };
  for (const [number, source] of sources.entries())
    for await (const { id } of listed(source, { only, signal, run: run(number) })) return id;
  return undefined;
}

const ASKED_AT_ONCE = 32;

/** @param most no more are deleted than were counted. */
export async function* deleteSteps(options: ExtrasOptions, sink: number, most: number): AsyncGenerator<Step> {
  const location = options.sinks[sink]?.location ?? '';
  const found = (async function* () {
    let left = most;
    for await (const { stored, extra } of withExtras(options, sink)) {
      if (!extra) continue;
      if (left-- === 0)
        throw new BrokerError('delete_guard', `${location} has more that no source has than a moment ago`, {
          hint: 'Run again when nobody else writes there.',
        });
      yield stored;
    }
  })();
  // The listing of a source may be older than what another run has written since.
  yield* ahead(found, ASKED_AT_ONCE, async (stored): Promise<Step> => {
    const id = await inSources(options, stored.key);
    const action = deletion(stored, sink, location);
    const kept: Action = { ...action, action: 'skip', left: true, reason: `${id} has come to be in a source` };
    return { key: stored.key, actions: [id === undefined ? action : kept] };
  });
}

export const deletion = (stored: StoredObject, sink: number, location: string): Action => ({
  action: 'delete',
  reason: 'no source has it',
  item: { id: location + stored.key, key: stored.key, size: stored.size, ref: null },
  source: -1,
  sink,
  stored,
  looked: true,
});
