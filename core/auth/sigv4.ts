import type { AwsCredentials } from '../api/credentials.ts';
import { AwsSigner, canonicalQuery, sha256Hex } from '../api/sigv4.ts';

export interface UnsignedRequest {
  readonly method: string;
  readonly url: URL;
  /** Every header that is given is signed; names in lower case, `host` included. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface SigningScope {
  readonly region: string;
  readonly service: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Signs a request of a token service, and returns its headers, the signature among them. */
export const signRequest = (
  { method, url, headers, body }: UnsignedRequest,
  credentials: AwsCredentials,
  { region, service, now }: SigningScope,
): Record<string, string> => {
  const signed = { ...headers };
  const parts = { method, path: url.pathname, query: canonicalQuery(url.searchParams), payloadHash: sha256Hex(body) };
  new AwsSigner(region, service).sign({ ...parts, headers: signed }, credentials, now);
  return signed;
};
