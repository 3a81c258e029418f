import { asBrokerError, type BrokerError, backoffMs, pause, type RetryPolicy } from '../../core/api/index.ts';

/** S3 answers 503 for tens of seconds while it divides a prefix among more servers. */
const PATIENCE: RetryPolicy = { attempts: 4, baseDelayMs: 400, maxDelayMs: 20_000 };

const isBusy = ({ code }: BrokerError): boolean => code === 'throttled' || code === 'unavailable';

/**
 * Tries again, on top of the tries that the pipeline grants an item, what S3 is too busy for, or what `worth` says.
 *
 * @param once throws BrokerErrors, or what becomes one by `asBrokerError`.
 */
export async function patiently<T>(
  once: () => Promise<T>,
  signal: AbortSignal,
  worth: (error: BrokerError) => boolean = isBusy,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once();
    } catch (thrown) {
      const error = asBrokerError(thrown);
      if (!worth(error) || attempt >= PATIENCE.attempts || signal.aborted) throw thrown;
      await pause(backoffMs(PATIENCE, attempt, error.retryAfterMs), signal);
    }
  }
}
