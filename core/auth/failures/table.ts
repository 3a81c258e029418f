import { BrokerError } from '../../api/errors.ts';
import { AWS_FAILURES } from './aws.ts';
import { type Facts, type Failure, fill } from './failure.ts';
import { STS_FAILURES } from './google-sts.ts';
import { IMPERSONATION_FAILURES } from './impersonation.ts';
import { USE_FAILURES } from './use.ts';

/** Every way in which the keyless chain fails. `docs/errors.md` is generated from this table. */
export const AUTH_FAILURES = {
  ...AWS_FAILURES,
  ...STS_FAILURES,
  ...IMPERSONATION_FAILURES,
  ...USE_FAILURES,
} as const satisfies Record<string, Failure>;

export type FailureId = keyof typeof AUTH_FAILURES;

const ENTRIES = Object.entries(AUTH_FAILURES) as readonly (readonly [FailureId, Failure])[];

export const isFailureId = (text: string): text is FailureId => Object.hasOwn(AUTH_FAILURES, text);

/** @param happened what happened, without any secret: it becomes the message. */
export function authFailure(
  id: FailureId,
  happened: string,
  facts: Facts = {},
  options: { readonly retryAfterMs?: number | undefined } = {},
): BrokerError {
  const { code, fix }: Failure = AUTH_FAILURES[id];
  const { retryAfterMs } = options;
  return new BrokerError(code, happened, {
    id,
    hint: fill(fix, facts),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/**
 * The failure that a text speaks of.
 *
 * @param steps only failures of these, and those of an earlier one first; within a step the order of the table counts.
 */
export function failureSaid(text: string, ...steps: readonly Failure['step'][]): FailureId | undefined {
  const said = ENTRIES.filter(([, failure]) => failure.said?.test(text) === true);
  // Google and AWS quote each other: the words of the last who spoke are the ones that count.
  if (steps.length === 0) return failureIn(said, ['google-sts', 'google-to-aws', 'impersonation']) ?? said[0]?.[0];
  return failureIn(said, steps);
}

function failureIn(
  said: readonly (readonly [FailureId, Failure])[],
  steps: readonly Failure['step'][],
): FailureId | undefined {
  return steps.map((step) => said.find(([, failure]) => failure.step === step)?.[0]).find((id) => id !== undefined);
}

/** At which step of the chain an error belongs; undefined for one that says nothing of the chain. */
export const stepOf = (error: BrokerError): Failure['step'] | undefined =>
  error.id !== undefined && isFailureId(error.id) ? AUTH_FAILURES[error.id].step : undefined;
