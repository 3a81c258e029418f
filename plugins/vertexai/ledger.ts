import { BrokerError, type PluginContext, type RunContext } from '../../core/api/index.ts';
import { writeNotes } from './batch-notes.ts';
import { Limits } from './limits.ts';
import { type FailedRow, type RowNotes, readRowNotes } from './row-notes.ts';

/** Notes are written even when the run was stopped meanwhile: what was paid for must be known. */
const WRITE_MS = 10_000;
/** What was spent is written down this often while one file takes long. */
const EVERY_MS = 5000;
/** More rows than these that fail in one invocation are no exceptions any more. */
const MOST_FAILED = 5000;

/** What requests share: how many there may be, and what was spent on them. */
export interface Tools {
  readonly limits: Limits;
  /** Adds to what was spent; counters by name. */
  spend(counts: Readonly<Record<string, number>>): void;
  /** So far, of the whole run. */
  spent(name: string): number;
}

export interface Pace {
  readonly concurrency: number;
  readonly requestsPerMinute?: number | undefined;
  readonly tokensPerMinute?: number | undefined;
}

/** The notes of a run that pays for answers: whoever goes on with it knows what was spent, and what failed. */
export class Ledger implements Tools {
  readonly limits: Limits;
  notes: RowNotes;
  readonly #what: string;
  readonly #now: () => number;
  #run: RunContext | undefined;
  #writing: Promise<void> = Promise.resolve();
  #writtenAt = 0;
  #failures = 0;

  constructor(what: string, pace: Pace, { now }: PluginContext) {
    this.#what = what;
    this.#now = now;
    this.limits = new Limits(pace, now);
    this.notes = this.#fresh('');
  }

  spend(counts: Readonly<Record<string, number>>): void {
    const { spent } = this.notes;
    for (const [name, count] of Object.entries(counts)) spent[name] = (spent[name] ?? 0) + count;
    // What cannot be written now is written with the file.
    if (this.#run !== undefined && this.#now() - this.#writtenAt > EVERY_MS) this.record().catch(() => undefined);
  }

  spent(name: string): number {
    return this.notes.spent[name] ?? 0;
  }

  get hasBegun(): boolean {
    return this.#run !== undefined;
  }

  get failed(): readonly FailedRow[] {
    return Object.values(this.notes.failed).flat();
  }

  /**
   * Takes up the notes of this very run, or puts it on record.
   *
   * @param input the version of what is read: a run does not go on with another.
   * @param goesOn the run has a cursor.
   */
  async begin(run: RunContext, input: string | undefined, goesOn: boolean, signal: AbortSignal): Promise<void> {
    this.#run = run;
    this.#failures = 0;
    const found = await readRowNotes(run, signal);
    const mine = found !== undefined && found.run === run.runId && found.what === this.#what && !run.reset;
    if (mine && found.input === input) {
      this.notes = found;
      return;
    }
    // Files of it may be stored, also without a cursor.
    if (mine && Object.keys(found.spent).length > 0)
      throw new BrokerError('state_unreadable', `${found.input} is ${input} now`);
    if (goesOn) throw new BrokerError('state_unreadable', 'what the run was asking is not on record any more');
    // What is asked is paid for: whoever comes again must know of it.
    await run.begins();
    const seen = found?.what === this.#what && !run.reset ? found.seen : undefined;
    const known = { ...(input === undefined ? {} : { input }), ...(seen === undefined ? {} : { seen }) };
    this.notes = { ...this.#fresh(run.runId), ...known };
    await writeNotes(run, this.notes, signal);
  }

  /** For a plan: what was carried by runs before. */
  async look(run: RunContext, signal: AbortSignal): Promise<void> {
    const found = await readRowNotes(run, signal);
    if (found?.what === this.#what && found.seen !== undefined && !run.reset) this.notes.seen = found.seen;
  }

  /** Of one row of this invocation. @throws BrokerError `too_many_failures` before more is paid for. */
  countFailure(reason: string): void {
    if (++this.#failures >= MOST_FAILED)
      throw new BrokerError('too_many_failures', `${this.#failures} rows failed; the last one: ${reason}`);
  }

  /** What failed of a piece; nothing of what failed in it before is true any more. */
  setFailed(part: number, failed: readonly FailedRow[]): void {
    delete this.notes.failed[part];
    if (failed.length > 0) this.notes.failed[part] = [...failed];
  }

  /** Durable when it resolves; one write at a time, since the notes are those of all that is under way. */
  async record(): Promise<void> {
    const run = this.#run;
    if (run === undefined) return;
    this.#writtenAt = this.#now();
    const writing = this.#writing.then(() =>
      writeNotes(run, structuredClone(this.notes), AbortSignal.timeout(WRITE_MS)),
    );
    this.#writing = writing.catch(() => undefined);
    await writing;
  }

  async settled(): Promise<void> {
    await this.#writing;
  }

  #fresh(run: string): RowNotes {
    const startedAt = new Date(this.#now()).toISOString();
    return { version: 1, what: this.#what, run, startedAt, failed: {}, spent: {} };
  }
}
