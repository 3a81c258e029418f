import { BlockList, isIP } from 'node:net';
import { isLoopback, type OptionProblem, problemsBy, z } from '../../core/api/index.ts';

/** Addresses that hand out credentials, or that only this machine or its network can reach. Source: https://www.iana.org/assignments/iana-ipv4-special-registry */
const INNER = new BlockList();
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const)
  INNER.addSubnet(net, bits, 'ipv4');
// Of IPv6 only what is given out to anybody: all else is inner, or stands for an address of IPv4.
const PUBLIC_6 = new BlockList();
PUBLIC_6.addSubnet('2000::', 3, 'ipv6');
const INNER_NAME = /(^|\.)(internal|local|localhost)$/i;

function isInner(hostname: string): boolean {
  const host = hostname.replace(/\.$/, '').replace(/^\[|\]$/g, '');
  const kind = isIP(host);
  if (kind === 4) return INNER.check(host, 'ipv4');
  return kind === 6 ? !PUBLIC_6.check(host, 'ipv6') : INNER_NAME.test(host);
}

/** Why a URL is not fetched; undefined when it is. @param local whether this machine itself may be asked. */
export function urlProblem(text: string, local = true): string | undefined {
  const url = URL.parse(text);
  if (url === null) return 'must be a URL: https://host/path';
  if (url.username !== '' || url.password !== '')
    return 'must hold no user and password: a pipeline is no place for them';
  if (
    /[?&](x-amz-signature|x-amz-security-token|x-goog-signature|sig|signature|token|access_token|api_?key|key)=/i.test(
      url.search,
    )
  )
    return 'holds a signature or token: a pipeline is no place for it';
  // As with other endpoints: a test runs its server here.
  if (local && url.protocol === 'http:' && isLoopback(url.hostname)) return undefined;
  if (url.protocol !== 'https:') return 'must begin with https://';
  if (isInner(url.hostname)) return 'is an address of an inner network, which no pipeline may read';
  return undefined;
}

const address = z.string().superRefine((text, context) => {
  const message = urlProblem(text);
  if (message !== undefined) context.addIssue({ code: 'custom', message });
});

const hex = (length: number, name: string) =>
  z
    .string()
    .regex(new RegExp(`^[0-9a-fA-F]{${length}}$`), `must be a ${name} in hex: ${length} digits`)
    .optional();

const entry = z.strictObject({
  url: address.describe('Where it is.'),
  key: z.string().min(1).optional().describe('Its name in the sinks. Default: the path of the URL.'),
  sha256: hex(64, 'SHA-256').describe('What it must have; else it is refused.'),
  md5: hex(32, 'MD5').describe('What it must have, where nothing better is published.'),
});

export const httpConfig = z
  .strictObject({
    urls: z
      .array(z.union([address, entry]))
      .min(1)
      .max(100_000)
      .describe('What to fetch: URLs, or mappings with `url`, `key`, `sha256`, `md5`.'),
  })
  .superRefine(
    problemsBy(function* ({ urls }): Generator<OptionProblem> {
      const seen = new Map<string, number>();
      for (const [index, one] of urls.entries()) {
        const { key } = entryOf(one);
        if (key === '') yield { path: ['urls', index], message: 'its path names nothing: give it a key' };
        const first = seen.get(key);
        if (first !== undefined)
          yield { path: ['urls', index], message: `has the key of number ${first + 1}, "${key}": give it another` };
        else seen.set(key, index);
      }
    }),
  );

export type HttpConfig = z.output<typeof httpConfig>;

/** One thing to fetch. */
export interface Entry {
  readonly url: string;
  readonly key: string;
  /** Hex, in lower case. */
  readonly sha256: string | undefined;
  readonly md5: string | undefined;
}

export function entryOf(one: HttpConfig['urls'][number]): Entry {
  const { url, key, sha256, md5 } = typeof one === 'string' ? { url: one } : one;
  return { url, key: key ?? keyIn(url), sha256: sha256?.toLowerCase(), md5: md5?.toLowerCase() };
}

/** The path, decoded where that is possible, without its first slash. */
function keyIn(url: string): string {
  const path = (URL.parse(url)?.pathname ?? '').replace(/^\//, '');
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
