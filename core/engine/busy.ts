import { BrokerError } from '../api/errors.ts';
import type { Checkpoint } from './checkpoint.ts';

/** More than a lease and this ahead, a clock was wrong: whoever wrote it is not taken to live as long as that. */
const SKEW_MS = 60_000;

/** @throws BrokerError `busy` while the run on record says that it lives. */
export function refuseUnderWay({ runId, alive }: Checkpoint, now: number): void {
  const left = (alive?.until ?? 0) - now;
  if (alive !== undefined && left > 0 && left <= alive.lease + SKEW_MS) throw busy(runId, left);
}

export const busy = (runId: string, leftMs: number): BrokerError =>
  new BrokerError('busy', `${words(runId)}, or was killed a moment ago`, {
    hint: `Let it finish. If it was killed, run again in ${Math.ceil(leftMs / 1000)} s: by then it counts as dead.`,
    retryAfterMs: leftMs,
  });

const words = (runId: string): string => `run ${runId} is under way`;

/** Whether an error says that this very run is under way. */
export const saysUnderWay = (error: BrokerError, runId: string): boolean =>
  error.code === 'busy' && error.message.startsWith(words(runId));
