import { keyGlob, keyPrefix, z } from '../../core/api/index.ts';
import { s3Options } from './config.ts';

const { bucket, identity, region, expectedBucketOwner, endpoint, forcePathStyle } = s3Options.shape;

/** Of a source: where it is, and which of its objects are meant. */
export const s3SourceConfig = z.strictObject({
  bucket,
  identity,
  prefix: keyPrefix()
    .default('')
    .describe('Only objects whose name begins with this. It is cut off: what follows is the key.'),
  include: z.array(keyGlob()).min(1).optional().describe('Only keys that match one of these globs.'),
  exclude: z.array(keyGlob()).default([]).describe('No keys that match one of these globs.'),
  region,
  expectedBucketOwner,
  requestPayer: z.boolean().default(false).describe('You pay for the requests: for requester-pays buckets.'),
  endpoint,
  forcePathStyle,
});

export type S3SourceConfig = z.output<typeof s3SourceConfig>;
