/** Below this the difference is latency and the whole seconds of a `Date` header, not a wrong clock. */
const WORTH_CORRECTING_MS = 30_000;
const LONGEST_TRIP_MS = 12_000;

/**
 * The time as the token services have it. AWS refuses a signature that is more than 15 minutes off, so the clock of
 * this machine is corrected by the `Date` header of their answers. One for the process.
 */
export class ServerClock {
  readonly #local: () => number;
  #offsetMs = 0;
  #measured = false;

  constructor(local: () => number) {
    this.#local = local;
  }

  /** Milliseconds since the epoch, corrected. */
  now(): number {
    return this.#local() + this.#offsetMs;
  }

  /** The clock of this machine as it stands; what credentials expire by. */
  local(): number {
    return this.#local();
  }

  /** What is added to the clock of this machine: positive when it is behind. `undefined` before any answer. */
  get offsetMs(): number | undefined {
    return this.#measured ? this.#offsetMs : undefined;
  }

  /** A point in the server's time as one in the time of this machine. */
  toLocal(serverMs: number): number {
    return serverMs - this.#offsetMs;
  }

  /**
   * Learns from an answer.
   *
   * @param date its `Date` header; garbage is ignored.
   * @param sentAt `local()` when the request was sent.
   * @returns true when the correction changed so much that something signed before is worth signing again.
   */
  learn(date: string | null, sentAt: number): boolean {
    const server = date === null ? Number.NaN : Date.parse(date);
    const tripMs = this.#local() - sentAt;
    // A process that was frozen while it waited, or a clock that was set meanwhile, would teach nonsense.
    if (Number.isNaN(server) || tripMs < 0 || tripMs > LONGEST_TRIP_MS) return false;
    const offset = server - (sentAt + this.#local()) / 2;
    const corrected = Math.abs(offset) < WORTH_CORRECTING_MS ? 0 : offset;
    const changed = Math.abs(corrected - this.#offsetMs) >= WORTH_CORRECTING_MS;
    this.#measured = true;
    if (changed || corrected === 0) this.#offsetMs = corrected;
    return changed;
  }
}
