import type { Logger, Runtime } from '../../api/runtime.ts';

/** What AWS gives every invocation. Source: https://docs.aws.amazon.com/lambda/latest/dg/nodejs-context.html */
export interface LambdaContext {
  readonly awsRequestId: string;
  readonly invokedFunctionArn: string;
  getRemainingTimeInMillis(): number;
}

/** With less than this nothing is begun at all. */
export const TOO_LITTLE_MS = 500;
/** A clean stop begins so long before the end: what is in flight is finished. */
const STOP_BEFORE_MS = 20_000;
/** What is still in flight is abandoned so long before the end: uploads are aborted, the checkpoint is saved. */
const END_BEFORE_MS = 8000;

/** An invocation as a runtime. Short ones keep a part of their time instead: a third, and a sixth. */
export function lambdaRuntime(context: LambdaContext, log: Logger): Runtime & Disposable {
  const left = Math.max(0, context.getRemainingTimeInMillis());
  const stop = new AbortController();
  const end = new AbortController();
  // Where there is no time for anything, nothing is begun.
  if (left < TOO_LITTLE_MS) stop.abort();
  const timers = [
    setTimeout(
      () => {
        log.info('stopping', { leftMs: context.getRemainingTimeInMillis() });
        stop.abort();
      },
      left - Math.min(STOP_BEFORE_MS, left / 3),
    ),
    setTimeout(() => end.abort(), left - Math.min(END_BEFORE_MS, left / 6)),
  ];
  return {
    signal: end.signal,
    stop: stop.signal,
    log,
    now: Date.now,
    [Symbol.dispose]: () => timers.forEach(clearTimeout),
  };
}
