import assert from 'node:assert/strict';
import { BrokerError, type StateStore } from '../../core/api/index.ts';
import { type Exceptions, register } from './register.ts';

export interface StateFixture extends AsyncDisposable {
  readonly store: StateStore;
}

const options = { signal: new AbortController().signal };
const conflict = (error: unknown) => error instanceof BrokerError && error.code === 'state_conflict';

/** What every state store promises. @param make builds an empty store; called once for each case. */
export function stateSuite(name: string, make: () => Promise<StateFixture>, exceptions: Exceptions = {}): void {
  const withStore = (work: (store: StateStore) => Promise<void>) => async () => {
    await using fixture = await make();
    await work(fixture.store);
  };
  register(
    name,
    {
      'has nothing under a new key': withStore(async (store) => {
        assert.equal(await store.load('p', options), undefined);
      }),
      'gives back what was saved, and its revision': withStore(async (store) => {
        const value = { cursor: 'ünï\n/\u{1f600}', list: [1, null, true] };
        const revision = await store.save('p', value, undefined, options);
        assert.deepEqual(await store.load('p', options), { value, revision });
      }),
      'keeps keys apart': withStore(async (store) => {
        await store.save('a', 1, undefined, options);
        await store.save('b/../a', 2, undefined, options);
        assert.equal((await store.load('a', options))?.value, 1);
      }),
      'replaces only the revision that was seen': withStore(async (store) => {
        const first = await store.save('p', 1, undefined, options);
        const second = await store.save('p', 2, first, options);
        assert.notEqual(first, second);
        await assert.rejects(store.save('p', 3, first, options), conflict);
        await assert.rejects(store.save('p', 3, undefined, options), conflict);
        assert.equal((await store.load('p', options))?.value, 2);
      }),
      'has a new revision for an equal value': withStore(async (store) => {
        const first = await store.save('p', 1, undefined, options);
        assert.notEqual(await store.save('p', 1, first, options), first);
      }),
      'lets one of many writers win': withStore(async (store) => {
        const seen = await store.save('p', 0, undefined, options);
        const results = await Promise.allSettled(
          Array.from({ length: 16 }, (_, n) => store.save('p', n + 1, seen, options)),
        );
        assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1);
      }),
      'deletes only the revision that was seen': withStore(async (store) => {
        const first = await store.save('p', 1, undefined, options);
        const second = await store.save('p', 2, first, options);
        await assert.rejects(store.delete('p', first, options), conflict);
        await store.delete('p', second, options);
        assert.equal(await store.load('p', options), undefined);
      }),
    },
    exceptions,
  );
}
