import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { RunContext } from '../api/source.ts';
import type { Revision } from '../api/state.ts';
import { deletion, withExtras } from '../engine/extras.ts';
import { plan, type Step } from '../engine/plan.ts';
import { layoutOf, type Phase, sourceContexts } from './context.ts';
import type { Head } from './head.ts';
import type { Layout } from './layout.ts';
import type { KeyRange } from './ranges.ts';
import { ShardWriter } from './shard-writer.ts';

/** How far a listing is goes on record at most this often; after the longer time whatever there is ends a shard. */
const SAVE_EVERY_MS = 5000;
const SAVE_AT_LAST_MS = 30_000;
/** Asking for the time costs more than comparing an item. */
const STEPS_A_LOOK = 256;

const count = z.number().int().nonnegative();
const listingSpec = z.object({
  /** What is listed now: the items, then what is extra in each of the sinks. */
  stage: count.default(0),
  /** Everything up to this key is in shards, of this stage. */
  cursor: z.string().exactOptional(),
  ended: z.boolean().default(false),
  /** Files with lines of the manifest. */
  parts: z.array(z.string()).default([]),
  unchanged: count.default(0),
  left: count.default(0),
  /** By sink. */
  extras: z.array(z.strictObject({ found: count, of: count })).default([]),
});

/** How far the listing of a range is, and what it has come to. */
export type Listing = z.output<typeof listingSpec>;

export const listingOf = (value: unknown): Listing => {
  const parsed = listingSpec.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new BrokerError('state_unreadable', 'the record of a listing has not the form of one');
};

/**
 * Lists and compares one range of keys and writes what is to be done as shards, until it is at its end or is stopped;
 * then it goes on where it was. Of two processes that list the same range one gives up.
 *
 * @returns whether it came to its end.
 */
export async function listRange(phase: Phase, head: Head, number: number, range: KeyRange): Promise<boolean> {
  const lister = new Lister(phase, head, number, range);
  return await lister.run();
}

class Lister {
  readonly #phase: Phase;
  readonly #head: Head;
  readonly #range: KeyRange;
  readonly #layout: Layout;
  readonly #place: string;
  /** Of this process: files of another never count as its own. */
  readonly #name: string;
  #listing: Listing = listingOf({});
  #revision: Revision | undefined;
  #savedAt: number;

  constructor(phase: Phase, head: Head, number: number, range: KeyRange) {
    this.#phase = phase;
    this.#head = head;
    this.#range = range;
    this.#layout = layoutOf(phase, head.runId);
    this.#place = this.#layout.listing(number);
    this.#name = `${String(number).padStart(3, '0')}-${randomUUID().slice(0, 8)}`;
    this.#savedAt = phase.runtime.now();
  }

  async run(): Promise<boolean> {
    const { job, runtime } = this.#phase;
    const { signal } = runtime;
    const saved = await job.state.load(this.#place, { signal });
    if (saved !== undefined) this.#listing = listingOf(saved.value);
    this.#revision = saved?.revision;
    const sinks = job.deletes === undefined ? 0 : job.sinks.length;
    const before = this.#progress;
    while (!this.#listing.ended) {
      const { stage } = this.#listing;
      if (!(await (stage === 0 ? this.#items() : this.#extras(stage - 1)))) {
        if (before !== this.#progress) return false;
        // Not one key in a whole invocation: calling again would only cost money.
        throw new BrokerError(
          'no_progress',
          `${this.#range.until ?? 'the end'}: nothing was listed in a whole invocation`,
          {
            hint: 'Filters that let hardly anything through are cheaper as a `prefix`; or raise deploy.timeout.',
          },
        );
      }
      const { cursor: _, ...rest } = this.#listing;
      this.#listing = { ...rest, stage: stage + 1, ended: stage >= sinks };
      await this.#save([]);
    }
    return true;
  }

  /** How far it is, as a text. */
  get #progress(): string {
    return `${this.#listing.stage} ${this.#listing.cursor ?? ''}`;
  }

  /** Ends the waiting for a listing when the time comes to put on record how far it is. */
  get #until(): AbortSignal {
    const { signal, stop } = this.#phase.runtime;
    return AbortSignal.any([signal, stop]);
  }

  /** What must be done with the items; what is unchanged is only counted. */
  async #items(): Promise<boolean> {
    const { job } = this.#phase;
    const { runId, since } = this.#head;
    const contexts = sourceContexts(this.#phase, runId);
    const steps = plan({
      ...job,
      ...this.#limits(),
      since,
      run: (source) => contexts[source] as RunContext,
      signal: this.#until,
    });
    const keepsAll = job.move === true || job.receipts !== undefined;
    return await this.#write(steps, false, ({ actions }) => {
      if (keepsAll) return;
      for (const { action, left } of actions)
        if (action === 'skip') {
          if (left === true) this.#listing.left++;
          else this.#listing.unchanged++;
        }
    });
  }

