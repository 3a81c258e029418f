import type { JsonValue } from '../api/json.ts';
import { looksSecret } from '../api/text.ts';
import { type Environment, interpolate } from './interpolate.ts';

export type Path = readonly PropertyKey[];

/** A pipeline as plain data with its variables filled in. */
export interface Plain {
  readonly value: JsonValue;
  /** The places of texts that came from variables: numbers and booleans among them may be read as such. */
  readonly interpolated: ReadonlySet<string>;
}

/** A name for a path that no key can counterfeit. */
export const pathId = (path: Path): string => JSON.stringify(path);

/** Fills in the variables of every text; mistakes in references, and secrets, are reported. */
export function fillIn(
  data: JsonValue,
  environment: Environment,
  report: (path: Path, message: string) => void,
): Plain {
  const interpolated = new Set<string>();
  const text = (value: string, path: Path): JsonValue => {
    if (looksSecret(value)) {
      const shown = value.slice(0, 4);
      report(path, `looks like a secret ("${shown}…"): pipelines hold no secrets, use identities instead`);
      return null;
    }
    const filled = interpolate(value, environment, (message) => report(path, message));
    if (filled !== value) interpolated.add(pathId(path));
    return filled;
  };
  const walk = (value: JsonValue, path: Path): JsonValue => {
    if (typeof value === 'string') return text(value, path);
    if (Array.isArray(value)) return value.map((entry, index) => walk(entry, [...path, index]));
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, entry]) => {
        if (looksSecret(key)) report([...path, key], 'the key looks like a secret: pipelines hold no secrets');
        return [key, walk(entry ?? null, [...path, key])];
      }),
    );
  };
  return { value: walk(data, []), interpolated };
}
