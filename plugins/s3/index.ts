import { defineSink } from '../../core/api/index.ts';
import { s3Config } from './config.ts';
import { s3Grants } from './grants.ts';
import { S3Sink } from './sink.ts';

// Of its own, so that a bundle holds only what its pipeline uses.
export { s3Source } from './as-source.ts';
export { s3State } from './state.ts';

export const s3 = defineSink({
  name: 's3',
  summary: 'Objects in an Amazon S3 bucket; S3 itself verifies each by the checksum that the source published.',
  config: s3Config,
  identities: ['aws'],
  grants: s3Grants,
  create: (config, context) => new S3Sink(config, context),
});
