import type { MemoryBudget, MemoryLease } from '../api/bytes.ts';
import { BrokerError } from '../api/errors.ts';
import { formatBytes } from '../api/text.ts';

interface Waiter {
  readonly bytes: number;
  grant(): void;
}

/** Smaller buffers are not worth keeping. */
const SMALLEST_KEPT = 64 * 1024;
const MIB = 2 ** 20;

/** The size of the buffer for so many bytes: few sizes, so that buffers can be used again. */
function sizeFor(bytes: number, total: number): number {
  if (bytes < SMALLEST_KEPT) return bytes;
  const size = bytes > MIB ? Math.ceil(bytes / MIB) * MIB : 2 ** Math.ceil(Math.log2(bytes));
  return Math.min(size, total);
}

/**
 * Serves in the order of asking, so that a large request is not starved by small ones. Buffers that were given back
 * are used again, since freed ones linger in the process until a garbage collection; together with those in use they
 * never pass the total.
 */
export class FairMemoryBudget implements MemoryBudget {
  readonly total: number;
  #free: number;
  #peak = 0;
  readonly #queue: Waiter[] = [];
  #idle: Buffer[] = [];
  #idleBytes = 0;

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
        { hint: `Set memory: ${Math.ceil(bytes / MIB)}MiB or more.` },
      );
    }
    if (signal.aborted) throw new BrokerError('stopped', 'the run was stopped');
    const size = sizeFor(bytes, this.total);
    if (this.#queue.length > 0 || size > this.#free) await this.#turn(size, signal);
    else this.#take(size);
    const whole = this.#buffer(size);
    let held = true;
    return {
      buffer: whole.subarray(0, bytes),
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#free += size;
        if (size >= SMALLEST_KEPT) {
          this.#idle.push(whole);
          this.#idleBytes += size;
        }
        this.#serve();
      },
    };
  }

  #buffer(size: number): Buffer {
    const index = this.#idle.findIndex((buffer) => buffer.length === size);
    const [found] = index < 0 ? [] : this.#idle.splice(index, 1);
    if (found !== undefined) this.#idleBytes -= size;
    // What is in use, this buffer included, and what lies idle must not pass the total.
    while (this.#idleBytes > this.#free) this.#idleBytes -= this.#idle.shift()?.length ?? 0;
    return found ?? Buffer.allocUnsafeSlow(size);
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
