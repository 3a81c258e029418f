import type { MemoryBudget } from '../api/bytes.ts';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import { retry } from '../api/retry.ts';
import type { Runtime } from '../api/runtime.ts';
import { compareAsked } from './compare.ts';
import type { Crc32cPool } from './crc32c.ts';
import type { Job, Observer } from './job.ts';
import type { Ledger } from './ledger.ts';
import type { Action, Step } from './plan.ts';
import type { Progress } from './progress.ts';
import { failureOf, type Receipt, receiptOf } from './receipt.ts';
import type { AdaptiveSlots } from './slots.ts';
import { transfer } from './transfer.ts';
import type { Mark, Watermark } from './watermark.ts';
import { forEachConcurrently } from './workers.ts';

export interface CarryOptions {
  readonly job: Job;
  readonly runtime: Runtime;
  /** Also fires when another run has taken over. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
  readonly ledger: Ledger | undefined;
  readonly memory: MemoryBudget;
  readonly slots: AdaptiveSlots;
  readonly hashers: Crc32cPool;
  readonly observer: Observer;
  /** Carry the very versions that the steps name, and no newer ones. */
  readonly exact: boolean;
}

/** An item on its way to all sinks. */
interface Trip {
  left: number;
  /** So far it is proved in every sink. */
  proved: boolean;
}

interface Task {
  readonly action: Action;
  readonly mark: Mark;
  readonly trip: Trip | undefined;
}

/** Carries out the steps of a plan. */
export class Carry {
  readonly #options: CarryOptions;

  constructor(options: CarryOptions) {
    this.#options = options;
  }

  /**
   * @param single after the one item of a single key, asking whether there is another costs nothing.
   * @returns whether the steps came to their end; if not, the run was stopped before.
   */
  async all(steps: AsyncGenerator<Step>, watermark: Watermark, single = false): Promise<boolean> {
    const listing = { ended: false, single };
    const tasks = this.#tasks(steps, watermark, listing);
    await forEachConcurrently(tasks, this.#options.slots, (task) => this.#carry(task));
    return listing.ended;
  }

  async *#tasks(
    steps: AsyncGenerator<Step>,
    watermark: Watermark,
    listing: { ended: boolean; readonly single: boolean },
  ): AsyncGenerator<Task> {
    const { runtime, job } = this.#options;
    try {
      for (let begun = 0; !mustStop(runtime) || (listing.single && begun > 0); begun++) {
        const next = await steps.next();
        if (next.done === true) {
          listing.ended = true;
          return;
        }
        const { key, actions } = next.value;
        const mark = watermark.begin(key, actions.length);
        const trips = job.move === true ? tripsOf(actions, job.sinks.length) : undefined;
        for (const action of actions) yield { action, mark, trip: trips?.get(action.source) };
      }
    } finally {
      await steps.return(undefined);
    }
  }

  async #carry({ action, mark, trip }: Task): Promise<void> {
    const { job, progress, ledger, observer, signal } = this.#options;
    if (action.action === 'delete') {
      await ledger?.intend('delete', receiptOf({ ...action, action: 'skip' }), signal);
    }
    const carried = await this.#transfer(action);
    progress.underWay.settled(action.sink, action.item.key);
    if (carried.outcome === 'written') this.#options.slots.carried();
    const receipt = trip === undefined ? carried : await this.#moved(action, carried, trip);
    // A record that passes the item must find its receipt.
    ledger?.add(receipt, action);
    mark.done(receipt, job.sinks.length > 1 ? job.sinks[action.sink]?.location : undefined);
    observer.receipt?.(receipt, action);
    if (ledger?.full === true) await ledger.flush(signal);
    await progress.saveSometimes(signal);
  }

  #transfer(action: Action): Promise<Receipt> {
    const { job, runtime, signal, progress, memory, slots, hashers, observer, exact } = this.#options;
    return transfer(action, {
      ...job,
      exact,
      signal,
      memory,
      slots,
      hashers,
      log: runtime.log,
      now: () => runtime.now(),
      onBytes: (count) => {
        slots.passed(count);
        observer.bytes?.(count);
      },
      onRetry: (retried) => observer.retried?.(retried),
      onBegin: (sink, key) => progress.begin(sink, key, signal),
      unfinished: (sink, key) => progress.unfinished(sink, key, signal),
    });
  }

  /** Deletes the item in its source once the last of the sinks has it, and each has proved it. */
  async #moved(action: Action, receipt: Receipt, trip: Trip): Promise<Receipt> {
    const { job, ledger, signal } = this.#options;
    trip.left--;
    const source = job.sources[action.source];
    try {
      trip.proved &&= await this.#isProved(action, receipt);
      if (trip.left > 0 || !trip.proved || source?.remove === undefined) return receipt;
      await ledger?.intend('move', receipt, signal);
      await retry(async () => source.remove?.(action.item, { signal }), { policy: job.retry, signal });
      return { ...receipt, moved: true };
    } catch (thrown) {
      const error = signal.aborted ? new BrokerError('stopped', 'the run was stopped') : asBrokerError(thrown);
      if (error.next === 'run' || error.next === 'wait') throw error;
      trip.proved = false;
      const failure = failureOf(error);
      const message = `it was carried, but stays in its source: ${failure.message}`;
      return { ...receipt, outcome: 'failed', failure: { ...failure, message } };
    }
  }

  /** What was only compared is looked at once more: a listing may be minutes old. */
  async #isProved({ item, sink }: Action, { outcome, checksums = {} }: Receipt): Promise<boolean> {
    if (outcome === 'written') return Object.keys(checksums).length > 0;
    if (outcome !== 'unchanged') return false;
    const { job, signal } = this.#options;
    const look = async () => job.sinks[sink]?.stat?.(item.key, { signal });
    const stored = await retry(look, { policy: job.retry, signal });
    return stored !== undefined && compareAsked({ item, stored }, 'different').action === 'skip';
  }
}

/** Only what is on its way to every sink can be proved in every sink. */
function tripsOf(actions: readonly Action[], sinks: number): ReadonlyMap<number, Trip> {
  const trips = new Map<number, Trip>();
  for (const { source } of actions) {
    const trip = trips.get(source) ?? { left: 0, proved: true };
    trip.left++;
    trips.set(source, trip);
  }
  for (const trip of trips.values()) trip.proved = trip.left === sinks;
  return trips;
}

const mustStop = (runtime: Runtime): boolean => runtime.stop.aborted || runtime.signal.aborted;
