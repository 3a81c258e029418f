import type { CredentialProvider } from '../api/credentials.ts';
import { BrokerError } from '../api/errors.ts';

export interface Expiring<T> {
  readonly value: T;
  /** Milliseconds since the epoch; Infinity when it does not end. */
  readonly expiresAt: number;
}

/** Renewed in the background when this much of its life is left, at most ten minutes. */
const SOFT_SHARE = 0.2;
const SOFT_LIMIT_MS = 600_000;
/** Not used any more when it ends within this time: a request under way must still find it valid. */
const HARD_MS = 30_000;

/**
 * Keeps a credential and renews it before it ends.
 *
 * Many callers cause one request. A value that is still good is served while it is renewed, and goes on being served
 * if the renewal fails. There are no timers: time is looked at when the value is asked for, so a process that was
 * frozen wakes up right.
 */
export class CachedCredential<T> implements CredentialProvider<T> {
  readonly #fetch: (signal: AbortSignal | undefined) => Promise<Expiring<T>>;
  readonly #now: () => number;
  #held: { readonly current: Expiring<T>; readonly softAt: number } | undefined;
  #pending: Promise<Expiring<T>> | undefined;

  constructor(fetch: (signal: AbortSignal | undefined) => Promise<Expiring<T>>, now: () => number) {
    this.#fetch = fetch;
    this.#now = now;
  }

  async get(options: { signal?: AbortSignal; minTtlMs?: number; fresh?: boolean } = {}): Promise<T> {
    const { signal, minTtlMs = HARD_MS, fresh = false } = options;
    const held = this.#held;
    const now = this.#now();
    if (held !== undefined && !fresh && held.current.expiresAt - now > minTtlMs) {
      // A failed renewal is not an error while the old value is good; the next caller tries again.
      if (now >= held.softAt) this.#renew().catch(() => undefined);
      return held.current.value;
    }
    const renewed = await waitFor(this.#renew(), signal);
    return renewed.value;
  }

  #renew(): Promise<Expiring<T>> {
    // Shared by all callers, so no single caller's signal may end it; the request has a deadline of its own.
    this.#pending ??= this.#fetch(undefined)
      .then((current) => {
        const life = current.expiresAt - this.#now();
        this.#held = { current, softAt: current.expiresAt - Math.min(SOFT_LIMIT_MS, life * SOFT_SHARE) };
        return current;
      })
      .finally(() => {
        this.#pending = undefined;
      });
    return this.#pending;
  }
}

/** Stops waiting when the signal fires; what is waited for goes on for the other callers. */
async function waitFor<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const leave = (): void => reject(new BrokerError('stopped', 'the run was stopped'));
  if (signal.aborted) leave();
  else signal.addEventListener('abort', leave, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
