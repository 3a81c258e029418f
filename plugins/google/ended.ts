import { BrokerError, pause } from '../../core/api/index.ts';

/** What was cancelled is over within moments, mostly. */
const MOST_TRIES = 30;
const TRY_MS = 1000;

export interface Ending {
  readonly name: string;
  isOver(): Promise<boolean>;
  cancel(): Promise<unknown>;
}

/**
 * Cancels what is not over, and waits until it writes no more.
 *
 * @throws BrokerError `pending` when it takes longer than our patience.
 */
export async function ended({ name, isOver, cancel }: Ending, signal: AbortSignal): Promise<void> {
  for (let tries = 0; !(await isOver()); tries++) {
    if (tries === MOST_TRIES)
      throw new BrokerError('pending', `${name} was cancelled, and is not over`, { retryAfterMs: TRY_MS });
    if (tries === 0) await cancel();
    else await pause(TRY_MS, signal);
  }
}

/** For `catch`: what does not exist is no error. */
export function unlessMissing(error: unknown): undefined {
  if (!(error instanceof BrokerError) || error.code !== 'invalid_config') throw error;
}
