import { createHash, randomUUID } from 'node:crypto';
import type { Sink } from '../api/sink.ts';
import type { Selection } from '../api/source.ts';
import type { StateStore } from '../api/state.ts';
import { type Begun, type Checkpoint, CheckpointFile } from './checkpoint.ts';
import { Tally } from './report.ts';
import { Watermark } from './watermark.ts';

/** The checkpoint is saved at most this often, so a killed process repeats little and state costs little. */
const SAVE_EVERY_MS = 5000;

export interface ProgressOptions {
  readonly pipeline: string;
  readonly fingerprint: string;
  readonly state: StateStore;
  readonly now: () => number;
  readonly only: Selection | undefined;
  readonly reset: boolean;
  readonly signal: AbortSignal;
}

/** How far a run is, in memory and on record: all that it needs to go on after a pause. */
export class Progress {
  readonly runId: string;
  readonly resumed: boolean;
  readonly tally: Tally;
  readonly watermark: Watermark;
  readonly cursor: string | undefined;
  readonly #file: CheckpointFile;
  readonly #now: () => number;
  readonly #started: number;
  readonly #before: number;
  readonly #left: readonly Begun[];
  readonly #begun = new Map<string, Begun>();
  #savedAt: number;
  #saving: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  private constructor(file: CheckpointFile, now: () => number, checkpoint: Checkpoint | undefined) {
    this.#file = file;
    this.#now = now;
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

  static async load({ pipeline, fingerprint, state, now, only, reset, signal }: ProgressOptions): Promise<Progress> {
    // A part has a checkpoint of its own, so it does not disturb the run of the whole.
    const place = only === undefined ? pipeline : `${pipeline}.${partName(only)}`;
    const file = new CheckpointFile(state, place, pipeline, fingerprint);
    return new Progress(file, now, await file.load(reset, signal));
  }

  get durationMs(): number {
    return this.#before + this.#now() - this.#started;
  }

  /** Removes what a process that was killed may have left of its writes. */
  async tidy(sinks: readonly Sink[], signal: AbortSignal): Promise<void> {
    for (const { sink, key, since } of this.#left) {
      await sinks[sink]?.tidy?.(key, { since, signal });
      this.#begun.delete(nameOf(sink, key));
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
    if (this.#saving === undefined) return this.#write(signal);
    this.#next ??= this.#saving
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.#write(signal);
      });
    return this.#next;
  }

  /** A run that came to its end starts over the next time. */
  async clear(signal: AbortSignal): Promise<void> {
    await this.#saving?.catch(() => undefined);
    await this.#file.clear(signal);
  }

  #write(signal: AbortSignal): Promise<void> {
    this.#savedAt = this.#now();
    this.tally.durationMs = this.durationMs;
    const { runId, tally, watermark } = this;
    const checkpoint = { runId, cursor: watermark.value, begun: [...this.#begun.values()], tally };
    this.#saving = this.#file.save(checkpoint, signal).finally(() => {
      this.#saving = undefined;
    });
    return this.#saving;
  }
}

const nameOf = (sink: number, key: string): string => `${sink} ${key}`;

const partName = (only: Selection): string =>
  createHash('sha256').update(JSON.stringify(only)).digest('hex').slice(0, 32);
