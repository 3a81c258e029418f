import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { defineSink, defineSource, defineStep, type Sink, type Source, z } from '../../core/api/index.ts';
import { FairMemoryBudget } from '../../core/engine/memory.ts';
import { guarded } from '../../core/guard/definition.ts';
import { bytes } from '../conformance/sink-suite.ts';
import { pluginContext } from '../support.ts';

const never = new AbortController().signal;
const config = z.strictObject({});
const item = { id: 'x:a', key: 'a', ref: null };
const anHour = () => vi.advanceTimersByTimeAsync(3_600_000);

const source = (more: Partial<Source>): Source => {
  const create = () => ({ location: 'x:', async *list() {}, open: async () => [] as never, ...more });
  const definition = defineSource({ name: 'own', summary: 's', config, create });
  return (guarded(definition, './own.js') as typeof definition).create({}, pluginContext({})) as Source;
};
const sink = (write: Sink['write']): Sink => {
  const definition = defineSink({ name: 'own', summary: 's', config, create: () => ({ location: 'x:', write }) });
  return (guarded(definition, './own.js') as typeof definition).create({}, pluginContext({})) as Sink;
};

describe('a plugin that is not ours', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
  afterEach(() => void vi.useRealTimers());

  it('may be frozen, and may be an object of a class with private fields', async () => {
    class Own implements Source {
      readonly #items = [item];
      readonly location = 'own:';
      async *list() {
        yield* this.#items;
      }
      async open() {
        return [] as never;
      }
      get portable() {
        return this.#items.length > 0;
      }
    }
    for (const create of [() => new Own(), () => Object.freeze(new Own())]) {
      const definition = defineSource({ name: 'own', summary: 's', config, create });
      const made = (guarded(definition, './own.js') as typeof definition).create({}, pluginContext({})) as Source;
      expect([made.location, made.portable]).toEqual(['own:', true]);
      expect(await Array.fromAsync(made.list({ signal: never, run: {} as never }))).toEqual([item]);
      expect('list' in made && !('stat' in made)).toBe(true);
    }
  });

  it('that throws where it should answer is named all the same', async () => {
    const throwing = source({
      list: () => {
        throw new Error('at once');
      },
    });
    expect(() => throwing.list({ signal: never, run: {} as never })).toThrow(
      'plugin "own" (./own.js): list: Error: at once',
    );
  });

  it.each([
    [
      { byte: async function* () {} },
      'a step has no byte: keys, repeats, beside, from, leaves, changes, describe, bytes',
    ],
    [{ changes: true }, 'changes of the step is no function'],
  ])('that is a step with a typing mistake is refused: %j', (step, message) => {
    const definition = defineStep({ name: 'own', summary: 's', config, create: () => step as never });
    const create = () => (guarded(definition, './own.js') as typeof definition).create({}, pluginContext({}));
    expect(create).toThrow(message);
  });

  it('that says nothing for too long is given up, by name', async () => {
    const silent = source({ open: () => new Promise(() => {}) });
    const told = expect(silent.open(item, { signal: never })).rejects.toMatchObject({
      code: 'plugin_failed',
      message: expect.stringContaining('plugin "own" (./own.js): open x:a: nothing was heard of it for 600 s'),
    });
    await anHour();
    await told;
  });

  it('that was given up writes nothing any more, and what it opens late is closed', async () => {
    let late: ((chunk: Uint8Array) => unknown) | undefined;
    let arrive: ((stream: never) => void) | undefined;
    let closed = false;
    const taken: number[] = [];
    const deaf = source({
      open: (_, options) => {
        expect(options).not.toHaveProperty('scratch');
        if (late !== undefined) return new Promise((resolve) => (arrive = resolve));
        return Promise.resolve({
          async *[Symbol.asyncIterator]() {},
          pump: (take) => {
            late = take;
            return new Promise(() => {});
          },
        });
      },
    });
    const stream = await deaf.open(item, { signal: never, scratch: Buffer.alloc(8) });
    const pumped = stream.pump?.((chunk) => void taken.push(chunk.byteLength)) ?? Promise.resolve();
    const told = expect(pumped).rejects.toMatchObject({ code: 'plugin_failed' });
    await anHour();
    await told;
    expect(() => late?.(Buffer.from('late'))).toThrow('goes on after its end');
    expect(taken).toEqual([]);
    const opening = expect(deaf.open(item, { signal: never })).rejects.toMatchObject({ code: 'plugin_failed' });
    await anHour();
    await opening;
    const iterator = {
      next: async () => ({ done: true as const, value: undefined }),
      return: async () => {
        closed = true;
        return { done: true as const, value: undefined };
      },
    };
    arrive?.({ [Symbol.asyncIterator]: () => iterator } as never);
    await anHour();
    expect(closed).toBe(true);
  });

  it('that does not heed the signal is left behind', async () => {
    const deaf = source({ open: () => new Promise(() => {}) });
    const told = expect(deaf.open(item, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'stopped' });
    await anHour();
    await told;
  });

  it('is not silent while it waits for memory', async () => {
    const memory = new FairMemoryBudget(100);
    const held = await memory.lease(100, never);
    const patient = sink(async (_, __, options) => {
      using _lease = await options.memory.lease(50, options.signal);
      return { location: 'x:a', size: 1 };
    });
    const { item: one, content } = bytes('a', Buffer.from('x'));
    const written = patient.write(one, content, { signal: never, memory, expected: undefined });
    await anHour();
    held[Symbol.dispose]();
    expect(await written).toMatchObject({ size: 1 });
  });

  it('is not silent while what it pumps is not taken', async () => {
    const pumping = source({
      open: async () => ({
        async *[Symbol.asyncIterator]() {},
        pump: async (take) => {
          await take(Buffer.from('a'));
          await take(Buffer.from('b'));
        },
      }),
    });
    const taken: string[] = [];
    const stream = await pumping.open(item, { signal: never });
    await stream.pump?.(async (chunk) => {
      await anHour();
      taken.push(Buffer.from(chunk).toString());
    });
    expect(taken).toEqual(['a', 'b']);
  });

  it('is not silent while it takes content from a slow source', async () => {
    const taking = sink(async (_, content) => {
      let size = 0;
      for await (const chunk of await content.open()) size += chunk.byteLength;
      return { location: 'x:a', size };
    });
    const { item: one } = bytes('a', Buffer.alloc(8));
    const slow = {
      open: async () =>
        Object.assign(
          (async function* () {
            for (let n = 0; n < 8; n++) {
              await anHour();
              yield Buffer.alloc(1);
            }
          })(),
          { crc32c: () => 'AAAAAA==' },
        ),
    };
    const memory = new FairMemoryBudget(100);
    expect(
      await taking.write({ ...one, size: 8 }, slow as never, { signal: never, memory, expected: undefined }),
    ).toMatchObject({ size: 8 });
  });
});
