import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BrokerError } from '../../core/api/index.ts';
import { temporaryFolder } from '../support.ts';
import { answering, certificate, get, ok, rawServer, requests, text, transportOf } from './world.ts';

const BODY = 'the body of this answer, '.repeat(40);
const half = BODY.length >> 1;
const hex = (value: number): string => value.toString(16);
const ANSWERS = [
  ok(BODY, 'etag: "x"\r\n'),
  `HTTP/1.1 100 Continue\r\n\r\n${ok(BODY)}`,
  `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${hex(half)}\r\n${BODY.slice(0, half)}\r\n${hex(BODY.length - half)}\r\n${BODY.slice(half)}\r\n0\r\n\r\n`,
];

/** An answer with some of its bytes changed, taken out or put in, and cut into pieces anywhere. */
const damaged = fc.record({
  answer: fc.constantFrom(...ANSWERS),
  changes: fc.array(
    fc.record({
      at: fc.double({ min: 0, max: 0.999, noNaN: true }),
      take: fc.integer({ min: 0, max: 3 }),
      put: fc.constantFrom(
        '',
        '\r\n',
        '\r',
        '\n',
        ':',
        '0',
        '-',
        '\0',
        'é',
        ' ',
        'ffffffffffff',
        'content-length: 3\r\n',
      ),
    }),
    { maxLength: 4 },
  ),
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }),
});

describe.each([false, true])('a hostile server, TLS: %s', (isSecure) => {
  it('is read as it is meant, or refused; never otherwise, and never waited for without end', async () => {
    let script = { answer: Buffer.alloc(0), cuts: [] as number[] };
    await using server = await rawServer(isSecure, (socket) =>
      requests(socket, async () => {
        let at = 0;
        for (const cut of [...script.cuts, script.answer.length]) {
          const piece = script.answer.subarray(at, cut);
          at = Math.max(at, cut);
          if (piece.length > 0) await new Promise<void>((resolve) => void socket.write(piece, () => resolve()));
        }
        socket.end();
      }),
    );
    await fc.assert(
      fc.asyncProperty(damaged, async ({ answer, changes, cuts }) => {
        let bytes = answer;
        for (const { at, take, put } of changes) {
          const place = Math.floor(at * bytes.length);
          bytes = bytes.slice(0, place) + put + bytes.slice(place + take);
        }
        const sent = Buffer.from(bytes, 'latin1');
        script = { answer: sent, cuts: cuts.map((cut) => Math.floor(cut * sent.length)).sort((a, b) => a - b) };
        using transport = await transportOf('lane');
        const got = await get(transport, server.origin, { idleMs: 2000, scratch: Buffer.alloc(300) })
          .then(text)
          .catch((error: unknown) => error);
        if (got instanceof Error) expect(got).toBeInstanceOf(BrokerError);
        if (bytes === answer) expect(got).toBe(BODY);
      }),
      { numRuns: 300 },
    );
  });

  it('that sends more than it announced has nothing stored of it', async () => {
    await using server = await rawServer(
      isSecure,
      answering(`HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfour and more`),
    );
    using transport = await transportOf('lane');
    await expect(get(transport, server.origin).then(text)).rejects.toMatchObject({ code: 'bad_response' });
  });

  it('that sends something behind the last chunk has it taken for nobody else', async () => {
    const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n';
    await using server = await rawServer(isSecure, (socket, connection) =>
      requests(socket, () => void socket.write(connection === 1 ? chunked + ok('forged') : ok('two'))),
    );
    using transport = await transportOf('lane');
    expect(await text(await get(transport, server.origin))).toBe('one');
    expect(await text(await get(transport, server.origin))).toBe('two');
  });

  it('that speaks before it is asked is not listened to', async () => {
    const given = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    await using server = await rawServer(isSecure, (socket, connection) => {
      socket.once('close', () => ended.resolve());
      requests(socket, () => {
        socket.write(ok(`answer of ${connection}`));
        // Of nobody's request: the next one must not take it for its own.
        if (connection === 1) void given.promise.then(() => socket.write(ok('forged')));
      });
    });
    using transport = await transportOf('lane');
    expect(await text(await get(transport, server.origin))).toBe('answer of 1');
    given.resolve();
    // It is not only ignored: the connection is over.
    await ended.promise;
    expect(await text(await get(transport, server.origin))).toBe('answer of 2');
  });
});

it('a server that wants to renegotiate TLS gets nothing more', async () => {
  const { private: key, cert } = await certificate();
  const server = createServer({ key, cert, maxVersion: 'TLSv1.2' }, (socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.renegotiate({ rejectUnauthorized: false }, (error) => {
        if (!error) socket.end(ok('of another session'));
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    using transport = await transportOf('lane');
    const origin = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await expect(get(transport, origin, { idleMs: 500 })).rejects.toMatchObject({
      code: expect.stringMatching(/^(network|timeout)$/),
    });
  } finally {
    server.close();
  }
});

it('goes through a proxy where the process was told to, by CONNECT', async () => {
  const asked: string[] = [];
  const proxy = createHttpServer().on('connect', (request, socket) => {
    asked.push(String(request.url));
    const [host = '', port] = String(request.url).split(':');
    const beyond = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      beyond.pipe(socket).pipe(beyond);
    });
    beyond.on('error', () => socket.destroy());
    socket.on('error', () => beyond.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  await using server = await rawServer(true, answering(ok('through')));
  await using folder = await temporaryFolder();
  const ca = join(folder.path, 'ca.pem');
  await writeFile(ca, (await certificate()).cert);
  try {
    const script = `const { openTransport } = await import(process.argv[1]);
      const transport = openTransport();
      const { status, body } = await transport.request({ method: 'GET', origin: process.argv[2], path: '/', headers: {}, signal: AbortSignal.timeout(9000) });
      let text = ''; for await (const chunk of body) text += chunk; console.log(status, text); transport[Symbol.dispose]();`;
    const module = join(import.meta.dirname, '../../core/transport/index.ts');
    const run = promisify(execFile);
    const { port } = proxy.address() as AddressInfo;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script, module, server.origin], {
      env: { NODE_USE_ENV_PROXY: '1', HTTPS_PROXY: `http://127.0.0.1:${port}`, NODE_EXTRA_CA_CERTS: ca },
    });
    expect(stdout.trim()).toBe('200 through');
    expect(asked).toEqual([new URL(server.origin).host]);
  } finally {
    proxy.close();
    proxy.closeAllConnections();
  }
});
