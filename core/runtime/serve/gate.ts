import { BrokerError } from '../../api/errors.ts';

/** Lets so many through at once and so many wait; whoever comes after that is sent away. */
export class Gate {
  readonly #atOnce: number;
  readonly #mostWaiting: number;
  readonly #waiting: (() => void)[] = [];
  #inside = 0;

  constructor(atOnce: number, mostWaiting: number) {
    this.#atOnce = atOnce;
    this.#mostWaiting = mostWaiting;
  }

  get inside(): number {
    return this.#inside;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** @throws BrokerError `busy` when the queue is full. */
  async through<T>(work: () => Promise<T>): Promise<T> {
    if (this.#inside < this.#atOnce) this.#inside++;
    else if (this.#waiting.length >= this.#mostWaiting) {
      throw new BrokerError('busy', `${this.#inside} are under way and ${this.#waiting.length} wait`);
      // Whoever leaves hands its place over, so nobody can slip in between.
    } else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#inside--;
      else next();
    }
  }
}
