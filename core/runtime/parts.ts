import { BrokerError } from '../api/errors.ts';
import type { Selection, Source } from '../api/source.ts';
import { visible } from '../api/text.ts';

/** What of the pipeline to carry, as a caller says it. */
export interface Part {
  /** In full, or as a URL: `2026/a.csv`, `gs://bucket/2026/a.csv`. */
  readonly object?: string | undefined;
  readonly prefix?: string | undefined;
  readonly resetState?: boolean | undefined;
}

/** What a part is, once it is found to be one of the pipeline's; empty for the whole. */
export interface Chosen {
  readonly only?: Selection;
  readonly url?: string;
}

/** The keys of an object: several where sources overlap, none where it lies outside of all. */
export function keysOf(sources: readonly Source[], url: string): readonly string[] {
  const keys = sources.map((source) => source.keyOf?.(url));
  return [...new Set(keys.filter((key) => key !== undefined))];
}

/** @throws BrokerError `outside_pipeline`: a caller may choose a part of what the pipeline carries, and nothing else. */
export function chosen(sources: readonly Source[], { object, prefix }: Part): Chosen {
  const wanted = object ?? prefix;
  if (wanted === undefined) return {};
  for (const source of sources) {
    if (source.keyOf === undefined) continue;
    const url = /^[a-z][a-z0-9]*:\/\//.test(wanted) ? wanted : bucketOf(source.location) + wanted;
    if (object === undefined && url === source.location) {
      if (sources.length === 1) return {};
      const hint = 'Name a longer prefix, or send no prefix at all.';
      throw new BrokerError('invalid_event', `${visible(url)} is the whole of one of several sources`, { hint });
    }
    const key = source.keyOf(url);
    if (key !== undefined) return { only: object === undefined ? { prefix: key } : { key }, url };
  }
  const places = sources.map(({ location }) => location).join(', ');
  throw new BrokerError('outside_pipeline', `${visible(wanted.slice(0, 300))} is not below ${places}`);
}

/** `gs://bucket/` of `gs://bucket/any/prefix`. */
const bucketOf = (location: string): string => /^[a-z0-9]+:\/\/[^/]*\//.exec(location)?.[0] ?? '';
