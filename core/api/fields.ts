import { z } from 'zod';
import { compileGlob } from './glob.ts';
import { keyBytes } from './keys.ts';
import { visible } from './text.ts';

/** Option types that several plugins share, each with the message its mistakes deserve. */

const BYTE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};
const TIME_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

type Report = (message: string) => void;

/** A text that `read` turns into a value, or reports as wrong. */
const parsed = <T>(read: (text: string, report: Report) => T | undefined, ofNumber?: (number: number) => string) =>
  z
    .string({ error: ({ input }) => (typeof input === 'number' ? ofNumber?.(input) : undefined) })
    .transform((text, context): T => {
      const value = read(text, (message) => context.addIssue({ code: 'custom', message }));
      return value === undefined ? z.NEVER : value;
    });

/** A text that `check` may find fault with. */
const checked = (check: (text: string, report: Report) => void) =>
  z.string().superRefine((text, context) => check(text, (message) => context.addIssue({ code: 'custom', message })));

/** `8MiB`, `64 KiB`, `1GiB`; the value is bytes. */
export const byteSize = (limits: { readonly min?: string; readonly max?: string } = {}) =>
  parsed((text, report) => {
    const bytes = readBytes(text, report);
    if (bytes === undefined) return undefined;
    if (limits.min !== undefined && bytes < (readBytes(limits.min, report) ?? 0))
      report(`must be at least ${limits.min}`);
    if (limits.max !== undefined && bytes > (readBytes(limits.max, report) ?? 0))
      report(`must be at most ${limits.max}`);
    return bytes;
  }).meta({ format: 'byte-size', examples: ['8MiB', '1GiB'] });

function readBytes(text: string, report: Report): number | undefined {
  const found = /^(\d{1,9}(?:\.\d{1,3})?)\s*([A-Za-z]*)$/.exec(text);
  if (found === null) return complain(report, `"${visible(text)}" is not a size: use for example 8MiB`);
  const factor = BYTE_UNITS[found[2] ?? ''];
  if (factor === undefined)
    return complain(
      report,
      found[2] === ''
        ? `"${visible(text)}" has no unit: write for example ${visible(text)}MiB`
        : `unknown unit "${found[2]}": use KiB, MiB, GiB`,
    );
  return Math.round(Number(found[1]) * factor);
}

/** A whole number within limits. */
export const integer = (min: number, max: number) => {
  const error = ({ input }: { readonly input?: unknown }): string =>
    typeof input === 'string' && /^\d+$/.test(input)
      ? `must be an integer from ${min} to ${max}: remove the quotes`
      : `must be an integer from ${min} to ${max}`;
  return z.number({ error }).int({ error }).min(min, { error }).max(max, { error });
};

/** `90s`, `15m`, `2h`, `500ms`; the value is milliseconds. */
export const duration = () =>
  parsed(
    (text, report) => {
      const days = /^(\d{1,5}) ?d(?:ays?)?$/.exec(text)?.[1];
      if (days !== undefined) return complain(report, `days are not known here: write ${Number(days) * 24}h`);
      const found = /^(\d{1,9})(ms|s|m|h)$/.exec(text);
      const factor = TIME_UNITS[found?.[2] ?? ''];
      if (found === null || factor === undefined)
        return complain(report, `"${visible(text)}" is not a duration: use 90s, 15m, 2h`);
      return Number(found[1]) * factor;
    },
    (number) =>
      `must be a duration: ${Number.isSafeInteger(number) ? `write ${number}s, ${number}m or ${number}h` : 'use 90s, 15m, 2h'}`,
  ).meta({ format: 'duration', examples: ['30s', '15m'] });

/** Source: https://www.rfc-editor.org/rfc/rfc3339#section-5.6 */
const TIMESTAMP = /^(\d{4}-\d\d-\d\d)(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?)?$/;

/** A moment, with its time zone: `2026-01-31T08:00:00Z`; the value is milliseconds since the epoch. */
export const timestamp = () =>
  parsed((text, report) => {
    const found = TIMESTAMP.exec(text);
    const day = Date.parse(`${found?.[1]}T00:00:00Z`);
    // `Date` takes the 30th of February for the 2nd of March.
    if (found === null || Number.isNaN(day) || new Date(day).toISOString().slice(0, 10) !== found[1])
      return complain(report, `"${visible(text)}" is not a date: write for example 2026-01-31T08:00:00Z`);
    const time = Date.parse(text);
    if (found[2] === undefined)
      return complain(report, `"${visible(text)}" has no time zone: write for example ${found[1]}T00:00:00Z`);
    return Number.isNaN(time) ? complain(report, `"${visible(text)}" is not a time`) : time;
  }).meta({ format: 'timestamp', examples: ['2026-01-31T08:00:00Z'] });

