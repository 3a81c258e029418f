import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { Transport } from '../../core/api/index.ts';
import { answering, get, KINDS, ok, rawServer, requests, sent, text, transportOf } from './world.ts';

const cases = KINDS.flatMap((kind) => [false, true].map((isSecure) => ({ kind, isSecure })));

describe.each(cases)('the transport $kind, TLS: $isSecure', ({ kind, isSecure }) => {
  const open = (): Promise<Transport> => transportOf(kind);

  it('asks and reads what is answered', async () => {
    const heads: string[] = [];
    await using server = await rawServer(
      isSecure,
      answering((head) => {
        heads.push(head);
        return ok('hello', 'X-One: a\r\nx-one: b\r\n');
      }),
    );
    using transport = await open();
    const response = await get(transport, server.origin, { path: '/a%2Fb/..?c=%20', headers: { 'x-asked': '1' } });
    expect(response.status).toBe(200);
    expect(response.headers['x-one']).toBe('a, b');
    expect(await text(response)).toBe('hello');
    expect(heads[0]).toMatch(/^GET \/a%2Fb\/\.\.\?c=%20 HTTP\/1\.1\r\n/);
    expect(heads[0]).toMatch(/x-asked: 1/);
    expect(heads[0]?.match(/host: /gi)).toHaveLength(1);
  });

  it('uses a connection again, for one request after the other', async () => {
    await using server = await rawServer(
      isSecure,
      answering((head) => ok(head.split(' ')[1] ?? '')),
    );
    using transport = await open();
    for (let number = 0; number < 20; number++)
      expect(await text(await get(transport, server.origin, { path: `/${number}` }))).toBe(`/${number}`);
    expect(server.connections()).toBe(1);
  });

  it('sends a body that is in memory, and one that is made while it is sent', async () => {
    await using server = await rawServer(
      isSecure,
      answering((_, body) => ok(body.toString('latin1'))),
    );
    using transport = await open();
    const put = { method: 'PUT', path: '/x' } as const;
    expect(await text(await get(transport, server.origin, { ...put, body: Buffer.from('whole') }))).toBe('whole');
    expect(await text(await get(transport, server.origin, { ...put, body: sent('in ', 'three ', 'pieces') }))).toBe(
      'in three pieces',
    );
    expect(await text(await get(transport, server.origin, { ...put, body: sent() }))).toBe('');
    expect(await text(await get(transport, server.origin, { ...put, body: Buffer.alloc(0) }))).toBe('');
    expect(server.connections()).toBe(1);
  });

  it.each([
    ['a shorter body than announced', { ...sent('abc'), size: 5 }, 'truncated'],
    ['a longer body than announced', { ...sent('abc', 'def'), size: 5 }, 'too_long'],
  ])('refuses %s, and the server never has it whole', async (_, body, code) => {
    const bodies: Buffer[] = [];
    await using server = await rawServer(isSecure, (socket) => requests(socket, (_head, got) => void bodies.push(got)));
    using transport = await open();
    await expect(get(transport, server.origin, { method: 'PUT', body })).rejects.toMatchObject({ code });
    expect(bodies).toEqual([]);
  });

  it('carries a body from one connection to another, byte by byte the same, in memory that is used again', async () => {
    const content = randomBytes(24 * 2 ** 20);
    await using source = await rawServer(isSecure, (socket) =>
      requests(socket, () => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${content.length}\r\n\r\n`);
        socket.write(content);
      }),
    );
    const hash = createHash('sha256');
    let stored = 0;
    await using sink = await rawServer(isSecure, (socket) => {
      let head = '';
      socket.on('data', (chunk) => {
        let body = chunk;
        if (!head.includes('\r\n\r\n')) {
          head += chunk.toString('latin1');
          body = chunk.subarray(Math.max(0, chunk.indexOf('\r\n\r\n') + 4));
        }
        // A sink that is slower than the source: what is read must wait, and not be overwritten.
        socket.pause();
        setImmediate(() => socket.resume());
        hash.update(body);
        stored += body.length;
        if (stored === content.length) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      });
    });
    using transport = await open();
    const { body } = await get(transport, source.origin, { scratch: Buffer.alloc(256 * 1024) });
    const response = await get(transport, sink.origin, {
      method: 'PUT',
      body: { size: content.length, send: (take) => body.pump(take) },
    });
    expect(response.status).toBe(200);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(content).digest('hex'));
  });

  it('takes an answer that comes with the last byte, before the sending is told that it was written', async () => {
    const size = 2 ** 20;
    await using server = await rawServer(isSecure, (socket) => {
      let came = 0;
      socket.on('data', (chunk) => {
        came += chunk.length;
        if (came > size) socket.write(ok('stored'));
      });
    });
    using transport = await open();
    const told = Promise.withResolvers<void>();
    const body = {
      size,
      // Whoever sends has still something to do when all was sent.
      async send(take: (chunk: Uint8Array) => Promise<void> | undefined) {
        await take(Buffer.alloc(size));
        await told.promise;
      },
    };
    const answer = get(transport, server.origin, { method: 'PUT', body });
    setTimeout(() => told.resolve(), 50);
    expect(await text(await answer)).toBe('stored');
  });

  it('gives copies to whoever iterates', async () => {
    const content = randomBytes(3 * 2 ** 20);
    await using server = await rawServer(isSecure, (socket) =>
      requests(socket, () => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${content.length}\r\n\r\n`);
        socket.write(content);
      }),
    );
    using transport = await open();
    const kept: Uint8Array[] = [];
    for await (const chunk of (await get(transport, server.origin, { scratch: Buffer.alloc(200_000) })).body)
      kept.push(chunk);
    expect(Buffer.concat(kept).equals(content)).toBe(true);
  });

  it('reads answers that come byte by byte, in chunks, or until the connection ends', async () => {
    const answers: Record<string, string> = {
      '/bytes': ok('slowly'),
      '/chunks':
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0A;ext="x"\r\n0123456789\r\n0\r\nx-trailer: 1\r\n\r\n',
      '/close': 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end',
    };
    await using server = await rawServer(isSecure, (socket) =>
      requests(socket, async (head) => {
        const path = head.split(' ')[1] ?? '';
        for (const byte of Buffer.from(answers[path] ?? ''))
          await new Promise<void>((resolve) => void socket.write(Uint8Array.of(byte), () => resolve()));
        if (path === '/close') socket.end();
      }),
    );
    using transport = await open();
    expect(await text(await get(transport, server.origin, { path: '/bytes' }))).toBe('slowly');
    expect(await text(await get(transport, server.origin, { path: '/chunks' }))).toBe('abc0123456789');
    expect(await text(await get(transport, server.origin, { path: '/chunks' }))).toBe('abc0123456789');
    expect(server.connections()).toBe(1);
    expect(await text(await get(transport, server.origin, { path: '/close' }))).toBe('until the end');
    expect(await text(await get(transport, server.origin, { path: '/bytes' }))).toBe('slowly');
    expect(server.connections()).toBe(2);
  });

  it('reads a long answer in chunks of every size, to its end', async () => {
    await using server = await rawServer(isSecure, (socket) =>
      requests(socket, async (head) => {
        const size = Number(/\/(\d+)/.exec(head)?.[1]);
        const write = (piece: string): Promise<void> =>
          new Promise((resolve) => void socket.write(piece, () => resolve()));
        await write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
        for (let left = 400_000; left > 0; left -= size) {
          const length = Math.min(size, left);
          await write(`${length.toString(16)}\r\n${'x'.repeat(length)}\r\n`);
        }
        await write('0\r\n\r\n');
      }),
    );
    using transport = await open();
    for (const size of [8192, 8191, 16_384, 65_536, 1000, 399_999])
      expect((await text(await get(transport, server.origin, { path: `/${size}`, idleMs: 3000 }))).length).toBe(
        400_000,
      );
  });

  it('holds to an answer that came whole, though the connection ends with it', async () => {
    await using server = await rawServer(isSecure, (socket) => {
      let came = 0;
      socket.on('data', (chunk) => {
        came += chunk.length;
        if (came > 2 ** 20) socket.end('HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\nstored');
      });
    });
    using transport = await open();
    for (let time = 0; time < 5; time++)
      expect(
        await text(await get(transport, server.origin, { method: 'PUT', body: sent(Buffer.alloc(2 ** 20)) })),
      ).toBe('stored');
  });

  it('lets a server end that takes no more after it has answered', async () => {
    await using server = await rawServer(isSecure, (socket) => {
      socket.once('data', () => {
        socket.pause();
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      });
    });
    using transport = await open();
    const body = {
      size: 2 ** 26,
      send: async (take: (chunk: Uint8Array) => unknown) => void (await take(Buffer.alloc(2 ** 26))),
    };
    const got = await get(transport, server.origin, { method: 'PUT', body, idleMs: 80 }).catch(
      (error: unknown) => error,
    );
    expect((got as { code?: string }).code ?? 'answered').toMatch(/^(answered|timeout|network|bad_response)$/);
  });

  it('opens nothing once it is closed', async () => {
    await using server = await rawServer(isSecure, answering(ok('x')));
    const transport = await open();
    transport[Symbol.dispose]();
    if (kind === 'lane') await expect(get(transport, server.origin)).rejects.toMatchObject({ code: 'stopped' });
  });

  it('passes over interim answers, and knows answers without a body', async () => {
    const interim = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx: y\r\n\r\n';
    await using server = await rawServer(
      isSecure,
      answering((head) => {
        if (head.startsWith('HEAD')) return 'HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n';
        if (head.startsWith('DELETE')) return 'HTTP/1.1 204 No Content\r\n\r\n';
        return interim + ok('after all');
      }),
    );
    using transport = await open();
    expect(await text(await get(transport, server.origin, { method: 'PUT', body: sent('x') }))).toBe('after all');
    const head = await get(transport, server.origin, { method: 'HEAD' });
    expect([head.headers['content-length'], await text(head)]).toEqual(['999', '']);
    expect((await get(transport, server.origin, { method: 'DELETE' })).status).toBe(204);
    expect(await text(await get(transport, server.origin))).toBe('after all');
  });

  it('takes an answer that comes before the body was sent, and stops sending', async () => {
    let given = 0;
    let memoryIsFree = false;
    await using server = await rawServer(isSecure, (socket) => {
      socket.once('data', () => {
        socket.pause();
        socket.write('HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\ndenied');
      });
    });
    using transport = await open();
    const response = await get(transport, server.origin, {
      method: 'PUT',
      body: {
        size: 2 ** 30,
        async send(take) {
          try {
            for (; given < 2 ** 30; given += 2 ** 20) await take(Buffer.alloc(2 ** 20));
          } finally {
            memoryIsFree = true;
          }
        },
      },
    });
    expect([response.status, await text(response)]).toEqual([403, 'denied']);
    expect(memoryIsFree).toBe(true);
    expect(given).toBeLessThan(2 ** 30);
  });

  it.each([
    ['in the head', 'HTTP/1.1 200 OK\r\ncontent-len', 'network'],
    ['in the body', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf', 'network'],
    ['in a chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab', 'network'],
    ['before anything', '', 'network'],
  ])('fails when the connection ends %s', async (_, answer, code) => {
    await using server = await rawServer(isSecure, (socket) => requests(socket, () => void socket.end(answer)));
    using transport = await open();
    await expect(get(transport, server.origin).then(text)).rejects.toMatchObject({ code });
  });

  it('gives what has come before the connection broke', async () => {
    await using server = await rawServer(isSecure, (socket) =>
      requests(socket, () => void socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf')),
    );
    using transport = await open();
    const { body } = await get(transport, server.origin);
    let came = '';
    const take = (chunk: Uint8Array): undefined => {
      came += Buffer.from(chunk).toString();
    };
    await expect(body.pump(take)).rejects.toMatchObject({
      code: 'network',
    });
    expect(came).toBe('half');
  });

  it.each([
    ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'],
    [
      'a length and chunks',
      'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n',
    ],
    ['a length that is none', 'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n'],
    ['a chunk that is none', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n'],
    ['a head without an end', `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(20_000)}`],
    ['control characters', 'HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n'],
  ])('refuses %s', async (_, answer) => {
    await using server = await rawServer(isSecure, answering(answer));
    using transport = await open();
    const failed = await get(transport, server.origin, { idleMs: 2000 })
      .then(text)
      .catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: expect.stringMatching(/^(bad_response|network)$/) });
  });

  it('lets a stall end, before an answer and within one, and lets a slow reader be', async () => {
    await using server = await rawServer(isSecure, (socket) =>
      requests(socket, (head) => {
        if (head.includes('/half')) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf');
        if (head.includes('/whole')) socket.write(ok('whole'));
      }),
    );
    using transport = await open();
    const limit = { idleMs: 60 };
    await expect(get(transport, server.origin, { ...limit, path: '/none' })).rejects.toMatchObject({ code: 'timeout' });
    await expect(get(transport, server.origin, { ...limit, path: '/half' }).then(text)).rejects.toMatchObject({
      code: 'timeout',
    });
    const { body } = await get(transport, server.origin, { ...limit, path: '/whole' });
    await expect(body.pump(() => new Promise((resolve) => void setTimeout(resolve, 200)))).resolves.toBeUndefined();
  });

  it('ends a drip', async () => {
    await using server = await rawServer(isSecure, (socket) =>
      requests(socket, () => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n');
        const timer = setInterval(() => void socket.write('x'), 10);
        socket.once('close', () => clearInterval(timer));
      }),
    );
    using transport = await open();
    const drip = get(transport, server.origin, { idleMs: 1000, dripMs: 200 }).then(text);
    await expect(drip).rejects.toMatchObject({ code: 'timeout', message: expect.stringContaining('a drip') });
  });

  it('is patient with whoever takes a body slowly', async () => {
    const size = 8 * 2 ** 20;
    await using server = await rawServer(isSecure, (socket) => {
      let came = 0;
      socket.on('data', (chunk) => {
        came += chunk.length;
        socket.pause();
        setTimeout(() => socket.resume(), 3);
        if (came > size) socket.write(ok('stored'));
      });
    });
    using transport = await open();
    const chunk = Buffer.alloc(2 ** 19);
    const body = sent(...Array.from({ length: size / chunk.length }, () => chunk));
    // Far fewer than one byte a millisecond are counted for a write: none of it is a drip.
    const answer = get(transport, server.origin, { method: 'PUT', body, idleMs: 5000, dripMs: 40 });
    expect(await text(await answer)).toBe('stored');
  });

  it('ends with its signal: before, while it waits, and while it reads', async () => {
    await using server = await rawServer(isSecure, (socket) =>
      requests(
        socket,
        (head) => void (head.includes('/half') && socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf')),
      ),
    );
    using transport = await open();
    await expect(get(transport, server.origin, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'stopped',
    });
    const waiting = new AbortController();
    const waits = get(transport, server.origin, { signal: waiting.signal });
    setImmediate(() => waiting.abort());
    await expect(waits).rejects.toMatchObject({ code: 'stopped' });
    const reading = new AbortController();
    const { body } = await get(transport, server.origin, { signal: reading.signal, path: '/half' });
    await expect(body.pump(() => void reading.abort())).rejects.toMatchObject({ code: 'stopped' });
  });

  it('sends again on a new connection what a server closed while it rested', async () => {
    await using server = await rawServer(isSecure, (socket, connection) =>
      requests(socket, () => {
        if (connection === 1) {
          socket.write(ok('first'));
          socket.removeAllListeners('data');
          socket.once('data', () => socket.destroy());
        } else socket.write(ok('again'));
      }),
    );
    using transport = await open();
    expect(await text(await get(transport, server.origin))).toBe('first');
    const second = get(transport, server.origin).then(text);
    if (kind === 'lane') expect(await second).toBe('again');
    else await expect(second).rejects.toMatchObject({ code: 'network' });
  });

  it('counts what is throttled', async () => {
    await using server = await rawServer(
      isSecure,
      answering((head) => `HTTP/1.1 ${head.split('/')[1]?.split(' ')[0]} X\r\ncontent-length: 0\r\n\r\n`),
    );
    using transport = await open();
    for (const status of [200, 429, 503, 500])
      (await get(transport, server.origin, { path: `/${status}` })).body.discard();
    expect(transport.traffic.throttled).toBe(2);
  });

  it('tells what a name that is not known, and a port where nobody listens, are', async () => {
    using transport = await open();
    const scheme = isSecure ? 'https' : 'http';
    await expect(get(transport, `${scheme}://no-such-host.invalid`)).rejects.toMatchObject({ code: 'network' });
    await expect(get(transport, `${scheme}://127.0.0.1:9`)).rejects.toMatchObject({
      code: 'network',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  it('reaches a server that has only IPv6', async () => {
    await using server = await rawServer(isSecure, answering(ok('six')), '::1');
    using transport = await open();
    expect(await text(await get(transport, server.origin))).toBe('six');
  });

  it('refuses a header that would end its line', async () => {
    await using server = await rawServer(isSecure, answering(ok('')));
    using transport = await open();
    await expect(get(transport, server.origin, { headers: { x: 'a\r\nhost: other' } })).rejects.toThrow();
    await expect(get(transport, server.origin, { path: '/ HTTP/1.1\r\nx: y' })).rejects.toThrow();
    // Characters whose lower half would end the line.
    await expect(get(transport, server.origin, { headers: { x: 'a\u010d\u010ab: c' } })).rejects.toThrow();
    await expect(get(transport, server.origin, { headers: { 'x: y\r\nz': 'a' } })).rejects.toThrow();
    expect(server.connections()).toBe(0);
  });

  it('closes its connections with it', async () => {
    const closed = Promise.withResolvers<void>();
    await using server = await rawServer(isSecure, (socket) => {
      socket.once('close', () => closed.resolve());
      requests(socket, () => void socket.write(ok('x')));
    });
    {
      using transport = await open();
      await text(await get(transport, server.origin));
    }
    await closed.promise;
    expect(server.connections()).toBe(1);
  });
});

describe('TLS', () => {
  it.each(KINDS)('%s trusts no certificate that nobody vouches for', async (kind) => {
    await using server = await rawServer(true, answering(ok('')));
    const { HttpsTransport } = await import('../../core/transport/https.ts');
    const { Lanes } = await import('../../core/transport/lanes.ts');
    using transport = kind === 'lane' ? new Lanes() : new HttpsTransport();
    await expect(get(transport, server.origin)).rejects.toMatchObject({ code: 'network' });
    expect(once).toBeDefined();
  });
});
