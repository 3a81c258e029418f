import type { ByteStream, Take } from './bytes.ts';

/** A body that is made while it is sent. */
export interface SentBody {
  /** Bytes; neither more nor less are sent. */
  readonly size: number;
  /**
   * Gives every byte to `take`, in order. Called once, so it cannot be sent again. What `take` throws ends it: the
   * server has answered already, or is gone.
   */
  send(take: Take): Promise<void>;
}

export interface HttpRequest {
  readonly method: string;
  /** `https://storage.googleapis.com`, without a path. */
  readonly origin: string;
  /** Percent-encoded path and query; sent as it is, because a URL would resolve `..` in names. */
  readonly path: string;
  /** Names in lower case. `content-length` is added, and `host` where it is not given. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | SentBody | undefined;
  readonly signal: AbortSignal;
  /** So long without a byte, while one is waited for, is a stall; milliseconds. Default: 30,000. */
  readonly idleMs?: number | undefined;
  /** Over so long, of waiting for a body alone, more must come than one byte a millisecond. Default: 60,000. */
  readonly dripMs?: number | undefined;
  /**
   * Memory that a body of known length may be read into while it is pumped. The caller's, and not to be touched by
   * anyone else until the body has ended or was given up.
   */
  readonly scratch?: Buffer | undefined;
}

/** The body of an answer. Pump it, iterate it or discard it: only then is its connection free again. */
export interface HttpBody extends ByteStream {
  pump(take: Take): Promise<void>;
  /** Gives up what was not read. */
  discard(): void;
}

export interface HttpResponse {
  readonly status: number;
  /** Names in lower case; a header that comes twice is joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: HttpBody;
}

/** What a transport has seen so far. */
export interface Traffic {
  /** Answers 429 and 503. */
  readonly throttled: number;
}

/**
 * Sends HTTP/1.1 requests over connections that are kept and used again. No redirect is followed, nothing is
 * decompressed. Every wait has a limit and ends with the signal.
 *
 * An answer that comes before a body was sent whole ends the sending, and is given with all that it says.
 */
export interface Transport extends Disposable {
  readonly traffic: Traffic;
  /**
   * @throws BrokerError `network`, `timeout`, `bad_response` (not HTTP, or cut wrongly), `stopped`, `machine_limit`; or
   * what the sent body threw.
   */
  request(request: HttpRequest): Promise<HttpResponse>;
}
