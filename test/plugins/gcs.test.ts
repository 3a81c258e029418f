import { gcs } from '../../plugins/gcs/index.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, localCloud } from '../cloud/local-cloud.ts';
import { sourceSuite } from '../conformance/source-suite.ts';
import { pluginContext } from '../support.ts';

sourceSuite('gcs source, keyless', async (objects) => {
  const cloud = await localCloud();
  const bucket = cloud.gcs.bucket('exports', [LOCAL_SERVICE_ACCOUNT], [LOCAL_SERVICE_ACCOUNT]);
  bucket.put('outside', 'not below the prefix');
  for (const [key, bytes] of Object.entries(objects)) bucket.put(`2026/${key}`, bytes);
  const context = pluginContext({
    endpoints: cloud.endpoints,
    credentials: cloud.session,
    identities: { reader: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } },
  });
  return {
    source: gcs.create(gcs.config.parse({ bucket: 'exports', prefix: '2026/', identity: 'reader' }), {
      ...context,
      use: { deletes: true },
    }),
    remove: async (key) => void bucket.delete(`2026/${key}`),
    replace: async (key, bytes) => void bucket.put(`2026/${key}`, bytes),
    [Symbol.asyncDispose]: () => cloud[Symbol.asyncDispose](),
  };
});
