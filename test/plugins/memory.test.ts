import { type MemorySink, memorySink, memorySource } from '../../plugins/memory/index.ts';
import { sinkSuite } from '../conformance/sink-suite.ts';
import { sourceSuite } from '../conformance/source-suite.ts';
import { pluginContext } from '../support.ts';

sourceSuite(
  'memory source',
  async (objects) => {
    const items = Object.fromEntries(Object.entries(objects).map(([key, bytes]) => [key, bytes.toString()]));
    return {
      source: memorySource.create({ items }, pluginContext({})),
      remove: async () => {},
      replace: async () => {},
      [Symbol.asyncDispose]: async () => {},
    };
  },
  {
    'fails with source_gone when an object vanished after it was listed':
      'its items are part of the pipeline and cannot vanish',
    'fails with source_changed when an object was replaced after it was listed':
      'its items are part of the pipeline and cannot change',
    'knows whether an item is still the one that was listed': 'its items are part of the pipeline and cannot change',
    'deletes the version that was listed, and no other': 'its items are part of the pipeline and have no versions',
  },
);

sinkSuite('memory sink', async () => {
  const sink = memorySink.create({}, pluginContext({})) as MemorySink;
  return {
    sink,
    read: async (key) => sink.objects.get(key)?.bytes,
    leftovers: async () => 0,
    [Symbol.asyncDispose]: async () => {},
  };
});
