import { defineSource } from '../../core/api/index.ts';
import { s3SourceGrants } from './grants.ts';
import { S3Source } from './source.ts';
import { s3SourceConfig } from './source-config.ts';

export const s3Source = defineSource({
  name: 's3',
  summary: 'Objects of an Amazon S3 bucket, with their metadata, each read in the version that was listed.',
  config: s3SourceConfig,
  identities: ['aws'],
  grants: s3SourceGrants,
  create: (config, context) => new S3Source(config, context),
});
