import { endpointUrl, gcsBucket, identityName, keyGlob, keyPrefix, z } from '../../core/api/index.ts';

const OWN_HOST =
  /^(storage\.googleapis\.com|storage\.[a-z0-9-]+\.rep\.googleapis\.com|[a-z0-9-]+\.p\.googleapis\.com)$/;

/** How a bucket is reached, to read it and to write to it. */
export const reached = {
  userProject: z
    .string()
    .regex(/^(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$|^\d+$/, 'must be a project id')
    .optional()
    .describe('The project that pays, for requester-pays buckets.'),
  endpoint: endpointUrl()
    .optional()
    .describe('Another server that speaks the JSON API: an emulator, a private endpoint.'),
};

export const gcsConfig = z.strictObject({
  bucket: gcsBucket().describe('The bare name of the bucket.'),
  identity: identityName().describe('An identity of kind `gcp`, or `anonymous` for public buckets and emulators.'),
  prefix: keyPrefix()
    .default('')
    .describe('Only objects whose name begins with this. It is cut off: what follows is the key.'),
  object: z.string().min(1).optional().describe('Only this one object, named in full. Not together with prefix.'),
  matchGlob: keyGlob().optional().describe('Selected by Cloud Storage itself, over the full name: `2026/**.csv`.'),
  include: z.array(keyGlob()).optional().describe('Only keys that match one of these globs.'),
  exclude: z.array(keyGlob()).default([]).describe('No keys that match one of these globs.'),
  manifest: z
    .string()
    .regex(
      /^(gs:\/\/[^/]+\/.+|[^:]+)\.(csv|jsonl|ndjson)$/,
      'must be a file or gs:// URL that ends in .csv, .jsonl or .ndjson',
    )
    .optional()
    .describe(
      'Only the objects of this list: CSV (`name` or `name,generation`) or JSON lines (`{"name":…,"generation":…}`), names in full. A file beside the pipeline, or `gs://bucket/list.csv`.',
    ),
  ...reached,
});

export type GcsConfig = z.output<typeof gcsConfig>;

/** A Google token must not go to just any host that a file names. */
export function mayReceiveTokens(endpoint: string): boolean {
  const { hostname, protocol } = new URL(endpoint);
  return protocol === 'https:' && OWN_HOST.test(hostname);
}
