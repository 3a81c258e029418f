import { ERROR_CODES } from '../api/error-codes.ts';
import { type Failure, fill } from '../auth/failures/failure.ts';
import { AUTH_FAILURES, failureSaid, isFailureId } from '../auth/failures/table.ts';

export interface Explanation {
  readonly id: string;
  readonly title: string;
  readonly cause: string;
  readonly fix: string;
  readonly step?: string;
}

/**
 * Explains a code, an id, or the words of an error: also those of Google's and AWS's own libraries in any language,
 * as a person pastes them.
 */
export function explain(text: string): Explanation | undefined {
  const id = isFailureId(text) ? text : failureSaid(text.replaceAll('\\"', '"'));
  if (id !== undefined) {
    const { title, cause, fix, step }: Failure = AUTH_FAILURES[id];
    return { id, title, cause, fix: fill(fix, {}), step };
  }
  if (!Object.hasOwn(ERROR_CODES, text)) return undefined;
  const { title, cause, fix } = ERROR_CODES[text as keyof typeof ERROR_CODES];
  return { id: text, title, cause, fix };
}