function complain(report: Report, message: string): undefined {
  report(message);
  return undefined;
}

/** Source: https://cloud.google.com/storage/docs/buckets#naming */
export const gcsBucket = () =>
  bucketName('gs', 222, /^[a-z0-9][a-z0-9._-]*[a-z0-9]$/, 'lower-case letters, digits, "-", "_" and "."', (name) =>
    name.split('.').some((part) => part.length > 63)
      ? 'between its dots a bucket name has at most 63 characters'
      : /^goog|google/.test(name)
        ? 'a bucket name does not begin with "goog", nor hold "google"'
        : undefined,
  );

/** Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html */
export const s3Bucket = () =>
  bucketName('s3', 63, /^[a-z0-9][a-z0-9.-]*[a-z0-9]$/, 'lower-case letters, digits, "-" and "."', (name) =>
    /\.-|-\./.test(name) ? 'a bucket name must not have "-" beside "."' : undefined,
  );

const bucketName = (
  scheme: string,
  longest: number,
  shape: RegExp,
  allowed: string,
  own: (name: string) => string | undefined,
) =>
  checked((name, report) => {
    const url = new RegExp(`^${scheme}://([^/]*)/?(.*)$`).exec(name);
    if (url !== null) {
      const rest = url[2] === '' ? '' : ` and put "${visible(url[2] ?? '')}" in prefix`;
      return report(`write the bare name "${visible(url[1] ?? '')}"${rest}`);
    }
    if (name.startsWith('arn:')) return report('an ARN is not supported here: write the bucket name');
    if (name.length < 3 || name.length > longest)
      return report(`a bucket name has 3 to ${longest} characters, this one ${name.length}`);
    if (/^\d+\.\d+\.\d+\.\d+$/.test(name)) return report('a bucket name must not look like an IP address');
    if (name.includes('..')) return report('a bucket name must not hold ".."');
    if (!shape.test(name))
      return report(`a bucket name begins and ends with a letter or digit and holds only ${allowed}`);
    const wrong = own(name);
    if (wrong !== undefined) report(wrong);
  });

/** The beginning of keys; not a path, nothing is normalised. */
export const keyPrefix = () =>
  checked((prefix, report) => {
    if (/\p{Cc}/u.test(prefix)) return report('control character in prefix');
    if (/^(gs|s3):\/\//.test(prefix)) return report('write only what comes after the bucket name');
    if (keyBytes(prefix) > 1024) return report(`a prefix has at most 1,024 bytes, this one ${keyBytes(prefix)}`);
  });

/** A glob over keys: `*` and `?` stop at "/", `**` does not. */
export const keyGlob = () =>
  checked((pattern, report) => {
    if (pattern.length > 1024) return report('a pattern has at most 1,024 characters');
    try {
      compileGlob(pattern);
    } catch (error) {
      report(`bad pattern: ${error instanceof Error ? error.message : 'unreadable'}`);
    }
  });

/** The name of an entry under `identities`. */
export const identityName = () => z.string().min(1).meta({ identity: true });

/** True for the machine itself. */
export const isLoopback = (host: string): boolean => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(host);

const METADATA_HOSTS = /^(169\.254\.\d+\.\d+|\[fe80:.*\]|\[fd00:ec2::.*\]|metadata\.google\.internal|0\.0\.0\.0)$/i;

/** Another server that speaks the same protocol: https, or http on this machine. */
export const endpointUrl = () =>
  checked((text, report) => {
    const url = URL.parse(text);
    if (url === null || !/^https?:$/.test(url.protocol)) return report('must be a URL that begins with https://');
    if (url.username !== '' || url.password !== '') return report('credentials in URLs are not allowed');
    if (METADATA_HOSTS.test(url.hostname))
      return report('this address is link-local: it is a metadata service, not a store');
    if (url.protocol === 'http:' && !isLoopback(url.hostname))
      return report('http:// is for this machine only: use https://');
    if (url.pathname !== '/' || url.search !== '' || url.hash !== '')
      return report('must be a URL without a path or query');
  });

/** What is wrong with options together; `path` below `with`, empty for all of them. */
export interface OptionProblem {
  readonly path: readonly (string | number)[];
  /** What is wrong and, as an instruction, what to do. */
  readonly message: string;
}

/** For `superRefine`: tells what single options do not show, each at its place. */
export const problemsBy =
  <Config>(find: (config: Config) => Iterable<OptionProblem>) =>
  (config: Config, context: z.RefinementCtx): void => {
    for (const { path, message } of find(config)) context.addIssue({ code: 'custom', path: [...path], message });
  };
