import { defineSink } from '../../core/api/index.ts';
import { GcsSink } from './sink.ts';
import { gcsSinkConfig } from './sink-config.ts';

export const gcsSink = defineSink({
  name: 'gcs',
  summary: 'Objects in a Google Cloud Storage bucket; Cloud Storage itself verifies the CRC32C of each.',
  config: gcsSinkConfig,
  identities: ['gcp', 'anonymous'],
  grants: ({ identity, bucket, prefix }, use) => [
    {
      cloud: 'gcp',
      identity,
      role: 'roles/storage.objectUser',
      on: { bucket, prefix, deletes: true },
      reason: `list, write and replace${use?.deletes === true ? ', and delete,' : ''} objects below gs://${bucket}/${prefix}`,
    },
  ],
  create: (config, context) => new GcsSink(config, context),
});
