import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface ProxyFaults {
  /** How many large pieces of bodies that go to the server get one wrong byte; headers are left alone. */
  readonly corrupt: number;
}

/** Of what is sent in so large pieces the middle is never a header. */
const LARGE = 16 * 1024;

/** A TCP proxy on loopback between a client and a server that spoils what goes through it. */
export async function proxy(
  target: string,
  { corrupt }: ProxyFaults,
): Promise<{ readonly url: string } & AsyncDisposable> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let left = corrupt;
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => {
      const middle = chunk.length >> 1;
      if (chunk.length >= LARGE && left-- > 0) chunk[middle] = (chunk[middle] ?? 0) ^ 0xff;
      if (!upstream.write(chunk)) {
        client.pause();
        upstream.once('drain', () => client.resume());
      }
    });
    client.on('end', () => upstream.end());
    upstream.pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
