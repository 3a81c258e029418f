import { ERROR_CODES } from '../api/error-codes.ts';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import { pause } from '../api/retry.ts';
import type { Runtime } from '../api/runtime.ts';
import { begin, rangeOf } from '../distributed/begin.ts';
import { concurrencyFor, spreadSeconds, toleratedOf } from '../distributed/concurrency.ts';
import { filesOf, layoutOf, type Phase } from '../distributed/context.ts';
import { endedBy, finish } from '../distributed/finish.ts';
import { gather } from '../distributed/gather.ts';
import { type Head, HeadFile, unbegun } from '../distributed/head.ts';
import { listRange } from '../distributed/list.ts';
import { againIn, type PhaseEvent } from '../distributed/phase-event.ts';
import { transfer } from '../distributed/transfer.ts';
import type { Report } from '../engine/report.ts';
import { sharesOf } from '../pipeline/deploy-spec.ts';
import { type Answer, answerOf } from './answer.ts';
import { eventsTo } from './events-log.ts';
import type { Meter } from './figures.ts';
import type { OpenJob } from './job.ts';

/** A source that is not ready is asked again after so long, if it does not say when. */
const WAIT_SECONDS = 60;
export interface DistributorOptions {
  readonly open: OpenJob;
  readonly runtime: Runtime;
  readonly meter: Meter;
  readonly leaseMs?: number | undefined;
  readonly isRunning: (execution: string) => Promise<boolean>;
  /** The first that this process does. */
  readonly isCold: boolean;
}

/** What a state of the state machine gets; the fields that the next one needs. */
export type PhaseAnswer = Readonly<Record<string, unknown>> & {
  readonly outcome: 'planned' | 'complete' | 'partial' | 'paused' | 'ignored';
};

/** Carries out one phase of a distributed run. @throws BrokerError when it failed. */
export async function distribute(event: PhaseEvent, options: DistributorOptions): Promise<PhaseAnswer> {
  const { open, runtime } = options;
  const log = eventsTo(runtime.log);
  let retries = 0;
  const phase: Phase = {
    job: open.job,
    runtime,
    observer: {
      ...log,
      retried: () => {
        retries++;
      },
    },
    shares: sharesOf(open.pipeline.deploy),
    files: filesOf(open.job),
    leaseMs: options.leaseMs,
  };
  // A child of many asks for its token when its turn has come.
  if (event.phase !== 'transfer') open.credentials.warm();
  try {
    return await new Phases(phase, options, () => retries).answer(event);
  } catch (thrown) {
    const error = asBrokerError(thrown);
    // A job that still runs, or the end of this invocation's time: whoever called calls again.
    if (error.next !== 'wait') throw thrown;
    const seconds = error.code === 'pending' ? Math.ceil((error.retryAfterMs ?? WAIT_SECONDS * 1000) / 1000) : 0;
    const paused = { outcome: 'paused', message: error.message, waitSeconds: seconds } as const;
    return event.phase === 'transfer' ? { ...paused, ...notBegun(event.before) } : paused;
  }
}

/** What the state machine asks of a child that had no time for anything. @throws BrokerError when that was so before. */
function notBegun(before: number): object {
  if (before >= 0) throw new BrokerError('no_progress', 'there was no time for anything in a whole invocation');
  return { items: { written: 0, unchanged: 0, skipped: 0, deleted: 0, refused: 0, failed: 0 }, bytes: 0, done: 0 };
}

class Phases {
  readonly #phase: Phase;
  readonly #options: DistributorOptions;
  readonly #retries: () => number;

  constructor(phase: Phase, options: DistributorOptions, retries: () => number) {
    this.#phase = phase;
    this.#options = options;
    this.#retries = retries;
  }

