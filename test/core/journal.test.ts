import { expect, it } from 'vitest';
import { Crc32cPool } from '../../core/engine/crc32c.ts';
import { Journal } from '../../core/engine/journal.ts';
import { FairMemoryBudget } from '../../core/engine/memory.ts';
import { MemorySink } from '../../plugins/memory/index.ts';

const never = new AbortController().signal;

it('a journal loses no line that is added while others are written, and none of a write that failed', async () => {
  const sink = new MemorySink();
  const write = sink.write.bind(sink);
  let fails = 1;
  sink.write = async (...args) => {
    if (fails-- > 0) throw new Error('not now');
    await new Promise((resolve) => setImmediate(resolve));
    return write(...args);
  };
  const journal = new Journal({
    sink,
    folder: 'j/',
    ending: '.receipts.jsonl',
    header: { isthmus: 'receipts' },
    chained: true,
    memory: new FairMemoryBudget(2 ** 20),
    hashers: new Crc32cPool(),
    retry: { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 },
    now: Date.now,
  });
  journal.add({ line: 1 });
  await expect(journal.flush(never)).rejects.toThrow();
  const flushing = [2, 3, 4].map((line) => {
    journal.add({ line });
    return journal.flush(never);
  });
  await new Promise((resolve) => setImmediate(resolve));
  journal.add({ line: 5 });
  await Promise.all([...flushing, journal.flush(never)]);
  const text = [...sink.objects.values()].map(({ bytes }) => Buffer.from(bytes).toString()).join('');
  expect([...text.matchAll(/"line":(\d)/g)].map(([, line]) => line)).toEqual(['1', '2', '3', '4', '5']);
  expect(journal.kept).toMatchObject({ lines: 5 });
});
