import { asBrokerError, BrokerError } from '../../api/errors.ts';
import type { Logger, Runtime } from '../../api/runtime.ts';
import type { ServerClock } from '../../auth/clock.ts';
import { fixedSlots, runsAtOnce } from '../../engine/slots.ts';
import { forEachConcurrently } from '../../engine/workers.ts';
import type { Answer, ResumeToken } from '../answer.ts';
import type { Carrier } from '../carrier.ts';
import type { OpenJob } from '../job.ts';
import { logFields } from '../logger.ts';
import type { TokenVerifier } from '../oidc.ts';
import type { Part } from '../parts.ts';
import { answerPush } from '../push.ts';
import { callAgain, checkProgress } from './continue.ts';
import { type LambdaEvent, readEvent, readMessage } from './events.ts';
import { InvocationFailed } from './failed.ts';
import { httpAnswer } from './http.ts';
import { type BatchAnswer, carryQueue } from './queue.ts';
import { type LambdaContext, lambdaRuntime, TOO_LITTLE_MS } from './runtime.ts';

/** A pipeline that is ready for events. */
export interface Ready {
  readonly open: OpenJob;
  readonly carrier: Carrier;
}

export interface HandlerOptions {
  /** Loads the pipeline; called until it succeeds once. */
  readonly load: () => Promise<Ready>;
  readonly log: Logger;
  readonly verify: TokenVerifier;
  readonly clock: ServerClock;
  readonly lambdaEndpoint: string | undefined;
  readonly stepFunctionsEndpoint: string | undefined;
  /** Examines the chain where the function runs. */
  readonly doctor: (signal: AbortSignal) => Promise<object>;
}

export type LambdaHandler = (event: unknown, context: LambdaContext) => Promise<object>;

/** Makes the handler of one pipeline. Whatever is not carried makes the invocation fail; nothing is a quiet success. */
export function lambdaHandler(options: HandlerOptions): LambdaHandler {
  const loaded = loader(options.load);
  // Begun at once: the time before the first invocation is cheap. What fails is told to whoever asks.
  loaded().catch(() => undefined);
  return (event, context) => {
    const fields = { requestId: context.awsRequestId };
    return logFields.run(fields, async () => {
      using runtime = lambdaRuntime(context, options.log);
      try {
        const { open, carrier } = await loaded();
        Object.assign(logFields.getStore() ?? {}, { pipeline: carrier.pipeline });
        return await new Invocation(open, carrier, runtime, context, options).answer(event);
      } catch (thrown) {
        throw failed(thrown, options.log);
      }
    });
  };
}

function loader(load: () => Promise<Ready>): () => Promise<Ready> {
  let ready: Promise<Ready> | undefined;
  return () => {
    ready ??= load().catch((error: unknown) => {
      ready = undefined;
      throw error;
    });
    return ready;
  };
}

function failed(thrown: unknown, log: Logger): Error {
  if (thrown instanceof InvocationFailed) return thrown;
  // Its own message names every mistake of the pipeline with its place.
  if (thrown instanceof Error && thrown.name === 'InvalidPipeline') {
    log.warn('invocation failed', { code: 'invalid_config', message: thrown.message });
    return new InvocationFailed('invalid_config', thrown.message);
  }
  const { code, id, message, hint } = asBrokerError(thrown);
  log.warn('invocation failed', { code, ...(id && { id }), message, hint });
  return new InvocationFailed(id ?? code, `${message}. ${hint}`);
}

/** Kept for the answer. */
const CLOSING_MS = 100;

class Invocation {
  readonly #open: OpenJob;
  readonly #carrier: Carrier;
  readonly #runtime: Runtime;
  readonly #context: LambdaContext;
  readonly #options: HandlerOptions;

  constructor(open: OpenJob, carrier: Carrier, runtime: Runtime, context: LambdaContext, options: HandlerOptions) {
    this.#open = open;
    this.#carrier = carrier;
    this.#runtime = runtime;
    this.#context = context;
    this.#options = options;
  }

  async answer(event: unknown): Promise<object> {
    const read = readEvent(event);
    this.#runtime.log.info('invoked', { kind: read.kind });
    switch (read.kind) {
      case 'queue':
        return this.#queue(read);
      case 'http':
        return httpAnswer(
          await answerPush(read.http, {
            push: this.#open.pipeline.push,
            verify: this.#options.verify,
            carry: (notification) => this.#carrier.carry(notification, this.#runtime),
          }),
        );
      case 'batch':
        return this.#many(read.items, (item) => this.#carrier.run(item, this.#runtime));
      case 'notifications':
        return this.#many(read.notifications, (one) => this.#carrier.carry(one, this.#runtime));
      case 'doctor':
        return this.#options.doctor(AbortSignal.any([this.#runtime.stop, this.#runtime.signal]));
      case 'phase':
        return this.#phase(read.phase);
      case 'run':
        return this.#run(read.overrides, undefined);
      case 'schedule':
        return this.#run({}, undefined).catch((error: unknown) => this.#unlessUnderWay(error));
      case 'tick':
        return this.#continued(succeeded(await this.#carrier.goOn(this.#runtime)), undefined);
      case 'resume': {
        const { object, prefix, ...resume } = read.resume;
        return this.#run({ object, prefix }, resume);
      }
    }
  }

