import { constants } from 'node:os';
import type { Logger, Runtime } from '../api/runtime.ts';

/** What is in flight may go on so long after the first signal; containers are killed after ten seconds or more. */
const GRACE_MS = 8000;

/**
 * A process as a runtime. The first SIGINT or SIGTERM asks for a clean stop; a second one, or the end of the grace,
 * ends what is in flight; a third one ends the process.
 */
export function processRuntime(log: Logger, graceMs = GRACE_MS): Runtime & Disposable {
  const stop = new AbortController();
  const end = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    signals++;
    // Whatever hangs: the third signal ends the process as if nobody listened.
    if (signals >= 3) process.exit(128 + constants.signals[signal]);
    if (signals === 2) end.abort();
    if (signals > 1) return;
    log.info('stopping', { graceMs });
    stop.abort();
    timer = setTimeout(() => end.abort(), graceMs);
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  return {
    signal: end.signal,
    stop: stop.signal,
    log,
    now: Date.now,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    },
  };
}
