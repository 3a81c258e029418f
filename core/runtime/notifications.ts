import { z } from 'zod';
import { BrokerError } from '../api/errors.ts';
import { visible } from '../api/text.ts';

/** What a cloud says of one object: it is there, or it is gone. */
export interface ObjectEvent {
  readonly kind: 'object';
  /** `gs://bucket/name`, `s3://bucket/key`; exact, nothing is normalised. */
  readonly url: string;
  readonly change: 'stored' | 'removed';
  /** Of Cloud Storage; newer ones are larger. */
  readonly generation?: string;
  /** When it happened; milliseconds since the epoch. */
  readonly at?: number;
}

/** A test message that a service sends when a notification is set up. */
export interface TestEvent {
  readonly kind: 'test';
}

export type Notification = ObjectEvent | TestEvent;

const name = z.string().min(1).max(4096);

/** Source: https://cloud.google.com/storage/docs/pubsub-notifications#attributes */
const gcsAttributes = z.object({
  eventType: z.enum(['OBJECT_FINALIZE', 'OBJECT_METADATA_UPDATE', 'OBJECT_DELETE', 'OBJECT_ARCHIVE']),
  bucketId: name,
  objectId: name,
  objectGeneration: z.string().regex(/^\d{1,20}$/),
  eventTime: z.string().optional(),
});

/** A Pub/Sub message, as a push carries it. Source: https://cloud.google.com/pubsub/docs/push#receive_push */
const pubsubPush = z.object({
  message: z.object({ attributes: gcsAttributes }),
  subscription: z.string().optional(),
});

/** Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html */
const s3Records = z.object({
  Records: z
    .array(
      z.object({
        eventSource: z.literal('aws:s3'),
        eventName: z.string(),
        eventTime: z.string().optional(),
        s3: z.object({ bucket: z.object({ name }), object: z.object({ key: name }) }),
      }),
    )
    .min(1),
});

/** Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html */
const s3EventBridge = z.object({
  source: z.literal('aws.s3'),
  'detail-type': z.string(),
  time: z.string().optional(),
  detail: z.object({ bucket: z.object({ name }), object: z.object({ key: name }) }),
});

const s3Test = z.object({ Service: z.literal('Amazon S3'), Event: z.literal('s3:TestEvent') });

/** Source: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html */
const snsEnvelope = z.object({ Type: z.literal('Notification'), TopicArn: z.string(), Message: z.string() });

/** Reads what a queue or a push brought; undefined when it is nothing of the kind. @throws `invalid_event` */
export function readNotifications(value: unknown): readonly Notification[] | undefined {
  const sns = snsEnvelope.safeParse(value);
  if (sns.success) return readNotifications(parseJson(sns.data.Message, 'the Message of the SNS notification'));
  if (s3Test.safeParse(value).success) return [{ kind: 'test' }];
  const push = pubsubPush.safeParse(value);
  if (push.success) return [fromGcs(push.data.message.attributes)];
  const bridge = s3EventBridge.safeParse(value);
  if (bridge.success) {
    const { detail, time, 'detail-type': type } = bridge.data;
    return [fromS3(detail.bucket.name, detail.object.key, /Deleted/.test(type), time)];
  }
  const records = s3Records.safeParse(value);
  if (!records.success) return undefined;
  return records.data.Records.map(({ eventName, eventTime, s3: { bucket, object } }) =>
    fromS3(bucket.name, formDecoded(object.key), /^ObjectRemoved|^LifecycleExpiration/.test(eventName), eventTime),
  );
}

function fromGcs({ eventType, bucketId, objectId, objectGeneration, eventTime }: z.output<typeof gcsAttributes>) {
  const removed = eventType === 'OBJECT_DELETE' || eventType === 'OBJECT_ARCHIVE';
  return {
    kind: 'object',
    url: `gs://${bucketId}/${objectId}`,
    change: removed ? 'removed' : 'stored',
    generation: objectGeneration,
    ...timeOf(eventTime),
  } as const;
}

const fromS3 = (bucket: string, key: string, removed: boolean, time: string | undefined): ObjectEvent => ({
  kind: 'object',
  url: `s3://${bucket}/${key}`,
  change: removed ? 'removed' : 'stored',
  ...timeOf(time),
});

function timeOf(text: string | undefined): { readonly at?: number } {
  const at = Date.parse(text ?? '');
  return Number.isNaN(at) ? {} : { at };
}

/** Keys in S3 notifications are encoded as in a form. */
function formDecoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new BrokerError('invalid_event', `the key ${visible(text.slice(0, 80))} is not URL-encoded`);
  }
}

/** @param what for the message; what the text holds is never in it. */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new BrokerError('invalid_event', `${what} is not JSON`);
  }
}
