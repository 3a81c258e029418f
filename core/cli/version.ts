import { readFileSync } from 'node:fs';
import { z } from 'zod';

const packageJson = z.object({ name: z.literal('isthmus'), version: z.string() });

/** The version of this package; its package.json is two folders up in a checkout, three in a build. */
export function version(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      return packageJson.parse(JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'))).version;
    } catch {
      // Not here: the other place is next.
    }
  }
  return 'unknown';
}
