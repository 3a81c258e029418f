import { hash } from 'node:crypto';
import type { AwsCredentials } from './credentials.ts';

export interface SignedParts {
  readonly method: string;
  /** Percent-encoded, once. */
  readonly path: string;
  /** As `canonicalQuery` writes it. */
  readonly query: string;
  /** Every header that is given is signed; names in lower case, `host` included. */
  readonly headers: Record<string, string>;
  /** SHA-256 of the body in hex, or what S3 takes instead: `UNSIGNED-PAYLOAD`. */
  readonly payloadHash: string;
}

export const sha256Hex = (text: string): string => hash('sha256', text, 'hex');

const BLOCK = 64;

/**
 * HMAC-SHA-256 (RFC 2104) with one key for many texts: createHmac prepares its key anew for each, which takes three times
 * as long as the hashes.
 */
class Hmac {
  readonly #inner: Buffer;
  readonly #outer = Buffer.alloc(BLOCK + 32);

  constructor(key: string | Buffer) {
    const bytes = Buffer.from(key);
    const short = bytes.length > BLOCK ? hash('sha256', bytes, 'buffer') : bytes;
    this.#inner = Buffer.alloc(BLOCK);
    for (let index = 0; index < BLOCK; index++) {
      this.#inner[index] = (short[index] ?? 0) ^ 0x36;
      this.#outer[index] = (short[index] ?? 0) ^ 0x5c;
    }
  }

  of(text: string): Buffer {
    this.#outer.set(hash('sha256', Buffer.concat([this.#inner, Buffer.from(text)]), 'buffer'), BLOCK);
    return hash('sha256', this.#outer, 'buffer');
  }
}

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
  #key: { readonly day: string; readonly secret: string; readonly hmac: Hmac } | undefined;

  constructor(region: string, service: string) {
    this.#region = region;
    this.#service = service;
  }

  /** Adds to the headers those that sign them. @param now milliseconds since the epoch. */
  sign({ method, path, query, headers, payloadHash }: SignedParts, credentials: AwsCredentials, now: number): void {
    const date = this.#dateOf(now);
    const day = date.slice(0, 8);
    headers['x-amz-date'] = date;
    if (credentials.sessionToken !== undefined) headers['x-amz-security-token'] = credentials.sessionToken;
    const { names, list } = sorted(headers);
    let canonical = `${method}\n${path}\n${query}\n`;
    for (const name of names) canonical += `${name}:${oneLine(headers[name] ?? '')}\n`;
    canonical += `\n${list}\n${payloadHash}`;
    const scope = `${day}/${this.#region}/${this.#service}/aws4_request`;
    const toSign = `AWS4-HMAC-SHA256\n${date}\n${scope}\n${sha256Hex(canonical)}`;
    const signature = this.#keyOf(day, credentials.secretAccessKey).of(toSign).toString('hex');
    headers.authorization = `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${list}, Signature=${signature}`;
  }

  #dateOf(now: number): string {
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#date = new Date(second * 1000).toISOString().replace(/[-:]|\.\d{3}/g, '');
    }
    return this.#date;
  }

  #keyOf(day: string, secret: string): Hmac {
    if (this.#key?.day !== day || this.#key.secret !== secret) {
      let key: string | Buffer = `AWS4${secret}`;
      for (const text of [day, this.#region, this.#service, 'aws4_request']) key = new Hmac(key).of(text);
      this.#key = { day, secret, hmac: new Hmac(key) };
    }
    return this.#key.hmac;
  }
}

interface Shape {
  readonly names: readonly string[];
  readonly list: string;
}

/** The names of headers in order. Requests come in few shapes, and sorting takes as long as hashing. */
function sorted(headers: Readonly<Record<string, string>>): Shape {
  const names = Object.keys(headers);
  const asked = names.join(';');
  const found = shapes.get(asked);
  if (found !== undefined) return found;
  names.sort();
  const shape = { names, list: names.join(';') };
  if (shapes.size < MOST_SHAPES) shapes.set(asked, shape);
  return shape;
}

const shapes = new Map<string, Shape>();
const MOST_SHAPES = 100;

const oneLine = (value: string): string =>
  /^\s|\s\s|\s$|[\t\r\n]/.test(value) ? value.trim().replace(/\s+/g, ' ') : value;