  async #run(part: Part, before: ResumeToken | undefined): Promise<Answer> {
    this.#refuseLate();
    return this.#continued(succeeded(await this.#carrier.run(part, this.#runtime, before)), before);
  }

  /** Of a run that a state machine distributes; loaded only where there is one. */
  async #phase(event: unknown): Promise<object> {
    this.#refuseLate();
    const { answerPhase } = await import('./phase.ts');
    const [open, carrier, runtime] = [this.#open, this.#carrier, this.#runtime];
    return await answerPhase(event, { ...this.#options, open, carrier, runtime });
  }

  /** A paused run goes on as the pipeline says: by itself, or by whoever called. */
  async #continued(answer: Answer, before: ResumeToken | undefined): Promise<Answer> {
    if (answer.outcome !== 'paused') return answer;
    checkProgress(answer, before);
    const { resume, error } = answer;
    const { deploy } = this.#open.pipeline;
    // Calling again at once does not make a source ready that has to be waited for.
    if (resume === undefined || deploy.continue !== 'self' || error?.code === 'pending') return answer;
    if (!this.#carrier.stateLasts) {
      const message = 'deploy.continue: self needs a `state` that the next invocation finds, such as s3';
      throw new BrokerError('invalid_config', message, { hint: 'Add state: { use: s3, with: { bucket: … } }.' });
    }
    await callAgain(resume, {
      credentials: this.#open.credentials,
      clock: this.#options.clock,
      endpoint: this.#options.lambdaEndpoint,
      functionArn: this.#context.invokedFunctionArn,
      signal: AbortSignal.timeout(Math.max(1, this.#context.getRemainingTimeInMillis() - CLOSING_MS)),
    });
    this.#runtime.log.info('continued', { runId: resume.runId, hop: resume.hop });
    return { ...answer, continued: true };
  }

  /** A tick that comes while the run of an earlier one is under way has nothing to do: no reason for an alarm. */
  #unlessUnderWay(error: unknown): Answer {
    if (!(error instanceof BrokerError) || error.code !== 'busy') throw error;
    this.#runtime.log.info('ignored', { message: error.message });
    return { outcome: 'ignored', message: error.message, pipeline: this.#carrier.pipeline };
  }

  #refuseLate(): void {
    if (this.#context.getRemainingTimeInMillis() >= TOO_LITTLE_MS) return;
    const message = 'no time is left in this invocation: nothing was begun';
    throw new InvocationFailed('stopped', `${message}. Raise deploy.timeout.`);
  }

  #queue({ records }: Extract<LambdaEvent, { kind: 'queue' }>): Promise<BatchAnswer> {
    return carryQueue(records, this.#runtime, async ({ body }) => {
      const message = readMessage(body);
      if (message.kind === 'run') return [await this.#carrier.run(message.overrides, this.#runtime)];
      if (message.kind !== 'notifications') throw new BrokerError('invalid_event', 'a queue continues no runs');
      const answers: Answer[] = [];
      for (const one of message.notifications) answers.push(await this.#carrier.carry(one, this.#runtime));
      return answers;
    });
  }

  /** Everything is tried, though some of it fails; then the invocation fails. */
  async #many<T>(things: readonly T[], carry: (thing: T) => Promise<Answer>): Promise<object> {
    const answers: Answer[] = [];
    const places = things.map((thing, index) => ({ thing, index }));
    const source = (async function* () {
      yield* places;
    })();
    const wrong: BrokerError[] = [];
    await forEachConcurrently(source, fixedSlots(runsAtOnce(this.#open.job)), async ({ thing, index }) => {
      try {
        answers[index] = await carry(thing);
      } catch (thrown) {
        const error = asBrokerError(thrown);
        this.#runtime.log.warn('not begun', { place: index, code: error.code, message: error.message });
        wrong.push(error);
      }
    });
    const [first] = wrong;
    if (first !== undefined && things.length === 1) throw first;
    if (first !== undefined) {
      const count = `${wrong.length} of ${things.length} could not begin`;
      throw new InvocationFailed(first.id ?? first.code, `${count}: ${first.message}. ${first.hint}`);
    }
    const [only] = answers;
    if (only !== undefined && answers.length === 1) return finished(only);
    const failures = answers.filter(({ outcome }) => outcome !== 'complete' && outcome !== 'ignored');
    const count = (outcome: Answer['outcome']): number => answers.filter((one) => one.outcome === outcome).length;
    const message = `${count('complete')} carried, ${count('ignored')} ignored, ${failures.length} failed`;
    if (failures[0] !== undefined) throw new InvocationFailed('partial', `${message}: ${failures[0].message}`);
    const bytes = answers.reduce((sum, answer) => sum + (answer.bytes ?? 0), 0);
    // Step Functions takes 256 KB; the log has a line for every item.
    const few = answers.length <= MOST_ANSWERS ? { answers } : {};
    return { outcome: 'complete', message, pipeline: this.#carrier.pipeline, bytes, ...few };
  }
}

const MOST_ANSWERS = 10;

/** Nobody calls again for a notification or an item of a batch: what is not finished must come again by itself. */
function finished(answer: Answer): Answer {
  if (answer.outcome !== 'paused') return succeeded(answer);
  throw new InvocationFailed('stopped', `${answer.message}. It was not finished in time and has to come again.`);
}

/** @throws InvocationFailed for a run that did not carry everything. */
function succeeded(answer: Answer): Answer {
  const { outcome, message, error, failures } = answer;
  if (outcome !== 'failed' && outcome !== 'partial') return answer;
  const [first] = failures ?? [];
  const hint = error?.hint ?? first?.hint;
  const kind = outcome === 'partial' ? 'partial' : (error?.id ?? error?.code ?? first?.code ?? 'failed');
  throw new InvocationFailed(kind, hint === undefined ? message : `${message}. ${hint}`);
}
