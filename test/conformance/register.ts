import { describe, it } from 'vitest';

/** Cases that an implementation does not meet, each with the reason: shown in the run, and counted as skipped. */
export type Exceptions = Readonly<Record<string, string>>;

export type Cases = Readonly<Record<string, () => Promise<void>>>;

/** A case that is not done by then fails by its name: a plugin that hangs would stop the whole run. */
const LIMIT_MS = 15_000;

/** Ends a case that hangs. @param limitMs milliseconds. */
export async function within(run: () => Promise<void>, limitMs = LIMIT_MS): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it hangs: not done after ${limitMs / 1000} seconds`)), limitMs);
  });
  try {
    await Promise.race([run(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Registers a suite with vitest. An exception that names no case is an error: it would hide a typing mistake. */
export function register(name: string, cases: Cases, exceptions: Exceptions): void {
  for (const title of Object.keys(exceptions)) {
    if (!Object.hasOwn(cases, title)) throw new Error(`exception for a case that does not exist: "${title}"`);
  }
  describe(name, () => {
    for (const [title, run] of Object.entries(cases)) {
      const reason = exceptions[title];
      if (reason === undefined) it(title, () => within(run));
      else it(`${title} [declared exception: ${reason}]`, (context) => context.skip(reason));
    }
  });
}