  async answer(event: PhaseEvent): Promise<PhaseAnswer> {
    switch (event.phase) {
      case 'plan':
        return await this.#plan(event);
      case 'list':
        return await this.#list(event);
      case 'gather': {
        const { shards, items, bytes } = await gather(this.#phase, await this.#head(event));
        const { memorySize } = this.#options.open.pipeline.deploy;
        const concurrency = concurrencyFor({ shards, items, bytes }, this.#phase.shares, memorySize);
        const toleratedPercent = toleratedOf(shards, this.#phase.shares.toleratedShardsPercent);
        return { outcome: 'planned', shards, items, bytes, concurrency, toleratedPercent };
      }
      case 'transfer': {
        const head = await this.#head(event);
        await this.#spread(event.concurrency);
        this.#options.open.credentials.warm();
        return { ...(await transfer(this.#phase, head, event)) };
      }
      case 'finish':
        return await this.#finish(event);
    }
  }

  async #plan({ execution, started, input }: Extract<PhaseEvent, { phase: 'plan' }>): Promise<PhaseAnswer> {
    const { isRunning } = this.#options;
    const again = againIn(input);
    try {
      const { runId: run, attempt, ranges } = await begin(this.#phase, { execution, started, again, isRunning });
      const manifest = this.#phase.files.inBucket(layoutOf(this.#phase, run).manifest(attempt));
      return {
        outcome: 'planned',
        run,
        attempt,
        ranges: Array.from({ length: ranges }, (_, number) => number),
        manifest,
      };
    } catch (thrown) {
      const error = asBrokerError(thrown);
      if (error.code !== 'busy') throw error;
      // A schedule that comes while the run before is under way has nothing to do: no reason for an alarm.
      this.#phase.runtime.log.info('ignored', { message: error.message });
      return { outcome: 'ignored', message: error.message };
    }
  }

  async #list(event: Extract<PhaseEvent, { phase: 'list' }>): Promise<PhaseAnswer> {
    const head = await this.#head(event);
    const ended = await listRange(this.#phase, head, event.range, await rangeOf(this.#phase, head, event.range));
    return ended ? { outcome: 'planned', waitSeconds: 0 } : { outcome: 'paused', waitSeconds: 0 };
  }

  async #finish({ plan, failure, execution, started }: Extract<PhaseEvent, { phase: 'finish' }>): Promise<PhaseAnswer> {
    const ended = failure ? endedBy(failure) : undefined;
    const { run, attempt } = plan ?? {};
    // One that failed before it was on record has a report all the same.
    const head =
      run === undefined || attempt === undefined
        ? unbegun(this.#phase.job, { execution, started }, this.#phase.runtime.now())
        : await new HeadFile(this.#phase.job).expect(run, attempt, this.#phase.runtime.signal, 'allow');
    const { report, location, isAccepted, isFirst } = await finish(this.#phase, head, ended);
    if (report.outcome === 'paused') return { outcome: 'paused', waitSeconds: 0 };
    if (isFirst) this.#tell(report);
    const answer: Answer = answerOf(report, undefined);
    const { outcome, message, error, failures: [first] = [] } = answer;
    if (isAccepted) return { ...answer, outcome: outcome as 'complete' | 'partial', report: location };
    const why = error?.code ?? first?.code ?? 'internal';
    // The report is kept: trying once more would only tell it again.
    const code = outcome === 'partial' ? 'partial' : ERROR_CODES[why].next === 'retry' ? 'failed' : why;
    throw new RunFailed(code, `${message}. The report is ${location}`, error?.hint ?? first?.hint ?? '');
  }

  #tell({ pipeline, outcome, items, bytes, durationMs, failures: _, error, ...told }: Report): void {
    const { runtime } = this.#phase;
    runtime.log.info('run finished', {
      pipeline,
      outcome,
      bytes,
      durationMs,
      ...told,
      items: { ...items },
      ...(error && { error: { ...error } }),
    });
    const figures = { pipeline, outcome, items, bytes, seconds: durationMs / 1000 };
    this.#options.meter({ ...figures, retries: this.#retries(), tokenRefreshes: 0, lagSeconds: undefined });
  }

  #head({ run, attempt }: { readonly run: string; readonly attempt: number }): Promise<Head> {
    return new HeadFile(this.#phase.job).expect(run, attempt, this.#phase.runtime.signal);
  }

  /** So that thousands of new environments do not ask for a token in the same second. */
  async #spread(concurrency: number): Promise<void> {
    const seconds = spreadSeconds(concurrency);
    if (!this.#options.isCold || seconds === 0) return;
    const most = Math.min(seconds * 1000, this.#options.open.pipeline.deploy.timeout / 4);
    await pause(Math.random() * most, this.#phase.runtime.stop);
  }
}

/** A run that came to its end, and did not carry everything; its report is kept. */
export class RunFailed extends Error {
  readonly kind: string;

  constructor(kind: string, message: string, hint: string) {
    super(hint === '' ? message : `${message}. ${hint}`);
    this.name = 'RunFailed';
    this.kind = kind;
  }
}
