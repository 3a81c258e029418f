import type { MemoryBudget, MemoryLease } from '../api/bytes.ts';
import { BrokerError } from '../api/errors.ts';
import { formatBytes } from '../api/text.ts';

interface Waiter {
  readonly bytes: number;
  grant(): void;
}

/** Serves in the order of asking, so that a large request is not starved by small ones. */
export class FairMemoryBudget implements MemoryBudget {
  readonly total: number;
  #free: number;
  #peak = 0;
  readonly #queue: Waiter[] = [];

  constructor(total: number) {
    this.total = total;
    this.#free = total;
  }

  /** The most bytes that were ever leased at once. */
  get peak(): number {
    return this.#peak;
  }

  async lease(bytes: number, signal: AbortSignal): Promise<MemoryLease> {
    if (bytes > this.total) {
      throw new BrokerError(
        'memory_too_small',
        `${formatBytes(bytes)} are needed at once, memory is ${formatBytes(this.total)}`,
        {
          hint: `Set memory: ${Math.ceil(bytes / 2 ** 20)}MiB or more.`,
        },
      );
    }
    if (signal.aborted) throw new BrokerError('stopped', 'the run was stopped');
    if (this.#queue.length > 0 || bytes > this.#free) await this.#turn(bytes, signal);
    else this.#take(bytes);
    let held = true;
    return {
      bytes,
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#free += bytes;
        this.#serve();
      },
    };
  }

  #take(bytes: number): void {
    this.#free -= bytes;
    this.#peak = Math.max(this.#peak, this.total - this.#free);
  }

  #turn(bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        bytes,
        grant: () => {
          signal.removeEventListener('abort', leave);
          this.#take(bytes);
          resolve();
        },
      };
      const leave = () => {
        this.#queue.splice(this.#queue.indexOf(waiter), 1);
        reject(new BrokerError('stopped', 'the run was stopped'));
        this.#serve();
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#queue.push(waiter);
    });
  }

  #serve(): void {
    for (let next = this.#queue[0]; next !== undefined && next.bytes <= this.#free; next = this.#queue[0]) {
      this.#queue.shift();
      next.grant();
    }
  }
}
