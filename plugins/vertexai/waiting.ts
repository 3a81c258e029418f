import { BrokerError, pause } from '../../core/api/index.ts';

const FIRST_MS = 500;
const LONGEST_MS = 10_000;

/**
 * Asks until there is an answer, for so long an invocation may.
 *
 * @param ask answers undefined for "not yet".
 * @throws BrokerError `pending` when the time is over.
 */
export async function waitFor<T>(
  what: string,
  ask: () => Promise<T | undefined>,
  { waitMs, now, signal }: { readonly waitMs: number; readonly now: () => number; readonly signal: AbortSignal },
): Promise<T> {
  const until = now() + waitMs;
  for (let next = FIRST_MS; ; next = Math.min(LONGEST_MS, next * 1.5)) {
    const found = await ask();
    if (found !== undefined) return found;
    if (now() + next > until) throw new BrokerError('pending', `${what} is not over`, { retryAfterMs: LONGEST_MS });
    await pause(next, signal);
  }
}
