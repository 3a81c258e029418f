import { compareKeys } from '../api/keys.ts';
import { NameSpace } from './name-space.ts';

/** Keys after the first, up to the second and with it; absent where there is no limit. */
export interface KeyRange {
  readonly after?: string;
  readonly until?: string;
}

/** The first keys after a place in a listing, in order. */
export interface Glimpse {
  readonly keys: readonly string[];
  /** There are no more. */
  readonly isAll: boolean;
}

/** Looks at what comes after a key; undefined when it cannot be seen in time. */
export type Look = (after: string | undefined) => Promise<Glimpse | undefined>;

export interface CutOptions {
  /** Ranges that are wanted at most. */
  readonly most: number;
  /** Keys for which a range of its own is not worth it. */
  readonly few: number;
  /** Looks that are taken at most, and at once. */
  readonly looks: number;
  readonly atOnce: number;
  /** What was cut by then is enough. */
  readonly stop?: AbortSignal;
}

/** A range that is halved when it is the heaviest. */
interface Candidate {
  readonly after: string | undefined;
  readonly until: string | undefined;
  /** What lies at its beginning. */
  readonly seen: readonly string[];
  /** Nothing lies above it; never beyond `until`. */
  readonly bound: string | undefined;
  /** How many keys it holds: counted, or guessed from how dense they lie at its beginning. */
  readonly weight: number;
}

/**
 * Cuts a listing into ranges of about as many keys each, without reading it: the heaviest range is halved again and again
 * in the space of names, and a look at the middle shows how dense they lie there. What comes out is a partition whatever
 * the looks show: names that lie unevenly make ranges of uneven weight, and nothing worse.
 */
export async function cutRanges(
  look: Look,
  { most, few, looks, atOnce, stop }: CutOptions,
): Promise<readonly KeyRange[]> {
  const names = new NameSpace();
  const start = await look(undefined);
  if (start === undefined || start.isAll) return [{}];
  names.learn(start.keys);
  const whole = { after: undefined, until: undefined, bound: undefined, seen: start.keys };
  let ranges: Candidate[] = [{ ...whole, weight: Number.POSITIVE_INFINITY }];
  for (let left = looks; left > 0 && ranges.length < most && stop?.aborted !== true; ) {
    const heavy = ranges
      .filter(({ weight }) => weight > few)
      .sort((a, b) => b.weight - a.weight)
      .slice(0, Math.min(atOnce, left, most - ranges.length));
    if (heavy.length === 0) break;
    left -= heavy.length;
    const halves = await Promise.all(heavy.map((range) => halved(range, look, names)));
    ranges = [...ranges.filter((range) => !heavy.includes(range)), ...halves.flat()];
  }
  ranges.sort((a, b) => compareKeys(a.after ?? '', b.after ?? ''));
  return ranges.map(({ after, until }) => ({
    ...(after === undefined ? {} : { after }),
    ...(until === undefined ? {} : { until }),
  }));
}

async function halved(range: Candidate, look: Look, names: NameSpace): Promise<readonly Candidate[]> {
  const { after, until, seen, bound } = range;
  const middle = names.between(seen[0] ?? '', bound);
  // As narrow as names are: it stays as it is.
  if (middle === undefined) return [{ ...range, weight: 0 }];
  const glimpse = await look(middle);
  if (glimpse === undefined) return [{ ...range, weight: 0 }];
  const { keys, isAll } = glimpse;
  names.learn(keys);
  const above = keys.filter((key) => isWithin(key, until) && compareKeys(key, middle) > 0);
  const isCounted = isAll || above.length < keys.length;
  const lower = { after, until: middle, seen: seen.filter((key) => isWithin(key, middle)), bound: middle };
  // Nothing lies above the middle: what there is lies below, and is halved there.
  if (above.length === 0) return [weighed({ ...range, seen: lower.seen, bound: middle }, seen.length, names)];
  const upper = { after: middle, until, seen: above, bound };
  return [
    weighed(lower, seen.length, names),
    isCounted ? { ...upper, weight: above.length } : weighed(upper, above.length, names),
  ];
}

/** @param looked keys that were seen from its beginning on, whether they are in it or not. */
function weighed(range: Omit<Candidate, 'weight'>, looked: number, names: NameSpace): Candidate {
  const { seen, bound } = range;
  // The look went beyond its end: they are all.
  if (seen.length < looked) return { ...range, weight: seen.length };
  // The first names may lie far from the others, as `1` and `10` do from `100000`: the dense half is believed.
  const [half, last] = [seen[seen.length >> 1] ?? '', seen.at(-1) ?? ''];
  const guess = (count: number, from: string): number => count / names.share(from, last, bound);
  return { ...range, weight: Math.max(guess(seen.length, seen[0] ?? ''), guess(seen.length / 2, half)) };
}

const isWithin = (key: string, until: string | undefined): boolean =>
  until === undefined || compareKeys(key, until) <= 0;
