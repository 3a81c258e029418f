import { createGunzip, createGzip } from 'node:zlib';
import { defineStep, type Item, integer, type Step, z } from '../../core/api/index.ts';
import { CHUNK, nodeTransform, suffixed, transformed } from './zlib.ts';

const as = z
  .enum(['file', 'encoding'])
  .default('file')
  .describe(
    '`file`: another file, whose name ends in the suffix. `encoding`: the same file, with the header Content-Encoding, which browsers undo.',
  );

export const gzip = defineStep({
  name: 'gzip',
  summary: 'Compresses what is not compressed yet.',
  stability: 'beta',
  config: z.strictObject({
    level: integer(1, 9).default(6).describe('1: fast; 9: small.'),
    as,
  }),
  create: ({ level, as }): Step => ({
    keys: as === 'file' ? 'any' : 'kept',
    from: as === 'file' ? withSuffix('.gz') : same,
    changes: (item) => !isPacked(item, '.gz'),
    describe: (item) => (isPacked(item, '.gz') ? item : compressed(item, as, '.gz', 'gzip', 'application/gzip')),
    bytes: (content, item, { signal }) =>
      transformed(content, nodeTransform(createGzip({ level, chunkSize: CHUNK })), item, signal),
  }),
});

export const gunzip = defineStep({
  name: 'gunzip',
  summary: 'Decompresses what is gzip by its name or its Content-Encoding; the rest passes as it is.',
  stability: 'beta',
  config: z.strictObject({}),
  create: (): Step => ({
    keys: 'any',
    from: withoutSuffix('.gz'),
    changes: isGzip,
    describe: (item) => (isGzip(item) ? decompressed(item, '.gz', 'gzip') : item),
    bytes: (content, item, { signal }) =>
      transformed(content, nodeTransform(createGunzip({ chunkSize: CHUNK })), item, signal),
  }),
});

/** What comes out has the suffix: it was put there, or was there. */
export const withSuffix = (suffix: string) => (key: string) =>
  suffixed(key, suffix) ? [key, key.slice(0, -suffix.length)] : [key];
/** What comes out has lost the suffix, or had none. */
export const withoutSuffix = (suffix: string) => (key: string) => [key, key + suffix];
export const same = (key: string) => [key];

const isGzip = ({ key, headers = {} }: Item): boolean => suffixed(key, '.gz') || headers.contentEncoding === 'gzip';

/** Compressed already, whatever with: what browsers undo by the header would be undone in the wrong order. */
export const isPacked = ({ key, headers = {} }: Item, suffix: string): boolean =>
  suffixed(key, suffix) || !['', 'identity', undefined].includes(headers.contentEncoding);

/** The description of what is compressed: a file of its own, or the same with another encoding. */
export function compressed(
  item: Item,
  as: 'file' | 'encoding',
  suffix: string,
  encoding: string,
  contentType: string,
): Item {
  if (as === 'encoding') return { ...item, headers: { ...item.headers, contentEncoding: encoding } };
  // It is the type of the file inside that is lost; its name says it.
  return { ...item, key: item.key + suffix, headers: { ...item.headers, contentType } };
}

/** The description of what is inside: without the suffix, or without the encoding. */
export function decompressed(item: Item, suffix: string, encoding: string): Item {
  const { contentEncoding, contentType, ...headers } = item.headers ?? {};
  if (contentEncoding === encoding)
    return { ...item, headers: { ...headers, ...(contentType === undefined ? {} : { contentType }) } };
  return {
    ...item,
    key: item.key.slice(0, -suffix.length),
    headers: contentEncoding === undefined ? headers : { ...headers, contentEncoding },
  };
}
