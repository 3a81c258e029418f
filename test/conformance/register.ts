import { describe, it } from 'vitest';

/** Cases that an implementation does not meet, each with the reason: shown in the run, and counted as skipped. */
export type Exceptions = Readonly<Record<string, string>>;

export type Cases = Readonly<Record<string, () => Promise<void>>>;

/** Registers a suite with vitest. An exception that names no case is an error: it would hide a typing mistake. */
export function register(name: string, cases: Cases, exceptions: Exceptions): void {
  for (const title of Object.keys(exceptions)) {
    if (!Object.hasOwn(cases, title)) throw new Error(`exception for a case that does not exist: "${title}"`);
  }
  describe(name, () => {
    for (const [title, run] of Object.entries(cases)) {
      const reason = exceptions[title];
      if (reason === undefined) it(title, run);
      else it(`${title} [declared exception: ${reason}]`, (context) => context.skip(reason));
    }
  });
}
