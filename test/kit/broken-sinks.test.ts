import { describe, expect, it } from 'vitest';
import { defineSink, type ListOptions, type Source, z } from '../../core/api/index.ts';
import { run } from '../../core/engine/run.ts';
import { guarded } from '../../core/guard/definition.ts';
import { MemorySink } from '../../plugins/memory/index.ts';
import { crc32c } from '../cloud/body.ts';
import { within } from '../conformance/register.ts';
import { sinkCases } from '../conformance/sink-suite.ts';
import { job, sourceOf } from '../core/job.ts';
import { pluginContext, testRuntime } from '../support.ts';
import { BROKEN_SINKS, type BrokenSink } from './broken-sinks.ts';

/** What the case of the suite says of a sink. */
async function failing(make: () => MemorySink, found: string): Promise<unknown> {
  const cases = sinkCases(async () => {
    const sink = make();
    return {
      sink,
      read: async (key) => sink.objects.get(key)?.bytes,
      leftovers: async () => 0,
      [Symbol.asyncDispose]: async () => {},
    };
  });
  const one = cases[found];
  if (one === undefined) throw new Error(`no such case: ${found}`);
  return within(one, 5000).then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** A source that publishes a checksum. */
function published(): Source {
  const source = sourceOf({ a: '1' });
  const list = source.list.bind(source);
  return Object.assign(source, {
    async *list(options: ListOptions) {
      for await (const item of list(options)) yield { ...item, checksums: { crc32c: crc32c(Buffer.from('1')) } };
    },
  });
}

/** A run with it, as a plugin that is not ours. */
async function said(make: () => MemorySink): Promise<string> {
  const definition = defineSink({ name: 'broken', summary: 's', config: z.strictObject({}), create: make });
  const sink = (guarded(definition, './broken.js') as typeof definition).create({}, pluginContext({}));
  const { outcome, failures } = await run(job({ sources: [published()], sinks: [sink] }), { runtime: testRuntime() });
  return [outcome, ...failures.map(({ code, message }) => `${code}: ${message}`)].join('\n');
}

describe('a sink that is broken', () => {
  it.each(BROKEN_SINKS)('is found by the suite: $wrong', async ({ make, found }) => {
    expect(await failing(make, found)).toBeDefined();
  });

  it('and none is found in the good one', async () => {
    for (const { found } of BROKEN_SINKS) expect(await failing(() => new MemorySink(), found), found).toBeUndefined();
  });

  it.each(BROKEN_SINKS.filter((one): one is BrokenSink & { says: RegExp } => one.says !== undefined))(
    'is named in a run: $wrong',
    async ({ make, says }) => expect(await said(make)).toMatch(says),
  );

  it.each(BROKEN_SINKS.filter(({ says }) => says === undefined))(
    'says nothing in a run that goes well: $wrong',
    async ({ make }) => expect(await said(make)).toBe('complete'),
  );
});
