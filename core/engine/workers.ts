/**
 * Runs `work` over a lazy sequence with at most `concurrency` at once; pulls the next only when a worker is free.
 *
 * The first failure stops the pulling; what is in flight is waited for, then the failure is thrown. The sequence is
 * closed on every path.
 */
export async function forEachConcurrently<T>(
  sequence: AsyncIterable<T>,
  concurrency: number,
  work: (value: T) => Promise<void>,
): Promise<void> {
  const iterator = sequence[Symbol.asyncIterator]();
  let ended = false;
  const worker = async (): Promise<void> => {
    while (!ended) {
      try {
        // Generators queue concurrent calls of next, so the workers take turns.
        const next = await iterator.next();
        if (next.done === true) ended = true;
        // What was pulled while another worker failed is left: nothing new is begun.
        else if (!ended) await work(next.value);
      } catch (error) {
        ended = true;
        throw error;
      }
    }
  };
  try {
    const results = await Promise.allSettled(Array.from({ length: concurrency }, worker));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  } finally {
    await iterator.return?.();
  }
}
