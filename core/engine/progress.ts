import { createHash, randomUUID } from 'node:crypto';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Sink, Unfinished } from '../api/sink.ts';
import type { Selection } from '../api/source.ts';
import type { StateStore } from '../api/state.ts';
import { busy, refuseUnderWay } from './busy.ts';
import { type Checkpoint, CheckpointFile } from './checkpoint.ts';
import { Tally } from './report.ts';
import { UnderWay } from './under-way.ts';
import { Watermark } from './watermark.ts';

/** The checkpoint is saved at most this often, so a killed process repeats little and state costs little. */
const SAVE_EVERY_MS = 5000;
/** A run that is on record says so three times in this time. */
const LEASE_MS = 30_000;

export interface ProgressOptions {
  readonly pipeline: string;
  readonly fingerprint: string;
  readonly state: StateStore;
  readonly sinks: readonly Pick<Sink, 'location'>[];
  readonly now: () => number;
  /** A part of the sources, or the name of a plan that was made before; undefined for the run of the whole. */
  readonly part: Selection | string | undefined;
  /** Its steps come in key order, so that a place in them means something to the next process. */
  readonly hasPlaces: boolean;
  readonly leaseMs: number | undefined;
  readonly reset: boolean;
  readonly signal: AbortSignal;
  /** Whether another process finds what is put on record. */
  readonly lasts: boolean;
}

/** What must be durable before the record may pass the items that it tells of. */
export interface Durable {
  flush(signal: AbortSignal): Promise<void>;
  /** The hash of the last receipt that was flushed. */
  readonly head: string | undefined;
}

/** How far a run is, in memory and on record: all that it needs to go on after a pause. */
export class Progress implements AsyncDisposable {
  readonly runId: string;
  readonly resumed: boolean;
  /** It was paused, or killed: nobody has to look at it before it goes on. */
  readonly paused: boolean;
  readonly watermark: Watermark;
  readonly underWay: UnderWay;
  readonly cursor: string | undefined;
  /** The hash of the last receipt of the process before. */
  readonly receipts: string | undefined;
  /** To be set before the first item is done. */
  durable: Durable | undefined;
  readonly #file: CheckpointFile;
  readonly #now: () => number;
  readonly #started: number;
  readonly #before: number;
  readonly #leaseMs: number;
  readonly #signal: AbortSignal;
  readonly #lasts: boolean;
  #passed: Passed;
  #passes = false;
  #passedAt: number;
  #saving: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  readonly #lost = new AbortController();
  #over = false;

  private constructor(
    file: CheckpointFile,
    options: ProgressOptions,
    checkpoint: Checkpoint | undefined,
    left: Checkpoint['begun'] = [],
  ) {
    const { now, leaseMs = LEASE_MS, signal } = options;
    this.#file = file;
    this.#now = now;
    this.#leaseMs = leaseMs;
    this.#signal = signal;
    this.#started = now();
    this.#passedAt = this.#started;
    this.runId = checkpoint?.runId ?? randomUUID();
    this.resumed = checkpoint !== undefined;
    this.paused = checkpoint?.paused === true || checkpoint?.alive !== undefined;
    this.cursor = checkpoint?.cursor;
    this.watermark = new Watermark(this.cursor, checkpoint?.tally);
    this.#before = this.watermark.tally.durationMs;
    this.receipts = checkpoint?.receipts;
    this.#lasts = options.lasts;
    this.underWay = new UnderWay(left, options.sinks, now);
    this.#passed = this.#here();
  }

  /** @throws BrokerError `busy` while another run of the same is under way. */
  static async load(options: ProgressOptions): Promise<Progress> {
    const { pipeline, fingerprint, state, now, part, reset, signal } = options;
    // A part has a checkpoint of its own, so it does not disturb the run of the whole.
    const place = part === undefined ? pipeline : `${pipeline}.${partName(part)}`;
    const file = new CheckpointFile(state, place, pipeline, fingerprint);
    const loading = file.load(!options.hasPlaces, signal);
    const found = await (reset ? loading.catch(unlessUnreadable) : loading);
    if (found !== undefined) refuseUnderWay(found, now());
    if (!reset) return new Progress(file, options, found, found?.begun);
    await file.reset(signal);
    // Forgotten is how far it was, not what a killed run has left.
    return new Progress(file, options, undefined, found?.begun);
  }

