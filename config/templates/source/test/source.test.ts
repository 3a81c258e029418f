import { createSource, sourceSuite } from 'isthmus/testing';
import { __EXPORT__ } from '../src/index.ts';
import { startStore } from './store.ts';

sourceSuite('__NAME__', async (objects) => {
  const store = await startStore(objects);
  return {
    source: createSource(__EXPORT__, { url: store.url }),
    remove: async (key) => store.remove(key),
    replace: async (key, bytes) => store.put(key, bytes),
    [Symbol.asyncDispose]: store.close,
  };
});
