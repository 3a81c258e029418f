import { existsSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

/**
 * Counts the places of a whole test run in which secrets were looked for. The local cloud's secrets carry a mark; a
 * place that holds one fails its test.
 */
export function setup(): () => void {
  const file = join(tmpdir(), `isthmus-leak-search-${process.pid}`);
  process.env.ISTHMUS_LEAK_SEARCH = file;
  return () => {
    const places = existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0;
    rmSync(file, { force: true });
    process.stdout.write(`\nsearched for secrets in ${places} places of this run; a hit would have failed its test\n`);
  };
}