  /** Puts a run that goes on on record as under way. Of two that want to go on with it one gets it. */
  async take(signal: AbortSignal): Promise<void> {
    if (!this.resumed) return;
    await this.save(signal).catch((thrown: unknown) => {
      if (asBrokerError(thrown).code === 'state_conflict') throw busy(this.runId, this.#leaseMs);
      throw thrown;
    });
  }

  /** Fires when another run has taken over: this one was silent for too long, and must not go on. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  get durationMs(): number {
    // Clocks are set back, too.
    return this.#before + Math.max(0, this.#now() - this.#started);
  }

  /** What a write to this key may go on with, and where it tells how far it is; undefined where nobody would find it. */
  unfinished(sink: number, key: string, signal: AbortSignal): Unfinished | undefined {
    if (!this.#lasts) return undefined;
    return this.underWay.unfinished(sink, key, () => void this.save(signal, false).catch(() => undefined));
  }

  /** Resolves once it is on record that a write to this key may leave something behind. */
  begin(sink: number, key: string, signal: AbortSignal): Promise<void> {
    this.underWay.begin(sink, key);
    return this.save(signal, false);
  }

  /** Saves from time to time. */
  async saveSometimes(signal: AbortSignal): Promise<void> {
    if (this.#saving !== undefined || this.#now() - this.#passedAt < SAVE_EVERY_MS) return;
    await this.save(signal);
  }

  /**
   * Resolves when all that is so now is on record. One save at a time, since one that overtakes another would take it
   * for another run's; those who wait share the next.
   *
   * @param passes also how far the run is, which may have to be made durable first.
   */
  save(signal: AbortSignal, passes = true): Promise<void> {
    this.#passes ||= passes;
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

  /** The run is over for now: whoever goes on need not wait. @param paused whether it is to go on by itself. */
  async release(paused: boolean, signal: AbortSignal): Promise<void> {
    await this.#settle();
    this.#passes = true;
    await this.#write(signal, paused);
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
    const every = Math.ceil(this.#leaseMs / 3);
    this.#heartbeat = setInterval(() => {
      // It says so, too; and it may be what others wait for, who have more patience.
      if (this.#saving !== undefined) return;
      // An answer that comes later than the next beat is as good as none.
      const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(every)]);
      this.save(signal).catch((thrown: unknown) => {
        // What else is wrong with the state is told to the next that saves.
        if (asBrokerError(thrown).code === 'state_conflict') this.#lost.abort();
      });
    }, every).unref();
  }

  #write(signal: AbortSignal, paused = false): Promise<void> {
    const saving = this.#record(signal, paused).finally(() => {
      if (this.#saving === saving) this.#saving = undefined;
    });
    this.#saving = saving;
    this.#beat();
    return saving;
  }

  async #record(signal: AbortSignal, paused: boolean): Promise<void> {
    if (this.#passes || this.durable === undefined) {
      this.#passes = false;
      this.#passedAt = this.#now();
      const here = this.#here();
      await this.durable?.flush(signal);
      this.#passed = { ...here, receipts: this.durable?.head ?? this.receipts };
    }
    const lease = this.#leaseMs;
    const alive = this.#over ? undefined : { until: this.#now() + lease, lease };
    const { runId, underWay } = this;
    await this.#file.save({ ...this.#passed, runId, begun: underWay.all, alive, paused }, signal);
  }

  /** How far the run is now. */
  #here(): Passed {
    const tally = new Tally();
    tally.merge(this.watermark.tally);
    tally.durationMs = this.durationMs;
    return { cursor: this.watermark.value, tally, receipts: this.receipts };
  }
}

/** How far the record may say that the run is. */
type Passed = Pick<Checkpoint, 'cursor' | 'tally' | 'receipts'>;

/** What cannot be read is what a reset is for. */
function unlessUnreadable(thrown: unknown): undefined {
  if (!(thrown instanceof BrokerError) || thrown.code !== 'state_unreadable') throw thrown;
}

const partName = (part: Selection | string): string =>
  createHash('sha256').update(JSON.stringify(part)).digest('hex').slice(0, 32);
