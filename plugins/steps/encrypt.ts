import { defineStep, type Grant, identityName, type Step, z } from '../../core/api/index.ts';
import { withSuffix } from './gzip.ts';
import { KmsDataKeys } from './kms.ts';
import { CHUNK, transformed } from './zlib.ts';

/** Only an ARN says region and account, so that nobody's other key is used; an alias may be moved to another key. */
const keyArn = () =>
  z
    .string()
    .regex(
      /^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key\/[A-Za-z0-9-]+$/,
      'must be the ARN of a key: arn:aws:kms:eu-west-1:111122223333:key/…',
    );

const config = z.strictObject({
  kmsKeyArn: keyArn().describe('The key of AWS KMS that protects the data keys: one for each item.'),
  identity: identityName().optional().describe('Default: the ambient identity.'),
  context: z
    .record(z.string().min(1), z.string())
    .default({})
    .describe('Encryption context: not secret, kept in the file, and needed to decrypt it.'),
});

export const encrypt = defineStep({
  name: 'encrypt',
  summary:
    'Encrypts each item with a data key of its own, in the format of the AWS Encryption SDK: who may use the KMS key can read it, and nobody else.',
  stability: 'beta',
  config,
  identities: ['aws'],
  grants: ({ kmsKeyArn, identity }): readonly Grant[] => [
    {
      cloud: 'aws',
      identity,
      actions: ['kms:GenerateDataKey'],
      resources: [kmsKeyArn],
      reason: 'make a data key for each item that is encrypted',
    },
  ],
  create: ({ kmsKeyArn, identity, context: given }, context): Step => {
    const keys = new KmsDataKeys(kmsKeyArn, identity, context);
    return {
      // The suffix is put behind every key, so that two never become one.
      keys: 'unique',
      from: withSuffix('.encrypted'),
      repeats: false,
      describe: (item) => {
        const { contentEncoding: _, ...headers } = item.headers ?? {};
        return {
          ...item,
          key: `${item.key}.encrypted`,
          headers: { ...headers, contentType: 'application/octet-stream' },
        };
      },
      async *bytes(content, item, { signal }) {
        // Only who encrypts loads the library.
        const { encryption } = await import('./encryption.ts');
        const key = await keys.dataKey(given, signal);
        yield* transformed(content, encryption(key, given, CHUNK), item, signal);
      },
      [Symbol.asyncDispose]: async () => keys[Symbol.dispose](),
    };
  },
});
