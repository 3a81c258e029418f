import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Runtime } from '../api/runtime.ts';
import { visible } from '../api/text.ts';
import { saysUnderWay } from '../engine/busy.ts';
import type { Observer } from '../engine/job.ts';
import { FairMemoryBudget } from '../engine/memory.ts';
import type { Receipt } from '../engine/receipt.ts';
import type { Report } from '../engine/report.ts';
import { run } from '../engine/run.ts';
import type { RunOptions } from '../engine/run-options.ts';
import { type Answer, answerOf, type ResumeToken } from './answer.ts';
import { eventsTo } from './events-log.ts';
import type { Figures, Meter } from './figures.ts';
import type { OpenJob } from './job.ts';
import { logFields } from './logger.ts';
import type { Notification, ObjectEvent } from './notifications.ts';
import { type Chosen, chosen, keysOf, type Part } from './parts.ts';
import type { RunTrace, Tracing } from './traces.ts';

/** Objects that were carried lately are remembered, so that an event that comes twice costs nothing. */
const MOST_REMEMBERED = 10_000;

export interface CarrierOptions {
  readonly open: OpenJob;
  readonly meter: Meter;
  /** Tokens fetched so far, by this process. */
  readonly refreshes: () => number;
  /** For how long a run that says nothing more counts as under way. */
  readonly leaseMs?: number | undefined;
  readonly tracing?: Tracing | undefined;
}

/** Carries out one pipeline again and again, as events ask for it; everything that can stay warm does. */
export class Carrier {
  readonly #open: OpenJob;
  readonly meter: Meter;
  readonly #refreshes: () => number;
  readonly #memory: FairMemoryBudget;
  readonly #carried = new Map<string, bigint>();
  readonly #underWay = new Map<string, Promise<Answer>>();
  readonly leaseMs: number | undefined;
  readonly #tracing: Tracing | undefined;
  #counted = 0;

  constructor({ open, meter, refreshes, leaseMs, tracing }: CarrierOptions) {
    this.leaseMs = leaseMs;
    this.#tracing = tracing;
    this.#open = open;
    this.meter = meter;
    this.#refreshes = refreshes;
    // One limit for all that is under way at once.
    this.#memory = new FairMemoryBudget(open.job.memory);
  }

  get pipeline(): string {
    return this.#open.job.pipeline;
  }

  /** Whether a run that is paused here can go on elsewhere. */
  get stateLasts(): boolean {
    return this.#open.pipeline.state?.plugin.lasts === 'anywhere';
  }

  /** Runs the pipeline, or the part of it that was asked for. @throws BrokerError `outside_pipeline` */
  async run(part: Part, runtime: Runtime, before?: ResumeToken): Promise<Answer> {
    // Without state that lasts nothing is on record, and the run begins anew.
    const continues = this.stateLasts ? before?.runId : undefined;
    const wanted = { ...chosen(this.#open.job.sources, part), continues };
    const receipts: Receipt[] = [];
    const answer = await this.#run(wanted, part.resetState === true, runtime, receipts).catch((error: unknown) => {
      // Over, or continued by somebody else already.
      const known = error instanceof BrokerError ? error : undefined;
      const going = known !== undefined && before !== undefined && saysUnderWay(known, before.runId);
      if (known?.code === 'superseded' || going) return this.#ignored(known.message);
      throw error;
    });
    // Whoever names an object wants it; to say "complete" of nothing would be a lie.
    if (part.object !== undefined && answer.outcome === 'complete' && receipts.length === 0)
      throw new BrokerError('source_gone', answer.message, { hint: 'Correct the name, or the filters of the source.' });
    return this.#resumable(answer, part, before);
  }

