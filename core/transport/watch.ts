/** What is waited for somewhere. */
export interface Watched {
  readonly idleMs: number;
  readonly dripMs: number;
  /** What the other side is waited for at this moment, if it is: only bodies can drip. */
  readonly waits: 'answer' | 'bytes' | undefined;
  /** Bytes that have passed, in either direction. */
  readonly passed: number;
  stalled(what: string): void;
}

interface Since {
  passed: number;
  silentMs: number;
  waitedMs: number;
  from: number;
}

/** Over a long wait more must come than a drip: bytes a millisecond. */
const SLOWEST = 1;
const LONGEST_TICK = 1000;

/**
 * Ends waits in which nothing, or next to nothing, comes. One timer for all of them: starting and stopping one for each
 * request, or asking for the time with each chunk, would cost more than the rest of a small request. So a limit is kept
 * to within a quarter of it.
 */
export class Watch implements Disposable {
  readonly #watched = new Map<Watched, Since>();
  #timer: NodeJS.Timeout | undefined;
  #tickMs = LONGEST_TICK;

  add(one: Watched): void {
    this.#watched.set(one, { passed: one.passed, silentMs: 0, waitedMs: 0, from: one.passed });
    const tickMs = Math.max(5, Math.min(LONGEST_TICK, one.idleMs / 4, one.dripMs / 4));
    if (this.#timer !== undefined && tickMs >= this.#tickMs) return;
    clearInterval(this.#timer);
    this.#tickMs = tickMs;
    // Open sockets keep a process alive, and an idle transport must not.
    this.#timer = setInterval(() => this.#tick(), tickMs).unref();
  }

  remove(one: Watched): void {
    this.#watched.delete(one);
  }

  #tick(): void {
    for (const [one, since] of this.#watched) {
      if (one.waits === undefined) {
        since.silentMs = 0;
        continue;
      }
      since.silentMs = one.passed === since.passed ? since.silentMs + this.#tickMs : 0;
      since.passed = one.passed;
      if (one.waits === 'bytes') since.waitedMs += this.#tickMs;
      if (since.silentMs >= one.idleMs) one.stalled(`no byte for ${one.idleMs} ms`);
      else if (since.waitedMs >= one.dripMs) {
        const came = one.passed - since.from;
        if (came < SLOWEST * one.dripMs) one.stalled(`${came} bytes in ${Math.round(since.waitedMs)} ms are a drip`);
        since.waitedMs = 0;
        since.from = one.passed;
      }
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#watched.clear();
  }
}
