import * as zlib from 'node:zlib';
import { BrokerError, defineStep, type Item, integer, type Step, z } from '../../core/api/index.ts';
import { compressed, decompressed, isPacked, same, withoutSuffix, withSuffix } from './gzip.ts';
import { CHUNK, nodeTransform, suffixed, transformed } from './zlib.ts';

export const zstd = defineStep({
  name: 'zstd',
  summary: 'Compresses or decompresses with Zstandard, where Node.js has it (22.15 and newer).',
  stability: 'experimental',
  config: z.strictObject({
    direction: z.enum(['compress', 'decompress']).default('compress').describe('What is to be done.'),
    level: integer(1, 19).default(3).describe('1: fast; 19: small.'),
    as: z
      .enum(['file', 'encoding'])
      .default('file')
      .describe('Of what is compressed: another file, `.zst`; or the same, with the header Content-Encoding.'),
  }),
  create: ({ direction, level, as }): Step => {
    const { createZstdCompress, createZstdDecompress, constants } = zlib;
    if (createZstdCompress === undefined)
      throw new BrokerError('invalid_config', `zstd: Node.js ${process.versions.node} does not have it`, {
        hint: 'Use Node.js 22.15 or newer, or the step gzip.',
      });
    if (direction === 'decompress')
      return {
        keys: 'any',
        from: withoutSuffix('.zst'),
        changes: isZstd,
        describe: (item) => (isZstd(item) ? decompressed(item, '.zst', 'zstd') : item),
        bytes: (content, item, { signal }) =>
          transformed(content, nodeTransform(createZstdDecompress({ chunkSize: CHUNK })), item, signal),
      };
    const params = { [constants.ZSTD_c_compressionLevel]: level };
    return {
      keys: as === 'file' ? 'any' : 'kept',
      from: as === 'file' ? withSuffix('.zst') : same,
      changes: (item) => !isPacked(item, '.zst'),
      describe: (item) => (isPacked(item, '.zst') ? item : compressed(item, as, '.zst', 'zstd', 'application/zstd')),
      bytes: (content, item, { signal }) =>
        transformed(content, nodeTransform(createZstdCompress({ chunkSize: CHUNK, params })), item, signal),
    };
  },
});

const isZstd = ({ key, headers = {} }: Item): boolean => suffixed(key, '.zst') || headers.contentEncoding === 'zstd';
