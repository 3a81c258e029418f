import { BrokerError } from '../api/errors.ts';

/** Stops waiting when the signal fires; what is waited for goes on for others, and what it says later is let go. */
export async function waitFor<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  left: () => BrokerError = () => new BrokerError('stopped', 'the run was stopped'),
): Promise<T> {
  if (signal === undefined) return promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const leave = (): void => reject(left());
  if (signal.aborted) leave();
  else signal.addEventListener('abort', leave, { once: true });
  promise.catch(() => undefined);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
