import type { Content, Item, Sink, Source } from '../../core/api/index.ts';
import type { Job } from '../../core/engine/job.ts';
import { MemoryState } from '../../core/state/memory.ts';
import { MemorySink, memorySource } from '../../plugins/memory/index.ts';
import { pluginContext } from '../support.ts';

export const sourceOf = (items: Record<string, string>): Source => memorySource.create({ items }, pluginContext({}));
export const numbered = (count: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${String(n).padStart(4, '0')}`, `value ${n}`]));

export function job(options: Partial<Job>): Job {
  return {
    pipeline: 'p',
    fingerprint: 'f',
    sources: [sourceOf({ a: '1', b: '2' })],
    sinks: [new MemorySink()],
    compare: 'checksum',
    concurrency: 4,
    memory: 2 ** 20,
    retry: { attempts: 3, baseDelayMs: 1, maxDelayMs: 2 },
    state: new MemoryState(),
    lasts: 'process',
    ...options,
  };
}

/** A sink whose writes do what a test wants. */
export function sinkThat(
  write: (item: Item, content: Content) => Promise<void>,
): Sink & { readonly inner: MemorySink } {
  const inner = new MemorySink();
  return {
    inner,
    location: 'test:',
    list: (options) => inner.list(options),
    stat: (key) => inner.stat(key),
    write: async (item, content, options) => {
      await write(item, content);
      return inner.write(item, content, options);
    },
  };
}

export const RECEIPT = {
  key: 'k',
  id: 'i',
  source: 0,
  sink: 0,
  reason: 'r',
  bytes: 0,
  attempts: 1,
  durationMs: 1,
} as const;
