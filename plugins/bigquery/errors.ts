import { BrokerError, type ErrorCode, NETWORK_ERRORS, systemErrorCode } from '../../core/api/index.ts';

/** What BigQuery says went wrong, of an answer or of a job. */
export interface Told {
  /** HTTP status; undefined for a job. */
  readonly status?: number | undefined;
  readonly reason: string;
  readonly message: string;
}

/** Job failures after which a new job may well succeed. Source: https://cloud.google.com/bigquery/docs/error-messages */
const PASSING =
  /^(backendError|internalError|jobBackendError|jobInternalError|jobRateLimitExceeded|rateLimitExceeded|tableUnavailable)$/;

export const isPassing = ({ reason }: Told): boolean => PASSING.test(reason);

/** @param what was done: `extract acme.sales.orders`. */
export function failureOf(what: string, told: Told): BrokerError {
  const [code, hint] = meaning(told);
  const status = told.status === undefined ? '' : `HTTP ${told.status} `;
  return new BrokerError(code, `${what}: ${status}${told.reason}: ${told.message}`, hint === undefined ? {} : { hint });
}

function meaning({ status, reason, message }: Told): readonly [code: ErrorCode, hint?: string] {
  if (/^(rateLimitExceeded|jobRateLimitExceeded|userRateLimitExceeded)$/.test(reason) || status === 429)
    return ['throttled'];
  if (isPassing({ reason, message })) return [status === undefined ? 'job_failed' : 'unavailable'];
  if (status === 408 || (status !== undefined && status >= 500)) return ['unavailable'];
  if (status === 401)
    return [
      'unauthenticated',
      'The token was refused. Set serviceAccount on the identity if federated tokens are not accepted.',
    ];
  if (/bytes billed/i.test(message)) return ['budget_exceeded', 'Raise maxBytesBilled on the source, or read less.'];
  if (/different locations|not found in location/i.test(message))
    return [
      'wrong_region',
      'Use a staging bucket where the data are, and set location on the source if it is a query.',
    ];
  switch (reason) {
    case 'quotaExceeded':
      return ['quota_exceeded'];
    case 'stopped':
      return ['job_cancelled'];
    case 'accessDenied':
    case 'insufficientPermissions':
      return [
        'unauthenticated',
        /writing data/i.test(message)
          ? 'Grant roles/storage.objectUser on the staging bucket to the identity; a retention policy on it refuses too.'
          : 'Grant roles/bigquery.jobUser on the project and roles/bigquery.dataViewer on the dataset to the identity; `isthmus permissions` lists them.',
      ];
    case 'notFound':
      return ['invalid_config', 'Correct the table, dataset, project or bucket that the message names.'];
    case 'invalidQuery':
      return ['invalid_config', 'Correct the query; `isthmus plan` checks it for free.'];
    case 'responseTooLarge':
    case 'resourcesExceeded':
      return ['job_failed', 'Let the query do less at once: without ORDER BY, or in parts.'];
    default:
      return [status === undefined ? 'job_failed' : 'invalid_config'];
  }
}

/** What the client library threw, without the request that it holds: there is a token in it. */
export function toldBy(thrown: unknown): Told | undefined {
  const { code, errors, message } = thrown as { code?: unknown; errors?: unknown; message?: unknown };
  if (typeof code !== 'number') return undefined;
  const [first] = Array.isArray(errors) ? (errors as { reason?: unknown; message?: unknown }[]) : [];
  const text = first?.message ?? (first === undefined && code < 500 ? message : '');
  return { status: code, reason: String(first?.reason ?? ''), message: String(text) };
}

/** An error that is no answer of BigQuery. */
export function connectionFailure(what: string, thrown: unknown): BrokerError {
  if (thrown instanceof BrokerError) return thrown;
  const code = systemErrorCode(thrown);
  return new BrokerError(
    'network',
    `${what}: ${code !== undefined && NETWORK_ERRORS.has(code) ? code : 'the connection failed'}`,
  );
}
