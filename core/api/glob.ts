/** One step of a pattern: a literal, a class of characters, or a star. */
type Step =
  | { readonly kind: 'one'; accepts(character: string): boolean }
  | { readonly kind: 'star'; readonly crosses: boolean };

const MAX_ALTERNATIVES = 64;

/**
 * Compiles a glob over object keys: `*` and `?` stop at `/`, `**` does not, `[a-z]` and `[!a-z]`, `{a,b}`.
 *
 * Own code because a key is not a path (nothing may be normalised) and a pattern must not be able to take
 * exponential time, as it can where globs become regular expressions. Time is O(pattern x key).
 *
 * @throws Error with what is wrong with the pattern.
 */
export function compileGlob(pattern: string): (key: string) => boolean {
  const programs = alternatives(pattern).map(steps);
  return (key) => programs.some((program) => matches(program, [...key]));
}

function matches(program: readonly Step[], key: readonly string[]): boolean {
  // The set of steps that may come next, as in an automaton; a star keeps its place and lets the next in too.
  let places = reach(program, new Set([0]));
  for (const character of key) {
    const next = new Set<number>();
    for (const place of places) {
      const step = program[place];
      if (step?.kind === 'one' && step.accepts(character)) next.add(place + 1);
      if (step?.kind === 'star' && (step.crosses || character !== '/')) next.add(place);
    }
    if (next.size === 0) return false;
    places = reach(program, next);
  }
  return places.has(program.length);
}

function reach(program: readonly Step[], places: Set<number>): Set<number> {
  for (const place of places) if (program[place]?.kind === 'star') places.add(place + 1);
  return places;
}

function steps(pattern: string): Step[] {
  const program: Step[] = [];
  const characters = [...pattern];
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] ?? '';
    if (character === '*') {
      const crosses = characters[at + 1] === '*';
      if (crosses) at++;
      program.push({ kind: 'star', crosses });
    } else if (character === '?') {
      program.push({ kind: 'one', accepts: (candidate) => candidate !== '/' });
    } else if (character === '[') {
      const end = characters.indexOf(']', at + 2);
      if (end < 0) throw new Error('"[" is never closed by "]"');
      program.push({ kind: 'one', accepts: characterClass(characters.slice(at + 1, end)) });
      at = end;
    } else {
      const literal = character === '\\' ? characters[++at] : character;
      if (literal === undefined) throw new Error('it ends in a backslash');
      program.push({ kind: 'one', accepts: (candidate) => candidate === literal });
    }
  }
  return program;
}

function characterClass(inside: readonly string[]): (candidate: string) => boolean {
  const negated = inside[0] === '!' || inside[0] === '^';
  const members = negated ? inside.slice(1) : inside;
  const ranges: (readonly [string, string])[] = [];
  for (let at = 0; at < members.length; at++) {
    const low = members[at] ?? '';
    const high = members[at + 1] === '-' ? members[at + 2] : undefined;
    if (high !== undefined) at += 2;
    if (high !== undefined && high < low) throw new Error(`the range ${low}-${high} is the wrong way round`);
    ranges.push([low, high ?? low]);
  }
  return (candidate) =>
    candidate !== '/' && ranges.some(([low, high]) => candidate >= low && candidate <= high) !== negated;
}

/** `{a,b}c` is `ac` and `bc`; braces may be nested. */
function alternatives(pattern: string): string[] {
  const open = find(pattern, '{', 0);
  if (open < 0) {
    if (find(pattern, '}', 0) >= 0) throw new Error('"}" has no "{"');
    return [pattern];
  }
  const parts: string[] = [];
  let depth = 0;
  let from = open + 1;
  for (let at = open; at < pattern.length; at++) {
    const character = pattern[at];
    if (character === '\\') at++;
    else if (character === '{') depth++;
    else if (character === '}') depth--;
    if (depth === 0 || (depth === 1 && character === ',')) {
      parts.push(pattern.slice(from, at));
      from = at + 1;
    }
    if (depth === 0) {
      const rest = pattern.slice(at + 1);
      const all = parts.flatMap((part) => alternatives(pattern.slice(0, open) + part + rest));
      if (all.length > MAX_ALTERNATIVES) throw new Error(`its braces stand for more than ${MAX_ALTERNATIVES} patterns`);
      return all;
    }
  }
  throw new Error('"{" is never closed by "}"');
}

function find(pattern: string, wanted: string, from: number): number {
  for (let at = from; at < pattern.length; at++) {
    if (pattern[at] === '\\') at++;
    else if (pattern[at] === wanted) return at;
  }
  return -1;
}
