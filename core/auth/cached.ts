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
/** The most that a server's Retry-After counts: a wrong one must not close a process for good. */
const LONGEST_ASKED_MS = 300_000;
/** So long after a `fresh` value nobody gets another: an API that refuses that one would refuse the next one too. */
const FRESH_MS = 10_000;

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
  readonly #deadlineMs: number;
  #held: { readonly current: Expiring<T>; readonly softAt: number } | undefined;
  #freshAt = Number.NEGATIVE_INFINITY;
  #pending: { readonly promise: Promise<Expiring<T>>; readonly since: number } | undefined;
  #failed: { readonly error: BrokerError; readonly count: number; readonly until: number } | undefined;

  constructor(now: () => number, { random = Math.random, deadlineMs = FETCH_DEADLINE_MS } = {}) {
    this.#now = now;
    this.#random = random;
    this.#deadlineMs = deadlineMs;
  }

  /** @param fetch is called when the value has to be fetched; that of whoever comes first counts. */
  async get(fetch: Fetch<T>, { signal, minTtlMs = HARD_MS, fresh = false }: GetOptions = {}): Promise<T> {
    const held = this.#held;
    const now = this.#now();
    const left = (this.#failed?.until ?? 0) - now;
    // More than any pause is: the clock was set back since.
    const paused = this.#pending === undefined && left > 0 && left <= LONGEST_ASKED_MS ? this.#failed : undefined;
    // `fresh` means another value, not more requests than the service bears.
    if (fresh && paused !== undefined) throw paused.error;
    // Whoever comes while another one is fetched was refused with the same old one: both wait.
    const stale = fresh && (this.#pending !== undefined || Math.abs(now - this.#freshAt) >= FRESH_MS);
    if (held !== undefined && !stale && held.current.expiresAt - now > minTtlMs) {
      // A failed renewal is not an error while the old value is good.
      if (now >= held.softAt && paused === undefined) this.#renew(fetch).catch(() => undefined);
      return held.current.value;
    }
    if (paused !== undefined) throw paused.error;
    if (stale) this.#freshAt = now;
    return (await waitFor(this.#renew(fetch), signal)).value;
  }

  #renew(fetch: Fetch<T>): Promise<Expiring<T>> {
    const now = this.#now();
    // A fetch that was frozen with its process is dead: whoever wakes up does not wait for it.
    if (this.#pending !== undefined && now - this.#pending.since <= this.#deadlineMs) return this.#pending.promise;
    const pending = { promise: this.#fetch(fetch), since: now };
    this.#pending = pending;
    const done = (): void => {
      if (this.#pending === pending) this.#pending = undefined;
    };
    pending.promise.then(done, done);
    return pending.promise;
  }

  async #fetch(fetch: Fetch<T>): Promise<Expiring<T>> {
    const deadline = AbortSignal.timeout(this.#deadlineMs);
    try {
      const current = await fetch(deadline);
      const life = current.expiresAt - this.#now();
      if (!(life > 0)) throw new BrokerError('bad_response', 'a credential was handed out that has ended already');
      // A little earlier here and there, so that processes which began together do not renew together.
      const soft = Math.min(SOFT_LIMIT_MS, life * SOFT_SHARE) * (1 + this.#random() / 4);
      this.#held = { current, softAt: current.expiresAt - soft };
      this.#failed = undefined;
      return current;
    } catch (thrown) {
      // Inside, the deadline looks as if somebody had stopped the run; nobody has.
      const late = `credentials: nothing within ${this.#deadlineMs / 1000} s`;
      const error = deadline.aborted ? new BrokerError('timeout', late) : asBrokerError(thrown);
      const count = (this.#failed?.count ?? 0) + 1;
      const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (count - 1));
      const asked = Math.min(LONGEST_ASKED_MS, error.retryAfterMs ?? 0);
      this.#failed = { error, count, until: this.#now() + Math.max(pause, asked) };
      throw error;
    }
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
