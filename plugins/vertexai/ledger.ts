import type { PluginContext, RunContext } from '../../core/api/index.ts';
import { writeNotes } from './batch-notes.ts';
import { Limits } from './limits.ts';
import { type RowNotes, readRowNotes } from './row-notes.ts';

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
}

/** The notes of a run that pays for answers: whoever goes on with it knows what was spent, and what failed. */
export class Ledger implements Tools {
  readonly limits: Limits;
  notes: RowNotes;
  readonly #what: string;
  #run: RunContext | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(what: string, { concurrency, requestsPerMinute }: Pace, { now }: PluginContext) {
    this.#what = what;
    this.limits = new Limits(concurrency, requestsPerMinute, now);
    const startedAt = new Date(now()).toISOString();
    this.notes = { version: 1, what, run: '', startedAt, failed: {}, rows: {}, spent: {} };
  }

  spend(counts: Readonly<Record<string, number>>): void {
    const { spent } = this.notes;
    for (const [name, count] of Object.entries(counts)) spent[name] = (spent[name] ?? 0) + count;
  }

  spent(name: string): number {
    return this.notes.spent[name] ?? 0;
  }

  get hasBegun(): boolean {
    return this.#run !== undefined;
  }

  /** Takes up the notes of this very run, or puts it on record. @returns whether there were notes of it. */
  async begin(run: RunContext, signal: AbortSignal): Promise<boolean> {
    this.#run = run;
    const found = await readRowNotes(run, signal);
    if (found !== undefined && found.run === run.runId && found.what === this.#what && !run.reset) {
      this.notes = found;
      return true;
    }
    // What is asked is paid for: whoever comes again must know of it.
    await run.begins();
    this.notes = { ...this.notes, run: run.runId };
    await writeNotes(run, this.notes, signal);
    return false;
  }

  /** Writes down what is so now; one write at a time, since the notes are those of all that is under way. */
  async record(signal: AbortSignal): Promise<void> {
    const run = this.#run;
    if (run === undefined) return;
    const writing = this.#writing.then(() =>
      signal.aborted ? undefined : writeNotes(run, structuredClone(this.notes), signal),
    );
    this.#writing = writing.catch(() => undefined);
    await writing;
  }

  async settled(): Promise<void> {
    await this.#writing;
  }
}
