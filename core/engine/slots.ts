import { BrokerError } from '../api/errors.ts';
import type { Slot, Slots } from '../api/slots.ts';

/** Where an adaptive run begins. */
const FIRST_SLOTS = 8;
/** What an item costs besides its bytes: two round trips and the work of them. */
const ITEM = 64 * 1024;
const WINDOW_MS = 250;
/** So much faster, and the slots that were added were worth it: twice as many, or a quarter more. */
const FASTER = { doubled: 1.3, added: 1.08 };
/** Windows for which nothing is tried after it was found to be of no use. */
const REST = 16;
/** A process becomes faster by itself in its first moments: that is not to be taken for what more slots are worth. */
const WARM_UP = 3;

export interface SlotsOptions {
  /** Never more than these at once. */
  readonly most: number;
  /** Begin with few, and find out how many are worth it. Otherwise begin with all. */
  readonly adapts: boolean;
  /** How often a server has said that it is too much, so far. */
  readonly throttled?: () => number;
  /** Milliseconds. */
  readonly now: () => number;
}

interface Window {
  readonly since: number;
  readonly work: number;
  readonly throttled: number;
}

/**
 * How many transfers are under way at once. More as long as that makes the run faster: twice as many at first, then a
 * quarter more at a time; half as many as soon as a server says that it is too much (AIMD).
 */
export class AdaptiveSlots implements Slots {
  readonly #options: SlotsOptions;
  #limit: number;
  #used = 0;
  #peak = 0;
  readonly #waiting: (() => void)[] = [];
  #work = 0;
  #window: Window;
  /** Whether all slots were in use at some time in this window. */
  #isSaturated = false;
  /** Work a millisecond before slots were added last, and how many there were. */
  #before: { readonly rate: number; readonly limit: number } | undefined;
  #isStarting = true;
  #resting = WARM_UP;

  constructor(options: SlotsOptions) {
    this.#options = options;
    this.#limit = options.adapts ? Math.min(FIRST_SLOTS, options.most) : options.most;
    this.#window = this.#newWindow();
  }

  get limit(): number {
    return this.#limit;
  }

  /** The most that were ever in use at once. */
  get peak(): number {
    return this.#peak;
  }

  /** Waits for a slot; served in the order of asking. @throws BrokerError `stopped` */
  async take(signal: AbortSignal): Promise<Slot> {
    if (signal.aborted) throw new BrokerError('stopped', 'the run was stopped');
    const free = this.tryTake();
    if (free !== undefined) return free;
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(come), 1);
        reject(new BrokerError('stopped', 'the run was stopped'));
      };
      const come = (): void => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(come);
    });
    return this.#slot();
  }

  tryTake(): Slot | undefined {
    if (this.#used >= this.#limit || this.#waiting.length > 0) return undefined;
    this.#used++;
    return this.#slot();
  }

  /** An item was carried. */
  carried(): void {
    this.passed(ITEM);
  }

  /** Bytes have passed; negative when they do not count after all. */
  passed(bytes: number): void {
    this.#work += bytes;
    // A slot of a large object is not given back for hours.
    this.#adapt();
    if (this.#waiting.length > 0) this.#serve();
  }

  /** The slot was counted as used when it was given. */
  #slot(): Slot {
    this.#isSaturated ||= this.#used >= this.#limit;
    this.#peak = Math.max(this.#peak, this.#used);
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#isSaturated ||= this.#used >= this.#limit;
        this.#used--;
        this.#adapt();
        this.#serve();
      },
    };
  }

  #serve(): void {
    while (this.#used < this.#limit) {
      const come = this.#waiting.shift();
      if (come === undefined) return;
      this.#used++;
      come();
    }
  }

  #newWindow(): Window {
    const { now, throttled } = this.#options;
    this.#isSaturated = false;
    return { since: now(), work: this.#work, throttled: throttled?.() ?? 0 };
  }

  #adapt(): void {
    const { now, throttled, most, adapts } = this.#options;
    if ((throttled?.() ?? 0) > this.#window.throttled) {
      // Once a window: those that are under way hear it, too.
      this.#limit = Math.max(1, this.#limit >> 1);
      this.#isStarting = false;
      this.#before = undefined;
      this.#resting = REST;
      this.#window = { ...this.#newWindow(), throttled: Number.POSITIVE_INFINITY };
      return;
    }
    const elapsed = now() - this.#window.since;
    if (elapsed < WINDOW_MS) return;
    const rate = (this.#work - this.#window.work) / elapsed;
    const isSaturated = this.#isSaturated || this.#used >= this.#limit;
    this.#window = this.#newWindow();
    if (this.#resting > 0) this.#resting--;
    else if (isSaturated) this.#step(rate, most, adapts);
  }

  #step(rate: number, most: number, adapts: boolean): void {
    const before = this.#before;
    if (before !== undefined && rate < before.rate * (this.#isStarting ? FASTER.doubled : FASTER.added) && adapts) {
      this.#limit = before.limit;
      this.#before = undefined;
      this.#isStarting = false;
      this.#resting = REST;
      return;
    }
    if (this.#limit >= most) return;
    this.#before = { rate, limit: this.#limit };
    const more = this.#isStarting ? this.#limit : Math.max(1, this.#limit >> 2);
    this.#limit = Math.min(most, this.#limit + more);
  }
}

/** A number of slots that stays what it is. */
export const fixedSlots = (most: number): AdaptiveSlots => new AdaptiveSlots({ most, adapts: false, now: () => 0 });

/** How many whole runs, pushes or objects to be read go at once where a pipeline says how many transfers do. */
export const runsAtOnce = ({
  concurrency,
  adapts,
}: {
  readonly concurrency: number;
  readonly adapts?: boolean;
}): number => (adapts === true ? FIRST_SLOTS : concurrency);
