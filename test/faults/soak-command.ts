import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** Whether a module is the one that the process was started with. */
export const isMain = (url: string): boolean => process.argv[1] === fileURLToPath(url);

/** `--seconds`, `--seed` and `--rounds`, those that are given. */
export function parsed(): { readonly seconds?: number; readonly seed?: number; readonly rounds?: number } {
  const option = { type: 'string' } as const;
  const { values } = parseArgs({ options: { seconds: option, seed: option, rounds: option } });
  return Object.fromEntries(Object.entries(values).map(([name, text]) => [name, Number(text)]));
}
