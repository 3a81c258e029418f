import { pause } from '../api/retry.ts';
import type { Runtime } from '../api/runtime.ts';

const DEFAULT_MS = 10_000;
const LONGEST_MS = 60_000;

/**
 * Where a process may wait, a run that is paused because a source is not ready is gone on with as soon as it may be.
 *
 * @param once one invocation; it is called again for as long as it answers that something has to be waited for.
 */
export async function untilReady<T extends Ended>(once: () => Promise<T>, runtime: Runtime): Promise<T> {
  const stopping = AbortSignal.any([runtime.signal, runtime.stop]);
  for (;;) {
    const answer = await once();
    const { error } = answer;
    if (error?.code !== 'pending' || stopping.aborted) return answer;
    const waitMs = Math.min(error.retryAfterMs ?? DEFAULT_MS, LONGEST_MS);
    runtime.log.info('waiting', { message: error.message, waitMs });
    // A stop meanwhile is no failure: the run is paused already.
    await pause(waitMs, stopping).catch(() => undefined);
    if (stopping.aborted) return answer;
  }
}

interface Ended {
  readonly error?: { readonly code: string; readonly message: string; readonly retryAfterMs?: number } | undefined;
}
