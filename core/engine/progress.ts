import { createHash, randomUUID } from 'node:crypto';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Logger } from '../api/runtime.ts';
import type { Sink } from '../api/sink.ts';
import type { Selection } from '../api/source.ts';
import type { StateStore } from '../api/state.ts';
import { type Begun, type Checkpoint, CheckpointFile } from './checkpoint.ts';
import { Tally } from './report.ts';
import { Watermark } from './watermark.ts';

/** The checkpoint is saved at most this often, so a killed process repeats little and state costs little. */
const SAVE_EVERY_MS = 5000;
/** A run that is on record says so often enough that three of its words may get lost. */
const LEASE_MS = 30_000;

export interface ProgressOptions {
  readonly pipeline: string;
  readonly fingerprint: string;
  readonly state: StateStore;
  readonly now: () => number;
  readonly only: Selection | undefined;
  readonly leaseMs: number | undefined;
  readonly reset: boolean;
  readonly signal: AbortSignal;
}

/** How far a run is, in memory and on record: all that it needs to go on after a pause. */
export class Progress implements AsyncDisposable {
  readonly runId: string;
  readonly resumed: boolean;
  readonly tally: Tally;
  readonly watermark: Watermark;
  readonly cursor: string | undefined;
  readonly #file: CheckpointFile;
  readonly #now: () => number;
  readonly #started: number;
  readonly #before: number;
  readonly #leaseMs: number;
  readonly #signal: AbortSignal;
  readonly #left: readonly Begun[];
  readonly #begun = new Map<string, Begun>();
  #savedAt: number;
  #saving: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #over = false;

  private constructor(file: CheckpointFile, options: ProgressOptions, checkpoint: Checkpoint | undefined) {
    const { now, leaseMs = LEASE_MS, signal } = options;
    this.#file = file;
    this.#now = now;
    this.#leaseMs = leaseMs;
    this.#signal = signal;
    this.#started = now();
    this.#savedAt = this.#started;
    this.runId = checkpoint?.runId ?? randomUUID();
    this.resumed = checkpoint !== undefined;
    this.tally = checkpoint?.tally ?? new Tally();
    this.#before = this.tally.durationMs;
    this.cursor = checkpoint?.cursor;
    this.watermark = new Watermark(this.cursor);
    this.#left = checkpoint?.begun ?? [];
    for (const one of this.#left) this.#begun.set(nameOf(one.sink, one.key), one);
  }

  /** @throws BrokerError `busy` while another run of the same is under way. */
  static async load(options: ProgressOptions): Promise<Progress> {
    const { pipeline, fingerprint, state, now, only, reset, signal } = options;
    // A part has a checkpoint of its own, so it does not disturb the run of the whole.
    const place = only === undefined ? pipeline : `${pipeline}.${partName(only)}`;
    const file = new CheckpointFile(state, place, pipeline, fingerprint);
    const checkpoint = await file.load(reset, only !== undefined && 'key' in only, signal);
    const left = (checkpoint?.aliveUntil ?? 0) - now();
    if (checkpoint !== undefined && left > 0) {
      const seconds = Math.ceil(left / 1000);
      throw new BrokerError('busy', `run ${checkpoint.runId} is under way, or was killed less than a minute ago`, {
        hint: `Let it finish. If it was killed, wait ${seconds} s, or begin anew with --reset-state.`,
        retryAfterMs: left,
      });
    }
    return new Progress(file, options, checkpoint);
  }

  get durationMs(): number {
    return this.#before + this.#now() - this.#started;
  }

  /** Removes what a process that was killed may have left of its writes. What cannot be removed is no reason to stop. */
  async tidy(sinks: readonly Sink[], signal: AbortSignal, log: Logger): Promise<void> {
    for (const { sink, key, since } of this.#left) {
      try {
        await sinks[sink]?.tidy?.(key, { since, signal });
        this.#begun.delete(nameOf(sink, key));
      } catch (thrown) {
        const { code, message, hint } = asBrokerError(thrown);
        if (code === 'stopped') throw thrown;
        log.warn('a killed run has left something that cannot be removed', { key, code, message, hint });
      }
    }
  }

  /** Resolves once it is on record that a write to this key may leave something behind. */
  begin(sink: number, key: string, signal: AbortSignal): Promise<void> {
    const name = nameOf(sink, key);
    if (!this.#begun.has(name)) this.#begun.set(name, { sink, key, since: this.#now() });
    return this.save(signal);
  }

  /** The write is over, and has left nothing. */
  settled(sink: number, key: string): void {
    this.#begun.delete(nameOf(sink, key));
  }

  /** Saves from time to time. */
  async saveSometimes(signal: AbortSignal): Promise<void> {
    if (this.#saving !== undefined || this.#now() - this.#savedAt < SAVE_EVERY_MS) return;
    await this.save(signal);
  }

  /**
   * Resolves when all that is so now is on record. One save at a time, since one that overtakes another would take it
   * for another run's; those who wait share the next.
   */
  save(signal: AbortSignal): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    if (this.#saving === undefined) return this.#write(signal);
    const next = this.#saving
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.#write(signal);
      });
    this.#next = next;
    return next;
  }

  /** The run is paused: whoever goes on need not wait. */
  async release(signal: AbortSignal): Promise<void> {
    await this.#settle();
    await this.#write(signal);
  }

  /** A run that came to its end starts over the next time. */
  async clear(signal: AbortSignal): Promise<void> {
    await this.#settle();
    await this.#file.clear(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#settle();
  }

  /** Nothing is saved any more but by whoever closes the run. */
  async #settle(): Promise<void> {
    this.#over = true;
    clearInterval(this.#heartbeat);
    await (this.#next ?? this.#saving)?.catch(() => undefined);
  }

  /** From the first save on the run is on record, and says that it lives. */
  #beat(): void {
    if (this.#heartbeat !== undefined || this.#over || this.#leaseMs === 0) return;
    this.#heartbeat = setInterval(() => {
      // What is wrong with the state is told to the next that saves.
      this.save(this.#signal).catch(() => undefined);
    }, this.#leaseMs / 3).unref();
  }

  #write(signal: AbortSignal): Promise<void> {
    this.#savedAt = this.#now();
    this.tally.durationMs = this.durationMs;
    const { runId, tally, watermark } = this;
    const aliveUntil = this.#over ? undefined : this.#savedAt + this.#leaseMs;
    const checkpoint = { runId, cursor: watermark.value, begun: [...this.#begun.values()], aliveUntil, tally };
    const saving = this.#file.save(checkpoint, signal).finally(() => {
      if (this.#saving === saving) this.#saving = undefined;
    });
    this.#saving = saving;
    this.#beat();
    return saving;
  }
}

const nameOf = (sink: number, key: string): string => `${sink} ${key}`;

const partName = (only: Selection): string =>
  createHash('sha256').update(JSON.stringify(only)).digest('hex').slice(0, 32);
