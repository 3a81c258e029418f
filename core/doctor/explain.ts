import { ERROR_CODES, type ErrorCode } from '../api/error-codes.ts';
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
export function explain(given: string): Explanation | undefined {
  // As Lambda prints the type of an error.
  const text = given.trim().replace(/^Isthmus\./, '');
  const own = text.toLowerCase();
  if (Object.hasOwn(ERROR_CODES, own) && !isFailureId(text)) {
    const { title, cause, fix } = ERROR_CODES[own as ErrorCode];
    return { id: own, title, cause, fix };
  }
  const name = text.toUpperCase();
  const id = isFailureId(name) ? name : failureSaid(text.replaceAll('\\"', '"'));
  if (id !== undefined) {
    const { title, cause, fix, step }: Failure = AUTH_FAILURES[id];
    return { id, title, cause: fill(cause, {}), fix: fill(fix, {}), step };
  }
  const code = SAID.find(([, said]) => said.test(text))?.[0];
  if (code === undefined) return undefined;
  const { title, cause, fix } = ERROR_CODES[code];
  return { id: code, title, cause, fix };
}

/** What is wrong elsewhere than in the chain, by the words for it. */
const SAID: readonly (readonly [ErrorCode, RegExp])[] = [
  [
    'network',
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|self-signed certificate|unable to (?:verify the first|get local issuer)|CERTIFICATE_VERIFY_FAILED|Could not connect to the endpoint URL|EndpointConnectionError/i,
  ],
  ['bucket_missing', /NoSuchBucket|specified bucket does not exist/],
  [
    'permission_denied',
    /AccessDenied|Access Denied|403 Forbidden|vpcServiceControlsUniqueIdentifier|insufficient authentication scopes/,
  ],
  ['wrong_region', /PermanentRedirect|AuthorizationHeaderMalformed/],
  ['throttled', /SlowDown|TooManyRequests|rateLimitExceeded/],
];
