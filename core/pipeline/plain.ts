import { isMap, isScalar, isSeq, type Node, type Scalar } from 'yaml';
import type { JsonValue } from '../api/json.ts';
import { looksSecret } from '../api/text.ts';
import { type Environment, interpolate } from './interpolate.ts';
import type { Parsed } from './parse.ts';
import type { Problem } from './problem.ts';

export type Path = readonly PropertyKey[];

/** A pipeline file as plain data with its variables filled in. */
export interface Plain {
  readonly value: JsonValue;
  /** The places of texts that came from variables: numbers and booleans among them may be read as such. */
  readonly interpolated: ReadonlySet<string>;
}

/** A name for a path that no key can counterfeit. */
export const pathId = (path: Path): string => JSON.stringify(path);

/** Turns the parsed document into plain data; mistakes in references and numbers go to `problems`. */
export function toPlain({ document, lines }: Parsed, environment: Environment, problems: Problem[]): Plain {
  const interpolated = new Set<string>();
  const scalar = (node: Scalar, path: Path): JsonValue => {
    const { line, col } = lines.linePos(node.range?.[0] ?? 0);
    const report = (message: string): void => {
      problems.push({ line, column: col, path: path.join('.'), message });
    };
    const { value } = node;
    if (typeof value === 'bigint') {
      if (Number.isSafeInteger(Number(value))) return Number(value);
      report('this number is larger than 2^53 and would be rounded: write it in quotes');
      return null;
    }
    if (typeof value !== 'string') return value as JsonValue;
    if (looksSecret(value)) {
      report(`looks like a secret ("${value.slice(0, 4)}…"): pipelines hold no secrets, use identities instead`);
      return null;
    }
    const filled = interpolate(value, environment, report);
    if (filled !== value) interpolated.add(pathId(path));
    return filled;
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
  return { value: walk(document.contents, []), interpolated };
}

/** Where a value, or the key that names it, stands; the nearest enclosing place when the path leads nowhere. */
export function placeOf({ document, lines }: Parsed, path: Path, ofKey: boolean): { line: number; column: number } {
  let node: unknown = document.contents;
  let offset = (node as Node | null)?.range?.[0] ?? 0;
  for (const [depth, step] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find((candidate) => isScalar(candidate.key) && candidate.key.value === step);
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

/** The text that stands in the file for a scalar: `012345678901` where the value has lost its zero. */
export function sourceTextOf({ document }: Parsed, path: Path): string | undefined {
  const node = document.getIn(path as unknown[], true);
  return isScalar(node) ? node.source : undefined;
}
