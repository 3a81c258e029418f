import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createSecureServer, type TLSSocket } from 'node:tls';
import { generate } from 'selfsigned';
import type { HttpRequest, HttpResponse, SentBody, Transport } from '../../core/api/index.ts';
import { HttpsTransport } from '../../core/transport/https.ts';
import { Lanes } from '../../core/transport/lanes.ts';

let pems: ReturnType<typeof generate> | undefined;
/** A certificate for this machine, by name and by both addresses. */
export function certificate(): ReturnType<typeof generate> {
  pems ??= generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    extensions: [
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'localhost' },
          { type: 7, ip: '127.0.0.1' },
          { type: 7, ip: '::1' },
        ],
      },
    ],
  });
  return pems;
}

export type Handler = (socket: Socket, connection: number) => void;

export interface RawServer extends AsyncDisposable {
  readonly origin: string;
  readonly connections: () => number;
}

/** A server that sees bytes, and answers whatever a test wants. */
export async function rawServer(isSecure: boolean, handler: Handler, host = '127.0.0.1'): Promise<RawServer> {
  let connections = 0;
  const sockets = new Set<Socket>();
  const seen = (socket: Socket | TLSSocket): void => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.setNoDelay(true);
    handler(socket, ++connections);
  };
  const { private: key, cert } = isSecure ? await certificate() : { private: '', cert: '' };
  const server: Server = isSecure ? createSecureServer({ key, cert }, seen) : createServer(seen);
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const shown = host.includes(':') ? `[${host}]` : host;
  return {
    origin: `${isSecure ? 'https' : 'http'}://${shown}:${port}`,
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Calls back with the head of each request and the bytes of its body (by content-length), one after the other. */
export function requests(socket: Socket, answer: (head: string, body: Buffer) => void): void {
  let rest = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const at = rest.indexOf('\r\n\r\n');
      if (at < 0) return;
      const head = rest.toString('latin1', 0, at);
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (rest.length < at + 4 + length) return;
      const body = rest.subarray(at + 4, at + 4 + length);
      rest = rest.subarray(at + 4 + length);
      answer(head, body);
    }
  });
}

export const answering =
  (text: string | ((head: string, body: Buffer) => string | Buffer)): Handler =>
  (socket) =>
    requests(socket, (head, body) => void socket.write(typeof text === 'string' ? text : text(head, body)));

export const ok = (body: string, headers = ''): string =>
  `HTTP/1.1 200 OK\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`;

export const KINDS = ['lane', 'https'] as const;

export async function transportOf(kind: (typeof KINDS)[number]): Promise<Transport> {
  const ca = (await certificate()).cert;
  return kind === 'lane' ? new Lanes({ ca }) : new HttpsTransport({ ca });
}

export const get = (transport: Transport, origin: string, more: Partial<HttpRequest> = {}): Promise<HttpResponse> =>
  transport.request({ method: 'GET', origin, path: '/', headers: {}, signal: new AbortController().signal, ...more });

export async function text(response: HttpResponse): Promise<string> {
  const chunks: Buffer[] = [];
  await response.body.pump((chunk) => void chunks.push(Buffer.from(chunk)));
  return Buffer.concat(chunks).toString('latin1');
}

/** A body that is sent chunk by chunk. */
export const sent = (...chunks: readonly (string | Uint8Array)[]): SentBody => {
  const bytes = chunks.map((chunk) => Buffer.from(chunk as string));
  return {
    size: bytes.reduce((sum, { length }) => sum + length, 0),
    async send(take) {
      for (const chunk of bytes) await take(chunk);
    },
  };
};
