import { RE2JS } from 're2js';

/** A regular expression that takes time in proportion to the key, whatever is written; it must match the whole key. */
export function compileRegex(pattern: string): (key: string) => boolean {
  const compiled = RE2JS.compile(pattern);
  return (key) => compiled.testExact(key);
}
