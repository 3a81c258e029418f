import {
  byteSize,
  endpointUrl,
  identityName,
  integer,
  keyPrefix,
  type OptionProblem,
  problemsBy,
  s3Bucket,
  z,
} from '../../core/api/index.ts';

const STORAGE_CLASSES = [
  'STANDARD',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER_IR',
  'GLACIER',
  'DEEP_ARCHIVE',
  'REDUCED_REDUNDANCY',
] as const;

const kmsKey = z
  .string()
  .regex(
    /^(arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key\/[\w-]+|alias\/[\w/-]+)|alias\/[\w/-]+|[0-9a-f-]{36}|mrk-[0-9a-f]+)$/,
    'must be a key id, a key ARN, or an alias that begins with "alias/"',
  );

const metadataRules = z.strictObject({
  remove: z.array(z.string().min(1)).default([]).describe('Names that are not carried.'),
  rename: z.record(z.string().min(1), z.string().min(1)).default({}).describe('From one name to another.'),
  add: z.record(z.string().min(1), z.string()).default({}).describe('What every object gets; it replaces what it has.'),
});

/** Of a bucket, and of what is written to it; not looked at together. */
export const s3Options = z.strictObject({
  bucket: s3Bucket().describe('The bare name of the bucket.'),
  identity: identityName().optional().describe('An identity of kind `aws`. Default: the ambient credentials.'),
  prefix: keyPrefix().default('').describe('Put before every key.'),
  region: z
    .string()
    .regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'must be a region such as eu-west-1')
    .optional()
    .describe('Of the bucket. Default: the region of the environment.'),
  storageClass: z
    .union([z.enum([...STORAGE_CLASSES, 'match']), z.record(z.string().min(1), z.enum(STORAGE_CLASSES))], {
      error: ({ input }) =>
        typeof input === 'string'
          ? undefined
          : 'must be a storage class, match, or a mapping from those of the source to those of S3',
    })
    .optional()
    .describe(
      'Default: STANDARD. `match`: NEARLINE becomes STANDARD_IA, COLDLINE GLACIER_IR and ARCHIVE DEEP_ARCHIVE; or a mapping from the storage class of the item.',
    ),
  encryption: z
    .enum(['AES256', 'aws:kms', 'aws:kms:dsse'])
    .optional()
    .describe('Server-side encryption. Default: what the bucket is set to.'),
  kmsKeyId: kmsKey.optional().describe('For `aws:kms`; needs kms:GenerateDataKey and, for large objects, kms:Decrypt.'),
  bucketKey: z.boolean().optional().describe('Use an S3 Bucket Key, which saves KMS requests.'),
  tags: z
    .record(z.string().min(1).max(128), z.string().max(256))
    .refine((tags) => Object.keys(tags).length <= 10, 'S3 holds at most 10 tags')
    .optional()
    .describe('Put on every object; needs s3:PutObjectTagging.'),
  expectedBucketOwner: z
    .string()
    .regex(/^\d{12}$/, 'must be an account id of 12 digits, in quotes')
    .optional()
    .describe('The account that must own the bucket; recommended.'),
  metadata: z
    .union([z.enum(['carry', 'drop']), metadataRules], {
      error: ({ input }) =>
        typeof input === 'string' ? undefined : 'must be carry, drop, or a mapping with remove, rename and add',
    })
    .default('carry')
    .describe('What becomes of user metadata.'),
  provenance: z
    .boolean()
    .default(false)
    .describe('Put the id of the item (`gs://bucket/name#generation`) into the metadata, as `isthmus-source`.'),
  conditional: z
    .boolean()
    .default(true)
    .describe('Make every write conditional on what the plan saw. Off only for servers without it.'),
  proof: z
    .enum(['checksum', 'size'])
    .default('checksum')
    .describe('What counts as proof: a checksum that the store confirmed, or, for servers without, the size alone.'),
  partSize: byteSize({ min: '5MiB', max: '5GiB' })
    .optional()
    .describe(
      'Of multipart uploads; up to this size an object is one PUT. Default: 64 MiB, for objects below 1 GiB parts of 16 MiB; 8 MiB for what the broker must hash itself, since that is buffered. Raised for objects that would need more than 10,000 parts.',
    ),
  partConcurrency: integer(1, 32).default(4).describe('Parts of one object in flight at once, at most.'),
  endpoint: endpointUrl().optional().describe('Another server that speaks S3.'),
  forcePathStyle: z
    .boolean()
    .optional()
    .describe('`endpoint/bucket/key` instead of `bucket.endpoint/key`. Default: on when an endpoint is given.'),
});

export const s3Config = s3Options.superRefine(
  problemsBy(function* ({ encryption, kmsKeyId, region }): Generator<OptionProblem> {
    if (kmsKeyId === undefined) return;
    if (encryption === undefined || encryption === 'AES256')
      yield { path: ['kmsKeyId'], message: 'needs encryption: aws:kms, or aws:kms:dsse' };
    const own = /^arn:[^:]+:kms:([^:]+):/.exec(kmsKeyId)?.[1];
    if (own !== undefined && region !== undefined && own !== region)
      yield {
        path: ['kmsKeyId'],
        message: `is a key of ${own}, the bucket is in ${region}: S3 takes only keys of its region`,
      };
  }),
);

export type S3Config = z.output<typeof s3Config>;
