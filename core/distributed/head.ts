import { z } from 'zod';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Revision } from '../api/state.ts';
import type { Job } from '../engine/job.ts';
import { planRules } from '../engine/plan-file.ts';
import { type Begun, runIdOf } from './layout.ts';

const VERSION = 1;

/** Half a day of invocations of a quarter of an hour. */
const MOST_HOPS = 50;

const schema = z.object({
  version: z.literal(VERSION),
  runId: z.string(),
  /** The execution that carries it: the last of them, where it was begun again. */
  execution: z.string(),
  started: z.string(),
  /** From 1; more where what had failed was carried again. */
  attempt: z.number().int().positive(),
  /** Milliseconds since the epoch. */
  since: z.number(),
  finished: z.boolean(),
  /** Uploads of large objects may be left, to go on with. */
  leaves: z.boolean().default(false),
  /** How often `finish` was called. */
  hops: z.number().int().nonnegative().default(0),
  fingerprint: z.string(),
  rules: z.strictObject({ overwrite: z.string(), move: z.boolean() }),
});

/** The distributed run of a pipeline that is on record: the one that is under way, or the last. */
export type Head = z.output<typeof schema>;

/** Of a run that failed before it was on record. */
export const unbegun = (job: Job, { execution, started }: Begun, since: number): Head => ({
  version: VERSION,
  runId: runIdOf({ execution, started }),
  execution,
  started,
  hops: 0,
  attempt: 1,
  since,
  finished: false,
  leaves: false,
  fingerprint: job.fingerprint,
  rules: planRules(job),
});

export class HeadFile {
  readonly #job: Job;
  readonly #place: string;
  #revision: Revision | undefined;

  constructor(job: Job) {
    this.#job = job;
    this.#place = `${job.pipeline}.distributed`;
  }

  /** @throws BrokerError `state_unreadable` */
  async load(signal: AbortSignal): Promise<Head | undefined> {
    const saved = await this.#job.state.load(this.#place, { signal });
    this.#revision = saved?.revision;
    if (saved === undefined) return undefined;
    const parsed = schema.safeParse(saved.value);
    if (parsed.success) return parsed.data;
    throw new BrokerError('state_unreadable', 'the record of the distributed run has not the form of one');
  }

  /** @throws BrokerError `busy` when another execution saved it meanwhile. */
  async save(head: Omit<Head, 'version' | 'fingerprint' | 'rules'>, signal: AbortSignal): Promise<void> {
    const { fingerprint } = this.#job;
    const value = { version: VERSION, ...head, fingerprint, rules: planRules(this.#job) };
    try {
      this.#revision = await this.#job.state.save(this.#place, value, this.#revision, { signal });
    } catch (thrown) {
      if (asBrokerError(thrown).code !== 'state_conflict') throw thrown;
      throw new BrokerError('busy', 'another execution has begun to distribute this pipeline');
    }
  }

  /**
   * The run that is on record, which must be this one, made by the pipeline as it is now.
   *
   * @param over whether it may be over already.
   * @throws BrokerError `superseded` when it is another, `invalid_plan` when the pipeline was changed since it was planned.
   */
  async expect(
    runId: string,
    attempt: number,
    signal: AbortSignal,
    over: 'refuse' | 'allow' = 'refuse',
  ): Promise<Head> {
    const head = await this.load(signal);
    if (head?.runId !== runId || head.attempt !== attempt || (head.finished && over === 'refuse'))
      throw new BrokerError('superseded', `run ${runId} is not the one that is on record`);
    this.unchanged(head);
    return head;
  }

  /** Counts the calls of `finish`. @throws BrokerError `no_progress` when there were so many that it will never end. */
  async hop(head: Head, signal: AbortSignal): Promise<void> {
    const now = await this.load(signal);
    if (now?.runId !== head.runId || now.attempt !== head.attempt) return;
    if (now.hops >= MOST_HOPS) throw new BrokerError('no_progress', `run ${head.runId} does not come to its end`);
    await this.save({ ...now, hops: now.hops + 1 }, signal);
  }

  /** The run is over. @param leaves whether uploads are left that it may go on with. */
  async finish(head: Head, leaves: boolean, signal: AbortSignal): Promise<void> {
    const now = await this.load(signal);
    if (now?.runId !== head.runId || now.attempt !== head.attempt || now.finished) return;
    await this.save({ ...now, finished: true, leaves }, signal);
  }

  /** @throws BrokerError `invalid_plan` */
  unchanged({ fingerprint, rules }: Head): void {
    const now = planRules(this.#job);
    if (fingerprint === this.#job.fingerprint && rules.move === now.move && rules.overwrite === now.overwrite) return;
    throw new BrokerError('invalid_plan', 'the pipeline was changed after this run was planned', {
      hint: 'Deploy while nothing is under way, then start the state machine anew.',
    });
  }
}
