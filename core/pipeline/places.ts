import { isMap, isScalar, isSeq, type Node, type Pair, type Scalar, type YAMLMap } from 'yaml';
import type { JsonValue } from '../api/json.ts';
import type { Parsed } from './parse.ts';
import type { Path } from './plain.ts';
import type { Problem } from './problem.ts';
import type { Places } from './validate.ts';

/** The parsed document as plain data; numbers that would be rounded go to `problems`. */
export function toData({ document, lines }: Parsed, problems: Problem[]): JsonValue {
  const scalar = (node: Scalar, path: Path): JsonValue => {
    const { value } = node;
    if (typeof value !== 'bigint') return value as JsonValue;
    if (Number.isSafeInteger(Number(value))) return Number(value);
    const { line, col } = lines.linePos(node.range?.[0] ?? 0);
    const message = 'this number is larger than 2^53 and would be rounded: write it in quotes';
    problems.push({ line, column: col, path: path.join('.'), message });
    return null;
  };
  const walk = (node: unknown, path: Path): JsonValue => {
    if (isMap(node)) {
      // Built from entries: no key, whatever its name, can reach a prototype.
      return Object.fromEntries(
        node.items.map((pair) => {
          const key = String(isScalar(pair.key) ? pair.key.value : pair.key);
          return [key, walk(pair.value, [...path, key])];
        }),
      );
    }
    if (isSeq(node)) return node.items.map((entry, index) => walk(entry, [...path, index]));
    return isScalar(node) ? scalar(node, path) : null;
  };
  return walk(document.contents, []);
}

/** The pairs of mappings by their keys, so that many mistakes in a large mapping are found in their number's time. */
type Index = WeakMap<YAMLMap, ReadonlyMap<unknown, Pair>>;

function pairOf(map: YAMLMap, key: unknown, index: Index): Pair | undefined {
  const known =
    index.get(map) ?? new Map(map.items.map((pair) => [isScalar(pair.key) ? pair.key.value : undefined, pair]));
  index.set(map, known);
  return known.get(key);
}

export const placesIn = (parsed: Parsed, index: Index = new WeakMap()): Places => ({
  placeOf: (path, ofKey) => placeOf(parsed, path, ofKey, index),
  textOf: (path) => {
    const node = parsed.document.getIn(path as unknown[], true);
    return isScalar(node) ? node.source : undefined;
  },
});

/** Where a value, or the key that names it, stands; the nearest enclosing place when the path leads nowhere. */
function placeOf({ document, lines }: Parsed, path: Path, ofKey: boolean, index: Index) {
  let node: unknown = document.contents;
  let offset = (node as Node | null)?.range?.[0] ?? 0;
  for (const [depth, step] of path.entries()) {
    if (isMap(node)) {
      const pair = pairOf(node, step, index);
      if (pair === undefined) break;
      const last = depth === path.length - 1;
      const target = last && ofKey ? pair.key : (pair.value ?? pair.key);
      offset = (target as Node).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(step)];
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
    } else break;
  }
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
}
