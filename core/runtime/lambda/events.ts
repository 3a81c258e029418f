import { z } from 'zod';
import { BrokerError } from '../../api/errors.ts';
import { visible } from '../../api/text.ts';
import { type Notification, parseJson, readNotifications } from '../notifications.ts';
import { type HttpEvent, readHttp } from './http.ts';

/** Larger than any event of AWS; a text of this size is not parsed. */
const LONGEST_BODY = 6 * 1024 * 1024;

const text = z.string().min(1).max(4096);

/** What whoever calls a run may choose. */
const overrides = z.strictObject({
  /** In full, or as a URL: `2026/a.csv`, `gs://bucket/2026/a.csv`. */
  object: text.optional(),
  prefix: text.optional(),
  resetState: z.boolean().optional(),
});

/** What a paused run's answer holds, and what continues it. */
const resumeSpec = z.strictObject({
  runId: z.uuid(),
  /** How often it went on already, and how much was done by then. */
  hop: z.int().min(0).max(1_000_000).default(0),
  done: z.number().min(0).default(0),
  object: text.optional(),
  prefix: text.optional(),
});

export type Overrides = z.output<typeof overrides>;
export type Resume = z.output<typeof resumeSpec>;

/** Comes every few minutes: whatever is paused goes on. */
const tickSpec = z.strictObject({ resume: z.literal('paused') });

/** Asks for an examination of the chain, where it runs. Nothing is carried. */
const doctorSpec = z.strictObject({ doctor: z.literal(true) });

export interface QueueRecord {
  readonly id: string;
  /** Of a FIFO queue: messages of one group keep their order. */
  readonly group: string | undefined;
  readonly body: string;
}

export type LambdaEvent =
  | { readonly kind: 'run'; readonly overrides: Overrides }
  | { readonly kind: 'schedule' }
  | { readonly kind: 'resume'; readonly resume: Resume }
  | { readonly kind: 'tick' }
  | { readonly kind: 'batch'; readonly items: readonly Overrides[] }
  | { readonly kind: 'queue'; readonly records: readonly QueueRecord[] }
  | { readonly kind: 'notifications'; readonly notifications: readonly Notification[] }
  | { readonly kind: 'http'; readonly http: HttpEvent }
  | { readonly kind: 'doctor' }
  /** A phase of a distributed run; read where it is carried out. */
  | { readonly kind: 'phase'; readonly phase: unknown };

/** Source: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html */
const sqsRecords = z.object({
  Records: z
    .array(
      z.object({
        messageId: z.string().min(1),
        body: z.string(),
        eventSource: z.literal('aws:sqs'),
        attributes: z.object({ MessageGroupId: z.string().optional() }).optional(),
      }),
    )
    .min(1),
});

/** Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html */
const scheduled = z.object({
  'detail-type': z.literal('Scheduled Event'),
  source: z.enum(['aws.events', 'aws.scheduler']),
});

const mapItem = z.union([text.transform((object): Overrides => ({ object })), overrides]);

/** Of a Distributed Map. Source: https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itembatcher.html */
const mapBatch = z.strictObject({ Items: z.array(mapItem).min(1).max(10_000), BatchInput: z.unknown().optional() });

const EXPECTED =
  'a schedule, {}, {"object": …}, {"prefix": …}, {"doctor": true}, the answer of a paused run, S3 or SQS records, a Step Functions batch or an HTTP request';

/**
 * Says which kind of event this is. Whatever is not known is refused by name: an event that is guessed at would start a
 * run that nobody asked for.
 *
 * @throws BrokerError `invalid_event`; nothing of the event but the names of its keys is in it.
 */
export function readEvent(event: unknown): LambdaEvent {
  // What a test in the console, or a call without payload, sends.
  if (event === null || event === undefined) return { kind: 'run', overrides: {} };
  if (typeof event !== 'object' || Array.isArray(event))
    throw unsupported(`found ${Array.isArray(event) ? 'a list' : `a ${typeof event}`}`);
  const http = readHttp(event);
  if (http !== undefined) return { kind: 'http', http };
  const queue = sqsRecords.safeParse(event);
  if (queue.success) {
    const records = queue.data.Records.map(({ messageId, body, attributes }) => ({
      id: messageId,
      group: attributes?.MessageGroupId,
      body,
    }));
    return { kind: 'queue', records };
  }
  if (scheduled.safeParse(event).success) return { kind: 'schedule' };
  const notifications = readNotifications(event);
  if (notifications !== undefined) return { kind: 'notifications', notifications };
  if ('Items' in event) return { kind: 'batch', items: valid(mapBatch, event, 'batch').Items.map(oneOf) };
  if ('distributed' in event && Object.keys(event).length === 1) return { kind: 'phase', phase: event.distributed };
  if (doctorSpec.safeParse(event).success) return { kind: 'doctor' };
  if (tickSpec.safeParse(event).success) return { kind: 'tick' };
  if ('resume' in event) return { kind: 'resume', resume: oneOf(valid(resumeSpec, event.resume, 'resume')) };
  if (Object.keys(event).every((key) => Object.hasOwn(overrides.shape, key)))
    return { kind: 'run', overrides: oneOf(valid(overrides, event, 'event')) };
  throw unsupported(`found keys [${Object.keys(event).slice(0, 12).map(visible).join(', ').slice(0, 300)}]`);
}

/** The body of a message of a queue: a notification, or what a caller would send. */
export function readMessage(body: string): LambdaEvent {
  if (body.length > LONGEST_BODY) throw unsupported('a body of more than 6 MiB');
  const event = readEvent(parseJson(body, 'the body of the message'));
  if (['queue', 'http', 'batch', 'doctor', 'schedule', 'tick', 'phase'].includes(event.kind))
    throw unsupported(`a message that holds a ${event.kind} event`);
  return event;
}

function oneOf<Chosen extends Pick<Overrides, 'object' | 'prefix'>>(chosen: Chosen): Chosen {
  if (chosen.object === undefined || chosen.prefix === undefined) return chosen;
  throw new BrokerError('invalid_event', 'object and prefix cannot be used together', { hint: 'Send one of them.' });
}

function valid<Schema extends z.ZodType>(schema: Schema, value: unknown, what: string): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = [what, ...(issue?.path ?? [])].join('.');
  throw new BrokerError('invalid_event', `${visible(path)}: ${visible(issue?.message ?? 'is not valid')}`);
}

const unsupported = (found: string): BrokerError =>
  new BrokerError('invalid_event', `unsupported event: expected ${EXPECTED}; ${found}`);
