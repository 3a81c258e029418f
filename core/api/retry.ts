import { setTimeout as sleep } from 'node:timers/promises';
import { asBrokerError, BrokerError } from './errors.ts';

/** How often and how patiently something is tried. */
export interface RetryPolicy {
  /** Tries in all, the first included. */
  readonly attempts: number;
  readonly baseDelayMs: number;
  /** The cap of one pause, also of what a server asks for. */
  readonly maxDelayMs: number;
}

/** Errors that a second try may mend but a third will not. */
const TWICE: ReadonlySet<string> = new Set(['checksum_mismatch', 'too_long']);

/** @param attempt 1 for the try that failed first. Full jitter, and never less than the server asked for. */
export function backoffMs(policy: RetryPolicy, attempt: number, retryAfterMs = 0, random = Math.random): number {
  const ceiling = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (attempt - 1));
  return Math.min(policy.maxDelayMs, Math.max(random() * ceiling, retryAfterMs));
}

export interface RetryOptions {
  readonly policy: RetryPolicy;
  readonly signal: AbortSignal;
  /** Trying again stops where the server asks for a longer pause than `maxDelayMs`. Default: the pause is cut short. */
  readonly patient?: boolean;
  /** Called before each pause. */
  readonly onRetry?: (error: BrokerError, attempt: number, delayMs: number) => void;
}

/**
 * Calls `attempt` until it succeeds, fails for good, or the policy is used up.
 *
 * @param attempt gets the number of the try, from 1.
 * @throws BrokerError the last failure, or `stopped` when the signal fires during a pause.
 */
export async function retry<T>(attempt: (number: number) => Promise<T>, options: RetryOptions): Promise<T> {
  for (let number = 1; ; number++) {
    try {
      return await attempt(number);
    } catch (thrown) {
      const error = asBrokerError(thrown);
      const limit = TWICE.has(error.code) ? Math.min(2, options.policy.attempts) : options.policy.attempts;
      const tooLong = options.patient === true && (error.retryAfterMs ?? 0) > options.policy.maxDelayMs;
      if (error.next !== 'retry' || number >= limit || tooLong || options.signal.aborted) throw error;
      const delayMs = backoffMs(options.policy, number, error.retryAfterMs);
      options.onRetry?.(error, number, delayMs);
      await pause(delayMs, options.signal);
    }
  }
}

/** @throws BrokerError `stopped` when the signal fires. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    throw new BrokerError('stopped', 'the run was stopped during a pause');
  }
}

/** Reads `Retry-After` (RFC 9110, seconds or an HTTP date); undefined when absent or garbage. */
export function parseRetryAfter(value: string | null | undefined, now: number): number | undefined {
  if (value === null || value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