  #resumable(answer: Answer, { object, prefix }: Part, before?: ResumeToken): Answer {
    if (answer.outcome !== 'paused') return answer;
    const { items, bytes = 0, unfinishedBytes = 0, runId = '' } = answer;
    const done = Object.values(items ?? {}).reduce((sum, count) => sum + count, bytes + unfinishedBytes);
    const asked = { ...(object === undefined ? {} : { object }), ...(prefix === undefined ? {} : { prefix }) };
    return { ...answer, resume: { runId, hop: (before?.hop ?? 0) + 1, done, ...asked } };
  }

  /** Goes on with a run that is paused, if there is one, and begins none. */
  async goOn(runtime: Runtime): Promise<Answer> {
    const answer = await this.#run({ onlyPaused: true }, false, runtime).catch((error: unknown) => {
      if (error instanceof BrokerError && (error.code === 'superseded' || error.code === 'busy'))
        return this.#ignored(error.message);
      throw error;
    });
    return this.#resumable(answer, {});
  }

  /**
   * Carries the object that a notification names, if it is one of this pipeline.
   *
   * @param wait when the same object is under way already: wait for it, or say `busy`.
   */
  async carry(event: Notification, runtime: Runtime, wait = true): Promise<Answer> {
    if (event.kind === 'test') return this.#ignored('a test message: the notification is set up');
    const { url, change, generation } = event;
    const keys = keysOf(this.#open.job.sources, url);
    const shown = visible(url.slice(0, 1100));
    if (keys.length === 0) return this.#ignored(`${shown} is not in the source of this pipeline`);
    if (change === 'removed') return this.#ignored(`${shown} was removed; notifications delete nothing`);
    if (!wait && this.#underWay.has(url)) throw new BrokerError('busy', `${shown} is under way`);
    // One at a time for each object: who comes second finds what the first one did.
    for (let other = this.#underWay.get(url); other !== undefined; other = this.#underWay.get(url))
      await other.catch(() => undefined);
    const known = this.#carried.get(url);
    if (known !== undefined && generation !== undefined && BigInt(generation) <= known)
      return this.#ignored(`${shown} of generation ${generation} was carried already`);
    const work = this.#each(keys, event, runtime);
    this.#underWay.set(url, work);
    try {
      return await work;
    } finally {
      this.#underWay.delete(url);
    }
  }

  /** Sources may overlap: then one object has several keys. The answer is that of the one that went worst. */
  async #each(keys: readonly string[], { url, at }: ObjectEvent, runtime: Runtime): Promise<Answer> {
    const answers: Answer[] = [];
    const receipts: Receipt[] = [];
    for (const key of keys) answers.push(await this.#run({ only: { key }, url }, false, runtime, receipts, at));
    const worst = answers.find(({ outcome }) => outcome !== 'complete') ?? answers[0];
    if (worst === undefined || worst.outcome !== 'complete') return worst ?? this.#ignored('it has no key');
    const [receipt] = receipts;
    if (receipt === undefined) return this.#ignored(worst.message);
    this.#remember(url, receipt);
    return answers.find(({ bytes = 0 }) => bytes > 0) ?? worst;
  }

  #remember(url: string, { id }: Receipt): void {
    const generation = /#(\d+)$/.exec(id)?.[1];
    if (generation === undefined) return;
    this.#carried.delete(url);
    this.#carried.set(url, BigInt(generation));
    const [oldest] = this.#carried.keys();
    if (this.#carried.size > MOST_REMEMBERED && oldest !== undefined) this.#carried.delete(oldest);
  }

  async #run(
    { only, url, continues, onlyPaused }: Chosen & Pick<RunOptions, 'continues' | 'onlyPaused'>,
    resetState: boolean,
    runtime: Runtime,
    receipts: Receipt[] = [],
    changedAt?: number,
  ): Promise<Answer> {
    const { job } = this.#open;
    this.#open.credentials.warm();
    let retries = 0;
    const log = eventsTo(runtime.log);
    const single = only !== undefined && 'key' in only;
    const trace = this.#tracing?.(job.pipeline);
    const observer: Observer = {
      started: (run) => {
        const fields = logFields.getStore();
        if (fields !== undefined) Object.assign(fields, { pipeline: job.pipeline, runId: run.runId });
        log.started?.(run);
        trace?.observer.started?.(run);
      },
      retried: () => void retries++,
      receipt: (receipt, action) => {
        if (single) receipts.push(receipt);
        log.receipt?.(receipt, action);
        trace?.observer.receipt?.(receipt, action);
      },
    };
    const report = await this.#watched(
      trace,
      run(job, {
        runtime,
        observer,
        resetState,
        only,
        continues,
        onlyPaused,
        memory: this.#memory,
        leaseMs: this.leaseMs,
      }),
    );
    const { pipeline, outcome, items, bytes, durationMs } = report;
    const refreshes = this.#refreshes();
    const lagSeconds = changedAt === undefined ? undefined : Math.max(0, (runtime.now() - changedAt) / 1000);
    const tokenRefreshes = refreshes - this.#counted;
    this.#counted = refreshes;
    this.meter({ pipeline, outcome, items, bytes, seconds: durationMs / 1000, retries, tokenRefreshes, lagSeconds });
    const { failures: _, error, ...told } = report;
    runtime.log.info('run finished', { ...told, items: { ...items }, ...(error && { error: { ...error } }) });
    if (!single) return answerOf(report, undefined);
    return answerOf(report, { source: url ?? '', receipts, destinations: this.#placesOf(only.key, receipts) });
  }

  /** A run that cannot even begin, as when its state cannot be read, counts as failed. */
  async #watched(trace: RunTrace | undefined, running: Promise<Report>): Promise<Report> {
    try {
      const report = await running;
      trace?.end(report);
      return report;
    } catch (thrown) {
      trace?.end(undefined);
      const { code, next } = asBrokerError(thrown);
      const isFailure = next !== 'wait' && code !== 'busy' && code !== 'superseded';
      if (isFailure) this.meter({ ...NOTHING, pipeline: this.pipeline });
      throw thrown;
    }
  }

  #placesOf(key: string, receipts: readonly Receipt[]): string[] {
    return this.#open.job.sinks.map(
      ({ location }, index) => receipts.find(({ sink }) => sink === index)?.location ?? location + key,
    );
  }

  #ignored(message: string): Answer {
    return { outcome: 'ignored', message, pipeline: this.pipeline };
  }
}

const NOTHING: Omit<Figures, 'pipeline'> = {
  outcome: 'failed',
  items: { written: 0, unchanged: 0, skipped: 0, deleted: 0, refused: 0, failed: 0 },
  bytes: 0,
  seconds: 0,
  retries: 0,
  tokenRefreshes: 0,
  lagSeconds: undefined,
};