  /** What a sink has that no source has. */
  async #extras(number: number): Promise<boolean> {
    const { job } = this.#phase;
    const location = job.sinks[number]?.location ?? '';
    const count = this.#listing.extras[number] ?? { found: 0, of: 0 };
    this.#listing.extras[number] = count;
    const contexts = sourceContexts(this.#phase, this.#head.runId);
    const run = (source: number): RunContext => contexts[source] as RunContext;
    const objects = withExtras({ ...job, ...this.#limits(), run, signal: this.#until }, number);
    const steps = (async function* (): AsyncGenerator<Step> {
      for await (const { stored, key, extra } of objects)
        yield { key, actions: extra ? [deletion(stored, number, location)] : [] };
    })();
    return await this.#write(steps, true, ({ actions }) => {
      count.of++;
      count.found += actions.length;
    });
  }

  #limits(): { readonly after?: string; readonly until?: string } {
    const { after = this.#range.after } = { after: this.#listing.cursor };
    const { until } = this.#range;
    return { ...(after === undefined ? {} : { after }), ...(until === undefined ? {} : { until }) };
  }

  async #write(steps: AsyncGenerator<Step>, extra: boolean, tell: (step: Step) => void): Promise<boolean> {
    const { runtime } = this.#phase;
    const prefix = `${this.#name}-${this.#listing.stage}`;
    const writer = new ShardWriter(this.#phase, this.#layout, prefix, runtime.signal, extra);
    const save = async (): Promise<void> => {
      await writer.settle();
      await this.#save(writer.take().map((shard) => JSON.stringify(shard)));
    };
    let taken = 0;
    try {
      for await (const step of steps) {
        const closing = writer.add(step);
        if (closing !== undefined) await closing;
        tell(step);
        this.#listing.cursor = step.key;
        if (closing === undefined && ++taken % STEPS_A_LOOK !== 0) continue;
        const waited = runtime.now() - this.#savedAt;
        if (runtime.stop.aborted || waited > SAVE_AT_LAST_MS) await writer.close();
        if (runtime.stop.aborted || (waited > SAVE_EVERY_MS && !writer.isOpen)) await save();
        if (runtime.stop.aborted) return false;
      }
    } catch (thrown) {
      if (runtime.signal.aborted || !runtime.stop.aborted || asBrokerError(thrown).code !== 'stopped') throw thrown;
      await writer.close();
      await save();
      return false;
    } finally {
      // Whatever ends it: what is being written must not go on behind its back.
      await writer.settle().catch(() => undefined);
    }
    await writer.close();
    await save();
    return true;
  }

  /** Lines of the manifest are durable before the record says so. */
  async #save(lines: readonly string[]): Promise<void> {
    const { job, runtime, files } = this.#phase;
    const { signal } = runtime;
    this.#savedAt = runtime.now();
    if (lines.length > 0) {
      const name = `${this.#name}-${String(this.#listing.parts.length).padStart(5, '0')}`;
      await files.write(this.#layout.part(name), `${lines.join('\n')}\n`, signal);
      this.#listing.parts.push(name);
    }
    try {
      this.#revision = await job.state.save(this.#place, structuredClone(this.#listing), this.#revision, { signal });
    } catch (thrown) {
      if (asBrokerError(thrown).code !== 'state_conflict') throw thrown;
      throw new BrokerError('busy', 'another process lists the same range of keys');
    }
  }
}
