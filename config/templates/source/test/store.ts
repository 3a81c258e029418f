import { hash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { crc32c } from 'isthmus/testing';

const PAGE = 100;
const byBytes = (one: string, other: string): number => Buffer.compare(Buffer.from(one), Buffer.from(other));

/** A store in memory: `GET /files?after=KEY` lists, `GET /files/KEY` reads, with ETags and ranges. */
export async function startStore(objects: Readonly<Record<string, Buffer>> = {}) {
  const files = new Map(Object.entries(objects));
  const etagOf = (bytes: Buffer): string => `"${hash('sha1', bytes)}"`;

  function list(url: URL, response: ServerResponse): void {
    const after = url.searchParams.get('after');
    const keys = [...files.keys()].sort(byBytes).filter((key) => after === null || byBytes(key, after) > 0);
    const page = keys.slice(0, PAGE).map((key) => {
      const bytes = files.get(key) ?? Buffer.alloc(0);
      return { key, size: bytes.length, etag: etagOf(bytes), crc32c: crc32c(bytes) };
    });
    response.end(JSON.stringify({ files: page, more: keys.length > PAGE }));
  }

  function read(key: string, request: IncomingMessage, response: ServerResponse): void {
    const bytes = files.get(key);
    if (bytes === undefined) return void response.writeHead(404).end();
    if (request.headers['if-match'] !== etagOf(bytes)) return void response.writeHead(412).end();
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    if (range === null) return void response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
    const part = bytes.subarray(Number(range[1]), Number(range[2]) + 1);
    const shown = `bytes ${range[1]}-${Number(range[1]) + part.length - 1}/${bytes.length}`;
    response.writeHead(206, { 'content-length': part.length, 'content-range': shown }).end(part);
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://store');
    if (url.pathname === '/files') list(url, response);
    else read(decodeURIComponent(url.pathname.slice('/files/'.length)), request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    put: (key: string, bytes: Buffer): void => void files.set(key, bytes),
    remove: (key: string): void => void files.delete(key),
    close: async (): Promise<void> => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
