import { gcsBucket, identityName, keyPrefix, z } from '../../core/api/index.ts';
import { reached } from './config.ts';

export const gcsSinkConfig = z.strictObject({
  bucket: gcsBucket().describe('The bare name of the bucket.'),
  identity: identityName().describe('An identity of kind `gcp`, or `anonymous` for emulators.'),
  prefix: keyPrefix().default('').describe('Put before every key.'),
  storageClass: z
    .enum(['STANDARD', 'NEARLINE', 'COLDLINE', 'ARCHIVE'])
    .optional()
    .describe('Default: that of the bucket.'),
  kmsKeyName: z
    .string()
    .regex(
      /^projects\/[^/]+\/locations\/[^/]+\/keyRings\/[^/]+\/cryptoKeys\/[^/]+$/,
      'must be projects/…/locations/…/keyRings/…/cryptoKeys/…',
    )
    .optional()
    .describe('A key of Cloud KMS. Default: what the bucket is set to.'),
  metadata: z.enum(['carry', 'drop']).default('carry').describe('What becomes of user metadata.'),
  ...reached,
});

export type GcsSinkConfig = z.output<typeof gcsSinkConfig>;
