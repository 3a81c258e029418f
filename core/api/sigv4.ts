import { createHmac, hash } from 'node:crypto';
import type { AwsCredentials } from './credentials.ts';

export interface SignedParts {
  readonly method: string;
  /** Percent-encoded, once. */
  readonly path: string;
  /** As `canonicalQuery` writes it. */
  readonly query: string;
  /** Every header that is given is signed; names in lower case, `host` included. */
  readonly headers: Readonly<Record<string, string>>;
  /** SHA-256 of the body in hex, or what S3 takes instead: `UNSIGNED-PAYLOAD`. */
  readonly payloadHash: string;
}

export const sha256Hex = (text: string): string => hash('sha256', text, 'hex');
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

/** RFC 3986: what encodeURIComponent leaves and AWS does not. */
export const encodeForAws = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);

/** By encoded name, then value: sorting `name=value` as one text would put `a%21=` before `a=`. */
export function canonicalQuery(query: Iterable<readonly [string, string]>): string {
  const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return [...query]
    .map(([name, value]) => [encodeForAws(name), encodeForAws(value)] as const)
    .sort(([a, x], [b, y]) => order(a, b) || order(x, y))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

/**
 * Signs requests with Signature Version 4. The key of the day is derived once: what is left is two hashes a request.
 *
 * Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
export class AwsSigner {
  readonly #region: string;
  readonly #service: string;
  #second = -1;
  #date = '';
  #key: { readonly day: string; readonly secret: string; readonly bytes: Buffer } | undefined;

  constructor(region: string, service: string) {
    this.#region = region;
    this.#service = service;
  }

  /** @param now milliseconds since the epoch. @returns the headers given, and those that sign them. */
  sign({ method, path, query, headers, payloadHash }: SignedParts, credentials: AwsCredentials, now: number) {
    const date = this.#dateOf(now);
    const day = date.slice(0, 8);
    const signed: Record<string, string> = { ...headers, 'x-amz-date': date };
    if (credentials.sessionToken !== undefined) signed['x-amz-security-token'] = credentials.sessionToken;
    const names = Object.keys(signed).sort();
    let canonical = `${method}\n${path}\n${query}\n`;
    for (const name of names) canonical += `${name}:${oneLine(signed[name] ?? '')}\n`;
    const list = names.join(';');
    canonical += `\n${list}\n${payloadHash}`;
    const scope = `${day}/${this.#region}/${this.#service}/aws4_request`;
    const toSign = `AWS4-HMAC-SHA256\n${date}\n${scope}\n${sha256Hex(canonical)}`;
    const signature = createHmac('sha256', this.#keyOf(day, credentials.secretAccessKey)).update(toSign).digest('hex');
    signed.authorization = `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${list}, Signature=${signature}`;
    return signed;
  }

  #dateOf(now: number): string {
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#date = new Date(second * 1000).toISOString().replace(/[-:]|\.\d{3}/g, '');
    }
    return this.#date;
  }

  #keyOf(day: string, secret: string): Buffer {
    if (this.#key?.day !== day || this.#key.secret !== secret) {
      const bytes = hmac(hmac(hmac(hmac(`AWS4${secret}`, day), this.#region), this.#service), 'aws4_request');
      this.#key = { day, secret, bytes };
    }
    return this.#key.bytes;
  }
}

const oneLine = (value: string): string =>
  /^\s|\s\s|\s$|[\t\r\n]/.test(value) ? value.trim().replace(/\s+/g, ' ') : value;
