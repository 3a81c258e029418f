import type { Entry } from './error-entry.ts';

/** What can be wrong with an event that asks for a run. */
export const EVENT_CODES = {
  invalid_event: {
    next: 'item',
    title: 'The event is none that is understood',
    cause: 'Another service calls the function, or the event was cut off or written by hand.',
    fix: 'Send one of the events that docs/deploy.md lists.',
  },
  outside_pipeline: {
    next: 'item',
    title: 'The event names an object that is not in the source of the pipeline',
    cause: 'An override may choose a part of what the pipeline carries, and nothing else.',
    fix: 'Name an object or prefix below the bucket and prefix of the source, or use another pipeline.',
  },
  superseded: {
    next: 'item',
    title: 'The run that was to go on is over',
    cause: 'It was continued twice, or a newer run has begun since.',
    fix: 'Nothing: what it had left was carried by the other.',
  },
  unauthorized: {
    next: 'item',
    title: 'A push did not prove who sent it',
    cause: 'No OIDC token, one that has expired, or one that Google did not sign.',
    fix: 'Set up the push subscription with authentication (--push-auth-service-account).',
  },
  forbidden: {
    next: 'item',
    title: 'A push was sent by somebody else, or meant for somebody else',
    cause: 'The token is genuine, but its audience or service account is not the one under `push`.',
    fix: 'Make `push.audience` and `push.serviceAccount` those of the push subscription.',
  },
} as const satisfies Record<string, Entry>;
