import { z } from 'zod';
import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';
import { shardSpec } from './manifest.ts';

const run = z.uuid();
const attempt = z.int().positive().max(10_000);
const count = z.int().nonnegative();
const execution = z.string().min(1).max(2048);
/** When it was started: RFC 3339. */
const started = z.string().max(64).default('');

/** What the state machine asks of the function, one state after the other. */
const phaseSpec = z.discriminatedUnion('phase', [
  z.strictObject({
    phase: z.literal('plan'),
    /** The ARN of the execution. */
    execution,
    started,
    /** What the execution was begun with. */
    input: z.unknown(),
  }),
  z.strictObject({ phase: z.literal('list'), run, attempt, range: count }),
  z.strictObject({ phase: z.literal('gather'), run, attempt }),
  z.strictObject({
    phase: z.literal('transfer'),
    run,
    attempt,
    /** Children at once. */
    concurrency: z.int().positive(),
    /** How often this child was tried before. */
    retry: count.default(0),
    /** What it had done when it was paused. */
    before: z.number().default(-1),
    shards: z.array(shardSpec).min(1).max(10_000),
  }),
  z.strictObject({
    phase: z.literal('finish'),
    execution,
    started,
    /** The state before, which may have failed before there was a run. */
    plan: z.looseObject({ run: run.optional(), attempt: attempt.optional() }).nullish(),
    /** What ended it, in the words of Step Functions. */
    failure: z.looseObject({ Error: z.string().default('unknown'), Cause: z.string().default('') }).nullish(),
  }),
]);

export type PhaseEvent = z.output<typeof phaseSpec>;

/** @throws BrokerError `invalid_event` */
export function readPhase(value: unknown): PhaseEvent {
  const parsed = phaseSpec.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = ['distributed', ...(issue?.path ?? [])].join('.');
  throw new BrokerError('invalid_event', `${visible(path)}: ${visible(issue?.message ?? 'is not valid')}`);
}

const againSpec = z.strictObject({ again: z.union([z.literal(true), run]).optional() });
/** What a rule of EventBridge sends, if nothing else is said. */
const scheduled = z.object({ 'detail-type': z.literal('Scheduled Event') });

/** @throws BrokerError `invalid_event` for an input that is not understood: it would be a run that nobody asked for. */
export function againIn(input: unknown): true | string | undefined {
  if (input === null || input === undefined || scheduled.safeParse(input).success) return undefined;
  const parsed = againSpec.safeParse(input);
  if (parsed.success) return parsed.data.again;
  throw new BrokerError('invalid_event', 'the input of the execution is none that is understood', {
    hint: 'Start it with {}, or with {"again": true} to carry what the last run has not.',
  });
}
