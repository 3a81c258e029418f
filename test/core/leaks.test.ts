import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ServerClock } from '../../core/auth/clock.ts';
import { linkLocal, post, withoutEcho } from '../../core/auth/http.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, localCloud } from '../cloud/local-cloud.ts';
import { CANARY, secret } from '../cloud/principals.ts';
import { caught, leakIn, searchForLeaks, searchValue } from '../leaks.ts';
import { testBroker } from '../support.ts';

const request = { scopes: ['https://www.googleapis.com/auth/devstorage.read_only'] };

async function bodyOf(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** A server that is asked for a token and answers with all that it was sent, as is and decoded, in this form. */
async function echo(form: (sent: string) => string, status = 400) {
  const server = createServer(async (message, response) => {
    const body = await bodyOf(message);
    const decoded = [...new URLSearchParams(body).values()].join(' ');
    const twice = decodeURIComponent(decoded.replace(/%(?![0-9A-F]{2})/g, '%25'));
    response.writeHead(status, { 'metadata-flavor': 'Google' });
    response.end(form([JSON.stringify(message.headers), body, decoded, twice].join(' | ')));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

const FORMS: Readonly<Record<string, (sent: string) => string>> = {
  'an OAuth error': (sent) => JSON.stringify({ error: 'invalid_grant', error_description: sent }),
  'an API error': (sent) => JSON.stringify({ error: { code: 400, status: 'INVALID_ARGUMENT', message: sent } }),
  XML: (sent) =>
    `<ErrorResponse><Error><Code>AccessDenied</Code><Message>${sent.replace(/[<&]/g, '')}</Message></Error></ErrorResponse>`,
  'a web page': (sent) => `<html>${sent}</html>`,
};

describe.each(Object.keys(FORMS))('a server that repeats what it was sent, as %s', (name) => {
  const form = FORMS[name] ?? String;
  const reader = { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT };
  const writer = { kind: 'aws', roleArn: 'arn:aws:iam::111122223333:role/lake-writer' };
  it.each([
    ['googleSts', { reader }],
    ['iamCredentials', { reader }],
    ['googleMetadata', { reader: { kind: 'gcp', from: 'metadata' } }],
    ['awsSts', { reader: { ...reader, expect: { roleName: 'exports' } } }],
    ['awsSts', { reader: { ...reader, from: 'aws-token' } }],
  ] as const)('gives nothing away as %s', async (endpoint, identities) => {
    await using cloud = await localCloud();
    await using server = await echo(form);
    const endpoints = { ...cloud.endpoints, [endpoint]: server.url };
    const made = testBroker({ endpoints, credentials: cloud.session, identities });
    const error = await caught(made.gcp('reader', request)?.get());
    expect(error).toMatchObject({ message: expect.stringMatching(/HTTP 400/) });
  });

  it('gives nothing away where a role is assumed, with or without a signature', async () => {
    await using cloud = await localCloud();
    await using server = await echo(form);
    const endpoints = { ...cloud.endpoints, awsSts: server.url };
    const signed = testBroker({ endpoints, credentials: cloud.session, identities: { writer } });
    await caught(signed.aws('writer').get());
    const identities = {
      attached: { kind: 'gcp', from: 'metadata' },
      writer: { ...writer, google: 'attached', audience: 'https://a' },
    };
    await caught(testBroker({ endpoints, identities }).aws('writer').get());
  });
});

describe('a process that ends by an error which nobody caught', () => {
  it('prints no secret', async () => {
    await using cloud = await localCloud();
    await using server = await echo(FORMS['an OAuth error'] ?? String);
    const script = `
      const { keyless } = await import(${JSON.stringify(join(import.meta.dirname, '../../config/auth.ts'))});
      const broker = keyless({ identities: { reader: { kind: 'gcp', audience: '${LOCAL_AUDIENCE}' } } });
      void broker.gcp('reader', ${JSON.stringify(request)}).get();`;
    const environment = {
      ...cloud.environment,
      ISTHMUS_ENDPOINTS: JSON.stringify({ ...cloud.endpoints, googleSts: server.url }),
    };
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      env: { PATH: process.env.PATH ?? '', ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let printed = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        printed += String(chunk);
      });
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(1);
    expect(printed).toContain('BrokerError');
    searchForLeaks('an uncaught rejection', printed);
  });
});

describe('the search itself', () => {
  it('finds a mark, a token and a JWT wherever they stand', () => {
    expect(leakIn(`x ${secret(8)}`)).toBeDefined();
    expect(leakIn('Bearer ya29.abc')).toBeDefined();
    expect(leakIn('eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.x')).toBeDefined();
    expect(leakIn('arn:aws:sts::111122223333:assumed-role/exports/x')).toBeUndefined();
    expect(() => searchValue('x', new Error('outer', { cause: { deep: { down: CANARY } } }))).toThrow(/a secret in/);
  });

  it('an echo is blotted out in each encoding, and nothing else is', () => {
    const token = secret(24);
    for (const shown of [
      token,
      encodeURIComponent(token),
      encodeURIComponent(encodeURIComponent(token)),
      token.slice(3, 30),
    ])
      expect(withoutEcho(`you sent ${shown}!`, [token])).toBe('you sent [hidden]!');
    const innocent = 'https://iam.googleapis.com/projects/123456789/locations/global';
    expect(withoutEcho(innocent, [token])).toBe(innocent);
  });
});

describe('an answer has an end', () => {
  const options = { clock: new ServerClock(Date.now), deadlineMs: 300 };
  const serve = async (answer: (write: (text: string) => void) => void) => {
    const server = createServer((_message, response) => {
      response.writeHead(200);
      answer((text) => void response.write(text));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/token`,
      async [Symbol.asyncDispose]() {
        server.closeAllConnections();
        server.close();
      },
    };
  };
  const message = { headers: {}, body: '', secrets: [] };

  it('in time: a slow drip is cut off', async () => {
    let timer: NodeJS.Timeout | undefined;
    await using server = await serve((write) => {
      timer = setInterval(() => write(' '), 20);
    });
    expect(await caught(post(server.url, message, options))).toMatchObject({ code: 'timeout' });
    clearInterval(timer);
  });

  it('in size: a flood is cut off', async () => {
    await using server = await serve((write) => write('x'.repeat(300_000)));
    expect(await caught(post(server.url, message, options))).toMatchObject({ code: 'bad_response' });
  });

  it('also of a metadata service that is silent', async () => {
    await using server = await serve(() => {});
    expect(await caught(linkLocal(server.url))).toMatchObject({ code: 'timeout' });
  });

  it('when the caller leaves', async () => {
    await using server = await serve(() => {});
    const leaving = new AbortController();
    const waiting = post(server.url, message, { ...options, signal: leaving.signal });
    leaving.abort();
    expect(await caught(waiting)).toMatchObject({ code: 'stopped' });
  });
});
