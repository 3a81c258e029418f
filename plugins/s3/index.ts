import { defineSink, defineSource } from '../../core/api/index.ts';
import { s3Config, s3SourceConfig } from './config.ts';
import { s3Grants, s3SourceGrants } from './grants.ts';
import { S3Sink } from './sink.ts';
import { S3Source } from './source.ts';

export { s3State } from './state.ts';

export const s3 = defineSink({
  name: 's3',
  summary: 'Objects in an Amazon S3 bucket; S3 itself verifies each by the checksum that the source published.',
  config: s3Config,
  identities: ['aws'],
  grants: s3Grants,
  create: (config, context) => new S3Sink(config, context),
});

export const s3Source = defineSource({
  name: 's3',
  summary: 'Objects of an Amazon S3 bucket, with their metadata, each read in the version that was listed.',
  config: s3SourceConfig,
  identities: ['aws'],
  grants: s3SourceGrants,
  create: (config, context) => new S3Source(config, context),
});
