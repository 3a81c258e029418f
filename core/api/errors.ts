import { ERROR_CODES, type ErrorCode, type NextStep } from './error-codes.ts';
import type { Refusal } from './item.ts';
import { LONGEST_HINT, safeText } from './text.ts';

export interface ErrorOptions {
  /** An instruction; the default is the fix of the code. */
  readonly hint?: string;
  /**
   * Kept for `--debug` only, and never an error of an HTTP library or an SDK: those carry requests, headers and
   * tokens. Wrap what matters of them into the message instead.
   */
  readonly cause?: unknown;
  /** What the server asked for in `Retry-After`. */
  readonly retryAfterMs?: number;
  /** The stable name of exactly this failure (`STS_ATTRIBUTE_CONDITION`), where the code stands for several. */
  readonly id?: string;
}

const BRAND = Symbol.for('isthmus.BrokerError');

/**
 * The one error class. The code says what to do next, the message what happened, the hint how to mend it. None of
 * them ever holds a token, a signed URL or a request body.
 */
export class BrokerError extends Error {
  override readonly name = 'BrokerError';
  /** A plugin may bring a copy of this module of its own: its errors are ours all the same. */
  readonly [BRAND] = true;
  readonly code: ErrorCode;
  readonly hint: string;
  readonly retryAfterMs: number | undefined;
  readonly id: string | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(safeText(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = safeText(options.hint ?? ERROR_CODES[code].fix, LONGEST_HINT);
    this.retryAfterMs = options.retryAfterMs;
    this.id = options.id;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && BRAND in value;
  }

  get next(): NextStep {
    return ERROR_CODES[this.code].next;
  }
}

/** An error as plain data: why one item is not carried. */
export const refusalOf = ({ code, message, hint }: BrokerError): Refusal => ({ code, message, hint });

/** Wraps what was thrown where nothing of ours was expected; what is ours passes unchanged. */
export function asBrokerError(thrown: unknown): BrokerError {
  if (thrown instanceof BrokerError) return thrown;
  const code = systemErrorCode(thrown);
  const what = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  if (code !== undefined && NETWORK_ERRORS.has(code)) return new BrokerError('network', `${code}: ${what}`);
  if (code === 'EMFILE' || code === 'ENFILE') return new BrokerError('machine_limit', `${code}: ${what}`);
  if (thrown instanceof Error && thrown.name === 'AbortError') return new BrokerError('stopped', 'the run was stopped');
  return new BrokerError('internal', what, { cause: thrown });
}

/** The errno name (`ECONNRESET`) of a system error or of its cause. */
export function systemErrorCode(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error)) return undefined;
  if ('code' in thrown && typeof thrown.code === 'string') return thrown.code;
  return thrown.cause === undefined || thrown.cause === thrown ? undefined : systemErrorCode(thrown.cause);
}

/** System errors after which trying again makes sense. */
export const NETWORK_ERRORS: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'ERR_STREAM_PREMATURE_CLOSE',
  'HPE_INVALID_CONSTANT',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_NOT_YET_VALID',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'EPROTO',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/** Throws `stopped` when the signal has fired. */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new BrokerError('stopped', 'the run was stopped');
}
