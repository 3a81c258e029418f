import { pause } from '../../core/api/index.ts';

/** So many at once, and so many a minute; who waits longest goes first. */
export class Limits {
  readonly #most: number;
  readonly #everyMs: number;
  readonly #now: () => number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #next = 0;

  constructor(concurrency: number, perMinute: number | undefined, now: () => number) {
    this.#most = concurrency;
    this.#everyMs = perMinute === undefined ? 0 : 60_000 / perMinute;
    this.#now = now;
  }

  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#running >= this.#most) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      await this.#turn(signal);
      return await work();
    } finally {
      // The place goes to the next, or is free.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#everyMs === 0) return;
    const at = Math.max(this.#now(), this.#next);
    this.#next = at + this.#everyMs;
    const waitMs = at - this.#now();
    if (waitMs > 0) await pause(waitMs, signal);
  }
}

/** Applies `work` to several at once and gives the results in the order of the sequence. */
export async function* inOrder<T, R>(
  sequence: AsyncIterable<T>,
  ahead: number,
  work: (value: T) => Promise<R>,
): AsyncGenerator<R> {
  const queue: Promise<R>[] = [];
  try {
    for await (const value of sequence) {
      const result = work(value);
      // Told when its turn comes, and not as a rejection that nobody handles.
      result.catch(() => undefined);
      queue.push(result);
      if (queue.length >= ahead) yield await (queue.shift() as Promise<R>);
    }
    while (queue.length > 0) yield await (queue.shift() as Promise<R>);
  } finally {
    await Promise.allSettled(queue);
  }
}
