import { createSink, sinkSuite } from 'isthmus/testing';
import { __EXPORT__ } from '../src/index.ts';
import { startStore } from './store.ts';

sinkSuite('__NAME__', async () => {
  const store = await startStore();
  return {
    sink: createSink(__EXPORT__, { url: store.url }),
    read: async (key) => store.read(key),
    leftovers: async () => store.uploads(),
    [Symbol.asyncDispose]: store.close,
  };
});
