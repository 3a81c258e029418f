import { pause } from '../../core/api/index.ts';

export interface LimitsOptions {
  readonly concurrency: number;
  readonly requestsPerMinute?: number | undefined;
  readonly tokensPerMinute?: number | undefined;
}

const MINUTE_MS = 60_000;

/** So many at once, so many a minute, and so many tokens a minute; who waits longest goes first. */
export class Limits {
  readonly #most: number;
  readonly #everyMs: number;
  readonly #msPerToken: number;
  readonly #now: () => number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #next = 0;
  #paidUntil = 0;

  constructor({ concurrency, requestsPerMinute, tokensPerMinute }: LimitsOptions, now: () => number) {
    this.#most = concurrency;
    this.#everyMs = requestsPerMinute === undefined ? 0 : MINUTE_MS / requestsPerMinute;
    this.#msPerToken = tokensPerMinute === undefined ? 0 : MINUTE_MS / tokensPerMinute;
    this.#now = now;
  }

  get running(): number {
    return this.#running;
  }

  /** Call it for each try, since a server counts tries. */
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

  /** Tokens are known when they are spent: who comes next waits for them. */
  charge(tokens: number): void {
    this.#paidUntil = Math.max(this.#now(), this.#paidUntil) + tokens * this.#msPerToken;
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const now = this.#now();
    // A minute's tokens may be spent at once.
    const tokensAt = this.#msPerToken === 0 ? now : this.#paidUntil - MINUTE_MS;
    const at = Math.max(now, this.#next, tokensAt);
    if (this.#everyMs > 0) this.#next = at + this.#everyMs;
    if (at > now) await pause(at - now, signal);
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
