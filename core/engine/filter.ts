import { compileGlob } from '../api/glob.ts';
import type { Item } from '../api/item.ts';

/** A glob, or a regular expression of RE2 (linear time), over whole keys. */
export type KeyPattern = string | { readonly regex: string };

/** Which items are wanted. What is not known of an item does not leave it out. */
export interface FilterSpec {
  readonly include?: readonly KeyPattern[] | undefined;
  readonly exclude?: readonly KeyPattern[] | undefined;
  /** Bytes. */
  readonly minSize?: number | undefined;
  readonly maxSize?: number | undefined;
  /** Milliseconds since the epoch. */
  readonly modifiedAfter?: number | undefined;
  readonly modifiedBefore?: number | undefined;
  /** Milliseconds, counted back from the beginning of the run. */
  readonly minAge?: number | undefined;
  readonly maxAge?: number | undefined;
  readonly storageClasses?: readonly string[] | undefined;
  /** Globs. */
  readonly contentTypes?: readonly string[] | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface Filter {
  /** Whether items with this key are wanted at all. */
  key(key: string): boolean;
  /** Why an item is left out, for people; undefined when it is wanted. @param since when the run began. */
  leaves(item: Item, since: number): string | undefined;
}

type Matcher = (key: string) => boolean;

const patternsIn = ({ include = [], exclude = [] }: FilterSpec): readonly KeyPattern[] => [...include, ...exclude];

/** @throws Error with what is wrong with a regular expression. */
export async function filterOf(spec: FilterSpec): Promise<Filter> {
  // Only who asks for one loads the library.
  const isRegex = patternsIn(spec).some((pattern) => typeof pattern !== 'string');
  const regex = isRegex ? (await import('./regex.ts')).compileRegex : undefined;
  const matcher = (pattern: KeyPattern): Matcher =>
    typeof pattern === 'string' ? compileGlob(pattern) : (regex?.(pattern.regex) ?? (() => false));
  const include = spec.include?.map(matcher);
  const exclude = (spec.exclude ?? []).map(matcher);
  const types = spec.contentTypes?.map(compileGlob);
  const key: Matcher = (name) =>
    include?.some((matches) => matches(name)) !== false && !exclude.some((matches) => matches(name));
  return {
    key,
    leaves: (item, since) =>
      key(item.key) ? (bySize(item, spec) ?? byTime(item, spec, since) ?? byKind(item, spec, types)) : 'its key',
  };
}

function bySize({ size }: Item, { minSize = 0, maxSize = Number.POSITIVE_INFINITY }: FilterSpec): string | undefined {
  return size !== undefined && (size < minSize || size > maxSize) ? 'its size' : undefined;
}

function byTime({ modifiedAt }: Item, spec: FilterSpec, since: number): string | undefined {
  const time = Date.parse(modifiedAt ?? '');
  if (Number.isNaN(time)) return undefined;
  const { modifiedAfter = -Infinity, modifiedBefore = Infinity, minAge = -Infinity, maxAge = Infinity } = spec;
  const age = since - time;
  const wanted = time > modifiedAfter && time < modifiedBefore && age >= minAge && age <= maxAge;
  return wanted ? undefined : 'the time of its last change';
}

function byKind(item: Item, spec: FilterSpec, types: readonly Matcher[] | undefined): string | undefined {
  const { storageClass, headers: { contentType } = {}, metadata = {} } = item;
  if (storageClass !== undefined && spec.storageClasses?.includes(storageClass) === false) return 'its storage class';
  if (contentType !== undefined && types?.some((matches) => matches(contentType)) === false) return 'its content type';
  const differs = Object.entries(spec.metadata ?? {}).some(([name, value]) => metadata[name] !== value);
  return differs ? 'its metadata' : undefined;
}
