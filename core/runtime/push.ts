import { z } from 'zod';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { PushSpec } from '../pipeline/deploy-spec.ts';
import type { Answer } from './answer.ts';
import { type Notification, parseJson, readNotifications } from './notifications.ts';
import type { TokenVerifier } from './oidc.ts';

/** A notification of Pub/Sub is far smaller; the rest is not read. */
export const LONGEST_PUSH = 1024 * 1024;

export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: unknown;
}

export interface PushOptions {
  readonly push: PushSpec | undefined;
  readonly verify: TokenVerifier;
  readonly carry: (notification: Notification) => Promise<Answer>;
}

const subscriptionOf = z.object({ subscription: z.string() });

/**
 * Answers a push of Pub/Sub. It is acknowledged (200) only when its object is in the sink, or is none of this pipeline;
 * every other status makes Pub/Sub send it again.
 *
 * Source: https://cloud.google.com/pubsub/docs/push#receive_push
 */
export async function answerPush(request: HttpRequest, { push, verify, carry }: PushOptions): Promise<HttpAnswer> {
  try {
    if (request.method !== 'POST')
      return refused(405, 'method_not_allowed', 'only POST is answered', { allow: 'POST' });
    if (push === undefined) return refused(403, 'push_not_set_up', 'the pipeline has no `push`: nobody may push to it');
    if (Buffer.byteLength(request.body) > LONGEST_PUSH) return refused(413, 'too_large', 'a push has at most 1 MiB');
    await verify(request.headers.authorization, push);
    const envelope = parseJson(request.body, 'the body');
    const { data: sent } = subscriptionOf.safeParse(envelope);
    if (push.subscription !== undefined && sent?.subscription !== push.subscription)
      return refused(403, 'wrong_subscription', 'it comes from another subscription than `push.subscription`');
    const notifications = sent === undefined ? undefined : readNotifications(envelope);
    const [notification] = notifications ?? [];
    if (notification === undefined || notification.kind !== 'object')
      throw new BrokerError('invalid_event', 'it is no notification of Cloud Storage that Pub/Sub pushes');
    return answered(await carry(notification));
  } catch (thrown) {
    const { code, message, hint } = asBrokerError(thrown);
    return { status: STATUS[code] ?? 500, body: { error: { code, message, hint } } };
  }
}

/** What is not here is ours to mend: 500. */
const STATUS: Readonly<Record<string, number>> = {
  unauthorized: 401,
  forbidden: 403,
  invalid_event: 400,
  busy: 429,
  stopped: 503,
  network: 503,
  timeout: 503,
  unavailable: 503,
  throttled: 503,
};

function answered(answer: Answer): HttpAnswer {
  if (answer.outcome === 'complete' || answer.outcome === 'ignored') return { status: 200, body: answer };
  const passing = answer.outcome === 'paused' || answer.next === 'retry';
  return passing
    ? { status: 503, headers: { 'retry-after': '30' }, body: answer }
    : // Of the object, not of us: sending it again will not help, and a dead-letter topic is where it belongs.
      { status: answer.next === 'item' ? 422 : 500, body: answer };
}

const refused = (
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): HttpAnswer => ({ status, headers, body: { error: { code, message } } });
