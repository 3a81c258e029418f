import { describe, expect, it } from 'vitest';
import { BrokerError } from '../../core/api/index.ts';
import { CachedCredential, CredentialCache, type Expiring } from '../../core/auth/cached.ts';

const LIFE = 1_000_000;

/** A credential of which each fetch yields the next number, on a clock that the test moves. */
function numbered(life = LIFE) {
  let now = 1_000_000;
  let fetched = 0;
  let fault: BrokerError | undefined;
  const cached = new CachedCredential<number>(() => now, { random: () => 0 });
  const fetch = async (): Promise<Expiring<number>> => {
    fetched++;
    if (fault !== undefined) throw fault;
    return { value: fetched, expiresAt: now + life };
  };
  return {
    get: (options = {}) => cached.get(fetch, options),
    pass: (ms: number) => {
      now += ms;
    },
    fail: (error?: BrokerError) => {
      fault = error;
    },
    fetched: () => fetched,
  };
}

const settled = (): Promise<void> => new Promise(setImmediate);
const down = (retryAfterMs?: number): BrokerError =>
  new BrokerError('throttled', 'down', retryAfterMs === undefined ? {} : { retryAfterMs });

describe('a cached credential', () => {
  it('is fetched once for a thousand callers', async () => {
    const { get, fetched } = numbered();
    const all = await Promise.all(Array.from({ length: 1000 }, () => get()));
    expect(new Set(all)).toEqual(new Set([1]));
    expect(fetched()).toBe(1);
  });

  it('is renewed in the background in the last fifth of its life', async () => {
    const { get, pass, fetched } = numbered();
    expect(await get()).toBe(1);
    pass(800_001);
    expect(await get()).toBe(1);
    await settled();
    expect(fetched()).toBe(2);
    expect(await get()).toBe(2);
  });

  it('is served while it is good although its renewal fails, and not longer', async () => {
    const { get, pass, fail } = numbered();
    await get();
    fail(down());
    pass(900_000);
    expect(await get()).toBe(1);
    await settled();
    pass(80_000);
    await expect(get()).rejects.toThrow('down');
  });

  it('is not asked for again by every caller while the service is down', async () => {
    const { get, pass, fail, fetched } = numbered();
    await get();
    fail(down());
    pass(850_000);
    for (let caller = 0; caller < 100; caller++) {
      await get();
      await settled();
    }
    expect(fetched()).toBe(2);
    pass(1001);
    await get();
    await settled();
    expect(fetched()).toBe(3);
  });

  it('is not asked for before the time that the service named', async () => {
    const { get, pass, fail, fetched } = numbered();
    fail(down(30_000));
    await expect(get()).rejects.toThrow('down');
    pass(29_999);
    await expect(get()).rejects.toThrow('down');
    expect(fetched()).toBe(1);
    fail();
    pass(2);
    expect(await get()).toBe(2);
  });

  it('that lives for a minute only is used for its first half', async () => {
    const { get, pass } = numbered(60_000);
    expect(await get()).toBe(1);
    pass(29_000);
    expect(await get()).toBe(1);
    pass(2000);
    expect(await get()).toBe(2);
  });

  it('is fetched anew after a freeze that outlived it', async () => {
    const { get, pass } = numbered();
    expect(await get()).toBe(1);
    pass(10 * LIFE);
    expect(await get()).toBe(2);
  });

  it('is fetched anew when the caller needs it for longer, or fresh', async () => {
    const { get, pass } = numbered();
    await get();
    pass(500_000);
    expect(await get({ minTtlMs: 600_000 })).toBe(2);
    expect(await get({ fresh: true })).toBe(3);
  });

  it('that has ended when it arrives is refused', async () => {
    const { get } = numbered(0);
    await expect(get()).rejects.toMatchObject({ code: 'bad_response' });
  });

  it('asked for fresh is not fetched more often than the service bears', async () => {
    const { get, fail, fetched } = numbered();
    await get();
    fail(down(30_000));
    await expect(get({ fresh: true })).rejects.toThrow('down');
    await expect(get({ fresh: true })).rejects.toThrow('down');
    expect(fetched()).toBe(2);
  });

  it('that a service does not deliver in time is late, and nobody stopped the run', async () => {
    const cached = new CachedCredential<number>(Date.now, { deadlineMs: 20 });
    const hangs = (signal: AbortSignal) =>
      new Promise<Expiring<number>>((_, reject) => {
        signal.addEventListener('abort', () => reject(new BrokerError('stopped', 'the run was stopped')));
      });
    await expect(cached.get(hangs)).rejects.toMatchObject({ code: 'timeout', next: 'retry' });
  });

  it('whose renewal was frozen with the process is fetched anew after the thaw', async () => {
    let now = 1_000_000;
    const cached = new CachedCredential<string>(() => now);
    const frozen = cached.get(() => new Promise<Expiring<string>>(() => {}));
    now += 3_600_000;
    expect(await cached.get(async () => ({ value: 'thawed', expiresAt: now + LIFE }))).toBe('thawed');
    void frozen;
  });

  it('is asked for again after five minutes, however long a server says', async () => {
    const { get, pass, fail } = numbered();
    fail(down(999_999_999_000));
    await expect(get()).rejects.toThrow('down');
    fail();
    pass(300_001);
    expect(await get()).toBe(2);
  });

  it('that is refused again and again is not exchanged each time', async () => {
    const { get, fetched } = numbered();
    await get();
    for (let refusal = 0; refusal < 50; refusal++) await get({ fresh: true });
    expect(fetched()).toBe(2);
  });

  it('lets a waiting caller leave without ending the request of the others', async () => {
    const { promise, resolve } = Promise.withResolvers<Expiring<string>>();
    const cached = new CachedCredential<string>(Date.now);
    const leaving = new AbortController();
    const left = cached.get(() => promise, { signal: leaving.signal });
    const stays = cached.get(() => promise);
    leaving.abort();
    await expect(left).rejects.toMatchObject({ code: 'stopped' });
    resolve({ value: 'token', expiresAt: Date.now() + 3_600_000 });
    expect(await stays).toBe('token');
  });
});

it('a cache gives the same credential for the same key only', () => {
  const cache = new CredentialCache(Date.now);
  expect(cache.entry('a')).toBe(cache.entry('a'));
  expect(cache.entry('a')).not.toBe(cache.entry('b'));
});
