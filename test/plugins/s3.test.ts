import { s3 } from '../../plugins/s3/index.ts';
import { localCloud } from '../cloud/local-cloud.ts';
import { sinkSuite } from '../conformance/sink-suite.ts';
import { pluginContext } from '../support.ts';

const variants = {
  's3 sink': {},
  's3 sink, KMS and tags': {
    encryption: 'aws:kms',
    tags: { team: 'data' },
    storageClass: 'STANDARD_IA',
    expectedBucketOwner: '111122223333',
  },
};

for (const [name, options] of Object.entries(variants)) {
  sinkSuite(name, async () => {
    const cloud = await localCloud();
    const bucket = cloud.s3.bucket('lake');
    const context = pluginContext({ endpoints: cloud.endpoints, credentials: cloud.session });
    return {
      sink: s3.create(
        s3.config.parse({ bucket: 'lake', prefix: 'raw/', region: 'eu-west-1', partSize: '5MiB', ...options }),
        context,
      ),
      read: async (key) => bucket.bytes(`raw/${key}`),
      leftovers: async () => cloud.s3.pendingUploads(),
      [Symbol.asyncDispose]: () => cloud[Symbol.asyncDispose](),
    };
  });
}
