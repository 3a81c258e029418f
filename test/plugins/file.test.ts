import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FairMemoryBudget } from '../../core/engine/memory.ts';
import { fileSink, fileSource } from '../../plugins/file/index.ts';
import { runContext } from '../conformance/run-context.ts';
import { bytes, sinkSuite } from '../conformance/sink-suite.ts';
import { sourceSuite } from '../conformance/source-suite.ts';
import { pluginContext, temporaryFolder } from '../support.ts';

async function fill(root: string, key: string, content: Buffer): Promise<void> {
  await mkdir(dirname(join(root, key)), { recursive: true });
  await writeFile(join(root, key), content);
}

sourceSuite('file source', async (objects) => {
  const folder = await temporaryFolder();
  for (const [key, content] of Object.entries(objects)) await fill(folder.path, key, content);
  return {
    source: fileSource.create({ path: folder.path }, pluginContext({})),
    remove: (key) => rm(join(folder.path, key)),
    replace: (key, content) => fill(folder.path, key, content),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
});

sinkSuite('file sink', async () => {
  const folder = await temporaryFolder();
  return {
    sink: fileSink.create({ path: folder.path }, pluginContext({})),
    read: (key) => readFile(join(folder.path, key)).catch(() => undefined),
    leftovers: async () =>
      (await readdir(folder.path, { recursive: true })).filter((name) => name.endsWith('.isthmus-part')).length,
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
});

describe('file source', () => {
  it.each(['../secret', 'a/../../secret', '/etc/hostname', ''])(
    'reads nothing outside of its folder, whatever a plan or a dead letter says: %j',
    async (name) => {
      await using place = await temporaryFolder();
      await fill(place.path, 'secret', Buffer.from('secret'));
      await fill(place.path, 'in/a', Buffer.from('a'));
      const source = fileSource.create({ path: join(place.path, 'in') }, pluginContext({}));
      const { signal } = new AbortController();
      const [item] = await Array.fromAsync(source.list({ signal, run: runContext() }));
      const forged = { ...item, ref: { ...(item?.ref as object), name } } as never;
      await expect(source.open(forged, { signal })).rejects.toMatchObject({ code: 'key_refused' });
      await expect(source.stat?.(forged, { signal })).rejects.toMatchObject({ code: 'key_refused' });
      await expect(source.remove?.(forged, { signal })).rejects.toMatchObject({ code: 'key_refused' });
      expect((await readdir(place.path)).sort()).toEqual(['in', 'secret']);
    },
  );
});

describe('file sink', () => {
  it('does not follow a link out of its folder', async () => {
    await using outside = await temporaryFolder();
    await using folder = await temporaryFolder();
    await symlink(outside.path, join(folder.path, 'link'));
    const sink = fileSink.create({ path: folder.path }, pluginContext({}));
    const { item, content } = bytes('link/escaped', Buffer.from('x'));
    const options = {
      signal: new AbortController().signal,
      memory: new FairMemoryBudget(1024),
      expected: 'absent',
    } as const;
    await expect(sink.write(item, content, options)).rejects.toMatchObject({ code: 'key_refused' });
    expect(await readdir(outside.path)).toEqual([]);
  });

  it('makes no folder behind such a link either', async () => {
    await using outside = await temporaryFolder();
    await using folder = await temporaryFolder();
    await symlink(outside.path, join(folder.path, 'link'));
    const sink = fileSink.create({ path: folder.path }, pluginContext({}));
    const { item, content } = bytes('link/new/escaped', Buffer.from('x'));
    const options = { signal: new AbortController().signal, memory: new FairMemoryBudget(1024), expected: undefined };
    await expect(sink.write(item, content, options)).rejects.toMatchObject({ code: 'key_refused' });
    expect(await readdir(outside.path)).toEqual([]);
  });
});

describe('file sink, with two writes of one name at once', () => {
  it('stores one of them, and refuses the other by name', async () => {
    await using folder = await temporaryFolder();
    const sink = fileSink.create({ path: folder.path }, pluginContext({}));
    const options = {
      signal: new AbortController().signal,
      memory: new FairMemoryBudget(1024),
      expected: 'absent',
    } as const;
    const writes = await Promise.allSettled(
      ['one', 'two', 'three'].map((text) => {
        const { item, content } = bytes('same', Buffer.from(text));
        return sink.write(item, content, options);
      }),
    );
    expect(writes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const write of writes)
      if (write.status === 'rejected') expect(write.reason).toMatchObject({ code: 'conflict' });
    expect(await readdir(folder.path)).toEqual(['same']);
  });
});

describe('file sink, when it cannot write', () => {
  const write = async (path: string, key: string) => {
    const sink = fileSink.create({ path }, pluginContext({}));
    const { item, content } = bytes(key, Buffer.from('x'));
    const options = { signal: new AbortController().signal, memory: new FairMemoryBudget(1024), expected: undefined };
    return sink.write(item, content, options);
  };

  it('says so for a folder that cannot be made, without building its parents', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'a'), 'x');
    await expect(write(join(folder.path, 'a'), 'k')).rejects.toThrow(/it is a file/);
    await expect(write(join(folder.path, 'no', 'where'), 'k')).rejects.toThrow(/parent folder does not exist/);
    await expect(write('/proc/nope/x', 'k')).rejects.toMatchObject({ code: 'bucket_missing' });
  });

  it('refuses a name that a folder has', async () => {
    await using folder = await temporaryFolder();
    await mkdir(join(folder.path, 'k'));
    await expect(write(folder.path, 'k')).rejects.toMatchObject({ code: 'key_refused' });
    expect(await readdir(folder.path)).toEqual(['k']);
  });
});

describe('file source', () => {
  const list = async (path: string) => {
    const source = fileSource.create({ path }, pluginContext({}));
    const signal = new AbortController().signal;
    const run = runContext();
    return { source, signal, items: await Array.fromAsync(source.list({ signal, run })) };
  };

  it('lists what it cannot carry, so that it is in the report', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'a'), 'x');
    await symlink('/etc/hostname', join(folder.path, 'link'));
    await writeFile(Buffer.concat([Buffer.from(`${folder.path}/caf`), Buffer.from([0xe9])]), 'x');
    const { items } = await list(folder.path);
    expect(items.map(({ problem }) => problem?.code)).toEqual([undefined, 'key_refused', 'key_refused']);
  });

  it('does not take a file that is rewritten while it is read for one version of it', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'a');
    await writeFile(path, Buffer.alloc(2_000_000, 'A'));
    const { source, signal, items } = await list(folder.path);
    const [item] = items;
    if (item === undefined) throw new Error('nothing listed');
    const read = async (): Promise<void> => {
      let first = true;
      for await (const _ of await source.open(item, { signal })) {
        if (first) await writeFile(path, Buffer.alloc(2_000_000, 'B'));
        first = false;
      }
    };
    await expect(read()).rejects.toMatchObject({ code: 'source_changed' });
  });
});
