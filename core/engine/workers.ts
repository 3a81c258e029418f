import type { AdaptiveSlots } from './slots.ts';

/**
 * Runs `work` over a lazy sequence, each in a slot of its own; pulls the next only when a slot is free.
 *
 * The first failure stops the pulling; what is in flight is waited for, then the failure is thrown. The sequence is
 * closed on every path.
 */
export async function forEachConcurrently<T>(
  sequence: AsyncIterable<T>,
  slots: AdaptiveSlots,
  work: (value: T) => Promise<void>,
): Promise<void> {
  const iterator = sequence[Symbol.asyncIterator]();
  const underWay = new Set<Promise<void>>();
  const failed = new AbortController();
  let failure: { readonly error: unknown } | undefined;
  const fail = (error: unknown): void => {
    failure ??= { error };
    failed.abort();
  };
  try {
    for (;;) {
      const slot = await slots.take(failed.signal);
      const next = failure === undefined ? await iterator.next() : undefined;
      // What was pulled while something failed is left: nothing new is begun.
      if (next === undefined || next.done === true || failure !== undefined) {
        slot[Symbol.dispose]();
        break;
      }
      const one: Promise<void> = work(next.value)
        .catch(fail)
        .finally(() => {
          underWay.delete(one);
          slot[Symbol.dispose]();
        });
      underWay.add(one);
    }
  } catch (error) {
    fail(error);
  } finally {
    await Promise.allSettled(underWay);
    await iterator.return?.();
  }
  if (failure !== undefined) throw failure.error;
}
