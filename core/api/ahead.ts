/**
 * Works on a sequence some way ahead of whoever takes the results, which come in order. What is known at once is
 * passed on at once.
 *
 * @param most results that are waited for at the same time.
 */
export async function* ahead<T, R>(
  sequence: AsyncIterable<T>,
  most: number,
  work: (value: T) => R | Promise<R>,
): AsyncGenerator<R> {
  const waiting: (R | Promise<R>)[] = [];
  for await (const value of sequence) {
    const result = work(value);
    if (waiting.length === 0 && !(result instanceof Promise)) {
      yield result;
      continue;
    }
    // Whoever is first in the queue is told of it; until then nobody else must take it for unhandled.
    if (result instanceof Promise) result.catch(() => undefined);
    waiting.push(result);
    while (waiting.length >= most || (waiting.length > 0 && !(waiting[0] instanceof Promise)))
      yield await (waiting.shift() as R | Promise<R>);
  }
  for (const result of waiting) yield await result;
}
