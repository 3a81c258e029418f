import { asBrokerError, BrokerError } from '../api/errors.ts';
import { waitFor } from './wait.ts';

export interface Expiring<T> {
  readonly value: T;
  /** Milliseconds since the epoch, by the clock of this machine; Infinity when it does not end. */
  readonly expiresAt: number;
}

/** @param signal ends the work; it is not that of any caller, since many wait for one fetch. */
export type Fetch<T> = (signal: AbortSignal) => Promise<Expiring<T>>;

export interface GetOptions {
  readonly signal?: AbortSignal;
  readonly minTtlMs?: number;
  readonly fresh?: boolean;
}

/** Renewed in the background when this much of its life is left, at most ten minutes. */
const SOFT_SHARE = 0.2;
const SOFT_LIMIT_MS = 600_000;
/** Not used any more when it ends within this time: a request under way must still find it valid. */
const HARD_MS = 30_000;
/** The whole of one fetch, its retries included. */
const FETCH_DEADLINE_MS = 45_000;
/** After a failure nobody asks again for so long; it doubles with each further one, and a server may ask for more. */
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/**
 * Keeps a credential and renews it before it ends.
 *
 * Many callers cause one request. A value that is still good is served while it is renewed, and goes on being served
 * if the renewal fails. After a failure there is a pause, so that a quota which is used up is not asked of again by
 * every caller. There are no timers: time is looked at when the value is asked for, so a process that was frozen
 * wakes up right.
 */
export class CachedCredential<T> {
  readonly #now: () => number;
  readonly #random: () => number;
  #held: { readonly current: Expiring<T>; readonly softAt: number } | undefined;
  #pending: Promise<Expiring<T>> | undefined;
  #failed: { readonly error: BrokerError; readonly count: number; readonly until: number } | undefined;

  constructor(now: () => number, random = Math.random) {
    this.#now = now;
    this.#random = random;
  }

  /** @param fetch is called when the value has to be fetched; that of whoever comes first counts. */
  async get(fetch: Fetch<T>, { signal, minTtlMs = HARD_MS, fresh = false }: GetOptions = {}): Promise<T> {
    const held = this.#held;
    const now = this.#now();
    if (held !== undefined && !fresh && held.current.expiresAt - now > minTtlMs) {
      // A failed renewal is not an error while the old value is good.
      if (now >= held.softAt && now >= (this.#failed?.until ?? 0)) this.#renew(fetch).catch(() => undefined);
      return held.current.value;
    }
    // Also for `fresh`: it means another value, not more requests than the service bears.
    if (this.#pending === undefined && this.#failed !== undefined && now < this.#failed.until) {
      throw this.#failed.error;
    }
    return (await waitFor(this.#renew(fetch), signal)).value;
  }

  #renew(fetch: Fetch<T>): Promise<Expiring<T>> {
    this.#pending ??= fetch(AbortSignal.timeout(FETCH_DEADLINE_MS))
      .then((current) => {
        const life = current.expiresAt - this.#now();
        if (!(life > 0)) throw new BrokerError('bad_response', 'a credential was handed out that has ended already');
        // A little earlier here and there, so that processes which began together do not renew together.
        const soft = Math.min(SOFT_LIMIT_MS, life * SOFT_SHARE) * (1 + this.#random() / 4);
        this.#held = { current, softAt: current.expiresAt - soft };
        this.#failed = undefined;
        return current;
      })
      .catch((thrown: unknown) => {
        const error = asBrokerError(thrown);
        const count = (this.#failed?.count ?? 0) + 1;
        const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (count - 1));
        this.#failed = { error, count, until: this.#now() + Math.max(pause, error.retryAfterMs ?? 0) };
        throw error;
      })
      .finally(() => {
        this.#pending = undefined;
      });
    return this.#pending;
  }
}

/**
 * The credentials of a process, by what they are for. Pipelines that ask for the same thing share one; in a Lambda it
 * outlives the invocation.
 */
export class CredentialCache {
  readonly #now: () => number;
  readonly #entries = new Map<string, CachedCredential<unknown>>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @param key names the value and everything that it depends on; the type goes with the key. */
  entry<T>(key: string): CachedCredential<T> {
    const known = this.#entries.get(key);
    if (known !== undefined) return known as CachedCredential<T>;
    const made = new CachedCredential<T>(this.#now);
    this.#entries.set(key, made as CachedCredential<unknown>);
    return made;
  }
}
