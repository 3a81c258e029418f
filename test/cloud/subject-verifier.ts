import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { AwsPrincipal } from './principals.ts';
import { SignatureRefused, verifySignature } from './sigv4-verifier.ts';

const TARGET = 'x-goog-cloud-target-resource';
const signedRequest = z.strictObject({
  url: z.string(),
  method: z.literal('POST'),
  headers: z.array(z.strictObject({ key: z.string(), value: z.string() })).max(16),
});

/** Does what Google and AWS do together: reads the signed request in a subject token and learns who signed it. */
export function signerOf(
  subjectToken: string,
  audience: string,
  principals: ReadonlyMap<string, AwsPrincipal>,
  now: number,
): AwsPrincipal {
  const parsed = signedRequest.safeParse(readToken(subjectToken));
  if (!parsed.success) throw new SignatureRefused('InvalidFormat', 'Invalid format of AWS credentials');
  const url = new URL(parsed.data.url);
  if (
    !/^sts(\.[a-z0-9-]+)?\.amazonaws\.com$/.test(url.host) ||
    url.protocol !== 'https:' ||
    !['', '/'].includes(url.pathname)
  ) {
    throw new SignatureRefused('InvalidFormat', 'The URL is not that of AWS STS');
  }
  if (url.search !== '?Action=GetCallerIdentity&Version=2011-06-15') {
    throw new SignatureRefused('InvalidFormat', 'The request is not GetCallerIdentity');
  }
  const headers: Record<string, string> = {};
  for (const { key, value } of parsed.data.headers) {
    if (headers[key.toLowerCase()] !== undefined)
      throw new SignatureRefused('InvalidFormat', `Duplicate header ${key}`);
    headers[key.toLowerCase()] = value;
  }
  if (headers.host !== url.host) throw new SignatureRefused('SignatureDoesNotMatch', 'The host header does not match');
  if (headers[TARGET] !== audience)
    throw new SignatureRefused('InvalidTarget', `${TARGET} does not name this provider`);
  const payloadHash = createHash('sha256').update('').digest('hex');
  const { principal, signedHeaders } = verifySignature(
    { method: 'POST', path: '/', query: url.searchParams, headers, payloadHash },
    'sts',
    principals,
    now,
  );
  if (!signedHeaders.includes(TARGET))
    throw new SignatureRefused('UnsignedTarget', `${TARGET} must be a signed header`);
  return principal;
}

function readToken(token: string): unknown {
  try {
    return JSON.parse(decodeURIComponent(token));
  } catch {
    return undefined;
  }
}
