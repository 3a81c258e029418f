import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { AwsPrincipal } from './principals.ts';

/** A signed AWS request as it was received. Independent of the signer in core/auth, so that each judges the other. */
export interface SignedRequest {
  readonly method: string;
  /** Path as sent, still percent-encoded. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** Hash of the body, or what x-amz-content-sha256 says instead. */
  readonly payloadHash: string;
}

export interface Verified {
  readonly principal: AwsPrincipal;
  readonly region: string;
  readonly signedHeaders: readonly string[];
}

/** Why AWS refuses a signature; `code` is the word that AWS uses. */
export class SignatureRefused extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

const SKEW_MS = 15 * 60_000;
const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/;

const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/** Verifies a header signature as AWS does, or throws SignatureRefused. */
export function verifySignature(
  request: SignedRequest,
  service: string,
  principals: ReadonlyMap<string, AwsPrincipal>,
  now: number,
): Verified {
  const found = AUTHORIZATION.exec(request.headers.authorization ?? '');
  if (found === null)
    throw new SignatureRefused('IncompleteSignature', 'Authorization header is missing or malformed.');
  const [, keyId = '', day = '', region = '', scopeService = '', signedText = '', signature = ''] = found;
  const principal = principals.get(keyId);
  if (principal === undefined)
    throw new SignatureRefused('InvalidClientTokenId', 'The security token included in the request is invalid.');
  if (scopeService !== service)
    throw new SignatureRefused(
      'SignatureDoesNotMatch',
      `Credential should be scoped to correct service: '${service}'.`,
    );
  const date = request.headers['x-amz-date'] ?? '';
  if (!/^\d{8}T\d{6}Z$/.test(date) || !date.startsWith(day)) {
    throw new SignatureRefused(
      'SignatureDoesNotMatch',
      'Date in Credential scope does not match the date of the request.',
    );
  }
  checkAge(date, now);
  const signed = signedText.split(';');
  const needed = [
    'host',
    'x-amz-date',
    ...(request.headers['x-amz-security-token'] === undefined ? [] : ['x-amz-security-token']),
  ];
  for (const name of needed)
    if (!signed.includes(name))
      throw new SignatureRefused('SignatureDoesNotMatch', `'${name}' must be a signed header.`);
  const canonical = [
    request.method,
    request.path
      .split('/')
      .map((segment) => encode(decodeURIComponent(segment)))
      .join('/') || '/',
    canonicalQuery(request.query),
    ...signed.map((name) => `${name}:${(request.headers[name] ?? '').trim().replace(/\s+/g, ' ')}`),
    '',
    signedText,
    request.payloadHash,
  ].join('\n');
  const scope = `${day}/${region}/${service}/aws4_request`;
  const toSign = ['AWS4-HMAC-SHA256', date, scope, createHash('sha256').update(canonical).digest('hex')].join('\n');
  const key = hmac(hmac(hmac(hmac(`AWS4${principal.secretAccessKey}`, day), region), service), 'aws4_request');
  const expected = hmac(key, toSign);
  if (!timingSafeEqual(expected, Buffer.from(signature, 'hex'))) {
    throw new SignatureRefused(
      'SignatureDoesNotMatch',
      'The request signature we calculated does not match the signature you provided.',
    );
  }
  if ((request.headers['x-amz-security-token'] ?? '') !== (principal.sessionToken ?? '')) {
    throw new SignatureRefused('InvalidClientTokenId', 'The security token included in the request is invalid.');
  }
  if (principal.expiresAt !== undefined && principal.expiresAt <= now) {
    throw new SignatureRefused('ExpiredToken', 'The security token included in the request is expired');
  }
  return { principal, region, signedHeaders: signed };
}

/** Pairs in the order of their encoded names and values. */
function canonicalQuery(query: URLSearchParams): string {
  const pairs = [...query].map(([name, value]) => ({ name: encode(name), value: encode(value) }));
  // A NUL sorts before anything that encoding leaves, so the shorter of two names comes first.
  pairs.sort((a, b) => (`${a.name}\0${a.value}` < `${b.name}\0${b.value}` ? -1 : 1));
  return pairs.map(({ name, value }) => `${name}=${value}`).join('&');
}

function checkAge(date: string, now: number): void {
  const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  const stamp = (ms: number): string => new Date(ms).toISOString().replace(/[-:]|\.\d{3}/g, '');
  if (now - at > SKEW_MS) {
    throw new SignatureRefused(
      'SignatureExpired',
      `Signature expired: ${date} is now earlier than ${stamp(now - SKEW_MS)} (${stamp(now)} - 15 min.)`,
    );
  }
  if (at - now > SKEW_MS) {
    throw new SignatureRefused(
      'SignatureExpired',
      `Signature not yet current: ${date} is still later than ${stamp(now + SKEW_MS)} (${stamp(now)} + 15 min.)`,
    );
  }
}
