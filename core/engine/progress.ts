import { createHash, randomUUID } from 'node:crypto';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Logger } from '../api/runtime.ts';
import type { Sink } from '../api/sink.ts';
import type { Selection } from '../api/source.ts';
import type { StateStore } from '../api/state.ts';
import { type Begun, type Checkpoint, CheckpointFile } from './checkpoint.ts';
import { Watermark } from './watermark.ts';

/** The checkpoint is saved at most this often, so a killed process repeats little and state costs little. */
const SAVE_EVERY_MS = 5000;
/** A run that is on record says so three times in this time. */
const LEASE_MS = 30_000;
/** More than a lease and this ahead, a clock was wrong: whoever wrote it is not taken to live as long as that. */
const SKEW_MS = 60_000;

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
  /** It was paused, or killed: nobody has to look at it before it goes on. */
  readonly paused: boolean;
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
  readonly #lost = new AbortController();
  #over = false;

  private constructor(
    file: CheckpointFile,
    options: ProgressOptions,
    checkpoint: Checkpoint | undefined,
    left: readonly Begun[] = [],
  ) {
    const { now, leaseMs = LEASE_MS, signal } = options;
    this.#file = file;
    this.#now = now;
    this.#leaseMs = leaseMs;
    this.#signal = signal;
    this.#started = now();
    this.#savedAt = this.#started;
    this.runId = checkpoint?.runId ?? randomUUID();
    this.resumed = checkpoint !== undefined;
    this.paused = checkpoint?.paused === true || checkpoint?.alive !== undefined;
    this.cursor = checkpoint?.cursor;
    this.watermark = new Watermark(this.cursor, checkpoint?.tally);
    this.#before = this.watermark.tally.durationMs;
    this.#left = left;
    for (const one of this.#left) this.#begun.set(nameOf(one.sink, one.key), one);
  }

  /** @throws BrokerError `busy` while another run of the same is under way. */
  static async load(options: ProgressOptions): Promise<Progress> {
    const { pipeline, fingerprint, state, now, only, reset, signal } = options;
    // A part has a checkpoint of its own, so it does not disturb the run of the whole.
    const place = only === undefined ? pipeline : `${pipeline}.${partName(only)}`;
    const file = new CheckpointFile(state, place, pipeline, fingerprint);
    const loading = file.load(only !== undefined && 'key' in only, signal);
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
      if (asBrokerError(thrown).code === 'state_conflict') throw underWay(this.runId, this.#leaseMs);
      throw thrown;
    });
  }

  /** Fires when another run has taken over: this one was silent for too long, and must not go on. */
  get lost(): AbortSignal {
    return this.#lost.signal;
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

  /** The run is over for now: whoever goes on need not wait. @param paused whether it is to go on by itself. */
  async release(paused: boolean, signal: AbortSignal): Promise<void> {
    await this.#settle();
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
      // An answer that comes later than the next beat is as good as none.
      const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(every)]);
      this.save(signal).catch((thrown: unknown) => {
        // What else is wrong with the state is told to the next that saves.
        if (asBrokerError(thrown).code === 'state_conflict') this.#lost.abort();
      });
    }, every).unref();
  }

  #write(signal: AbortSignal, paused = false): Promise<void> {
    this.#savedAt = this.#now();
    const { runId, watermark } = this;
    const { tally, value: cursor } = watermark;
    tally.durationMs = this.durationMs;
    const lease = this.#leaseMs;
    const alive = this.#over ? undefined : { until: this.#savedAt + lease, lease };
    const checkpoint = { runId, cursor, begun: [...this.#begun.values()], alive, paused, tally };
    const saving = this.#file.save(checkpoint, signal).finally(() => {
      if (this.#saving === saving) this.#saving = undefined;
    });
    this.#saving = saving;
    this.#beat();
    return saving;
  }
}

function refuseUnderWay({ runId, alive }: Checkpoint, now: number): void {
  const left = (alive?.until ?? 0) - now;
  if (alive !== undefined && left > 0 && left <= alive.lease + SKEW_MS) throw underWay(runId, left);
}

const underWay = (runId: string, leftMs: number): BrokerError =>
  new BrokerError('busy', `${underWayWords(runId)}, or was killed a moment ago`, {
    hint: `Let it finish. If it was killed, run again in ${Math.ceil(leftMs / 1000)} s: by then it counts as dead.`,
    retryAfterMs: leftMs,
  });

const underWayWords = (runId: string): string => `run ${runId} is under way`;

/** Whether an error says that this very run is under way. */
export const saysUnderWay = (error: BrokerError, runId: string): boolean =>
  error.code === 'busy' && error.message.startsWith(underWayWords(runId));

/** What cannot be read is what a reset is for. */
function unlessUnreadable(thrown: unknown): undefined {
  if (!(thrown instanceof BrokerError) || thrown.code !== 'state_unreadable') throw thrown;
}

const nameOf = (sink: number, key: string): string => `${sink} ${key}`;

const partName = (only: Selection): string =>
  createHash('sha256').update(JSON.stringify(only)).digest('hex').slice(0, 32);
