import { asBrokerError, BrokerError } from '../api/errors.ts';

export interface Limits {
  /** So long may a plugin be silent: no answer, no entry, no chunk. Milliseconds. */
  readonly silenceMs: number;
  /** So long may it take to heed a signal that has fired. */
  readonly graceMs: number;
}

export const LIMITS: Limits = { silenceMs: 10 * 60_000, graceMs: 10_000 };

/** Who is waited for, in words: `plugin "x" (./x.ts)`. */
export interface Watched {
  readonly who: string;
  readonly limits: Limits;
}

/** An error of a plugin, named after it; what is an error of ours already passes as it is. */
export function pluginError({ who }: Watched, what: string, thrown: unknown): BrokerError {
  const error = asBrokerError(thrown);
  return error.code === 'internal' ? new BrokerError('plugin_failed', `${who}: ${what}: ${error.message}`) : error;
}

/** What it answers at once; what it throws is named. */
export function attempted<T>(asked: () => T, watched: Watched, what: string): T {
  try {
    return asked();
  } catch (thrown) {
    throw pluginError(watched, what, thrown);
  }
}

/** What a plugin answers is not what its contract says. */
export const wrongShape = ({ who }: Watched, what: string): BrokerError =>
  new BrokerError('plugin_failed', `${who}: ${what}`);

/**
 * Waits for a plugin, and no longer than it may be silent: a promise that never settles would stop the run for ever.
 *
 * @param heard when something was heard of it last, by `performance.now()`; absent: when it was asked.
 * @throws BrokerError `plugin_failed` for silence, or `stopped` for one that does not heed the signal.
 */
export async function waitFor<T>(
  asked: () => Promise<T> | T,
  watched: Watched,
  { what, signal, heard }: { readonly what: string; readonly signal: AbortSignal; readonly heard?: () => number },
): Promise<T> {
  const { who, limits } = watched;
  const begun = performance.now();
  const clear = new AbortController();
  const given = new Promise<never>((_, reject) => {
    let timer: NodeJS.Timeout;
    const look = (): void => {
      const silent = performance.now() - Math.max(begun, heard?.() ?? 0);
      const left = limits.silenceMs - silent;
      if (left <= 0)
        reject(
          new BrokerError('plugin_failed', `${who}: ${what}: nothing was heard of it for ${limits.silenceMs / 1000} s`),
        );
      else timer = setTimeout(look, left);
    };
    const onAbort = (): void => {
      clearTimeout(timer);
      const message = `${who}: ${what}: it does not heed the signal that the run has stopped`;
      timer = setTimeout(() => reject(new BrokerError('stopped', message)), limits.graceMs);
    };
    timer = setTimeout(look, limits.silenceMs);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true, signal: clear.signal });
    clear.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  });
  try {
    return await Promise.race([Promise.resolve(asked()), given]);
  } catch (thrown) {
    throw pluginError(watched, what, thrown);
  } finally {
    clear.abort();
    given.catch(() => undefined);
  }
}

/** Walks what a plugin iterates, each step of it watched; left early, it is closed. */
export async function* walk<T>(
  iterable: AsyncIterable<T>,
  watched: Watched,
  how: { readonly what: string; readonly signal: AbortSignal },
): AsyncGenerator<T> {
  // An array of chunks is a stream, too.
  const iterator = iterable[Symbol.asyncIterator]?.() ?? (iterable as unknown as Iterable<T>)[Symbol.iterator]();
  let ended = false;
  try {
    for (;;) {
      const next: IteratorResult<T> = await waitFor(() => iterator.next(), watched, how);
      if (next.done === true) {
        ended = true;
        return;
      }
      yield next.value;
    }
  } finally {
    // One that hangs hangs here too.
    if (!ended) await waitFor(async () => iterator.return?.(), watched, how).catch(() => undefined);
  }
}

/** When a plugin was heard of last. Time in which it waits for us is not its silence. */
export class Hearing {
  #at = performance.now();
  #waiting = 0;

  readonly last = (): number => (this.#waiting > 0 ? performance.now() : this.#at);

  /** It waits for this. */
  during<T extends Promise<unknown> | undefined>(ours: T): T {
    this.#at = performance.now();
    if (ours === undefined) return ours;
    this.#waiting++;
    const done = (): void => {
      this.#waiting--;
      this.#at = performance.now();
    };
    ours.then(done, done);
    return ours;
  }
}

export const isIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' &&
  value !== null &&
  (Symbol.asyncIterator in value || Symbol.iterator in value) &&
  typeof value !== 'string';
