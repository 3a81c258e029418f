import { readdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FileState } from '../../core/state/file.ts';
import { MemoryState } from '../../core/state/memory.ts';
import { stateSuite } from '../conformance/state-suite.ts';
import { temporaryFolder } from '../support.ts';

stateSuite('memory state', async () => ({ store: new MemoryState(), [Symbol.asyncDispose]: async () => {} }));

stateSuite('file state', async () => {
  const folder = await temporaryFolder();
  return {
    store: new FileState(join(folder.path, 'state')),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
});

describe('file state', () => {
  const options = { signal: new AbortController().signal };

  it('refuses a file that was cut off, and never begins from zero silently', async () => {
    await using folder = await temporaryFolder();
    const store = new FileState(folder.path);
    await store.save('p', { cursor: 'a' }, undefined, options);
    await writeFile(join(folder.path, 'p.json'), '{"savedBy":"x","val');
    await expect(store.load('p')).rejects.toMatchObject({ code: 'state_unreadable' });
  });

  it('can be reset although it cannot be read', async () => {
    await using folder = await temporaryFolder();
    const store = new FileState(folder.path);
    await writeFile(join(folder.path, 'p.json'), 'cut o');
    await store.reset('p', options);
    expect(await store.load('p')).toBeUndefined();
    expect(await readdir(folder.path)).toEqual([]);
  });

  it('leaves no temporary file or lock behind', async () => {
    await using folder = await temporaryFolder();
    const store = new FileState(folder.path);
    const seen = await store.save('p', 1, undefined, options);
    await store.save('p', 2, seen, options);
    expect(await readdir(folder.path)).toEqual(['p.json']);
  });

  it('takes over a lock that a dead process left', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'p.json.lock'), '');
    const store = new FileState(folder.path, () => Date.now() + 60_000);
    await store.save('p', 1, undefined, options);
    expect((await store.load('p'))?.value).toBe(1);
  });

  it('takes over at once the lock of a process of this machine that is no more, and waits for one that is', async () => {
    await using folder = await temporaryFolder();
    const store = new FileState(folder.path);
    const lock = join(folder.path, 'p.json.lock');
    // No process has this number: the kernel gives out none so high.
    await writeFile(lock, `${hostname()} 4194305 x`);
    await store.save('p', 1, undefined, options);
    await writeFile(lock, `${hostname()} ${process.pid} x`);
    const stopped = new AbortController();
    const waiting = store.save('p', 2, undefined, { signal: stopped.signal });
    stopped.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'stopped' });
    await writeFile(lock, 'another-machine 4194305 x');
    await expect(store.save('p', 2, undefined, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'stopped',
    });
  });
});
