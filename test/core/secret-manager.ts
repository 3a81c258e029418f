import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { UntypedHandleCall } from '@grpc/grpc-js';
import { generate } from 'selfsigned';

/** `ListSecretsResponse { secrets: [{ name }] }`, by hand: field 1 in field 1. */
function response(name: string): Buffer {
  const text = Buffer.from(name);
  const secret = Buffer.concat([Buffer.from([0x0a, text.length]), text]);
  return Buffer.concat([Buffer.from([0x0a, secret.length]), secret]);
}

/**
 * As much of Secret Manager as lists one secret, over gRPC and TLS: what a gax client does with credentials is what it
 * does with Google. The certificate is made for the occasion and told to grpc-js by its own variable.
 *
 * @param who the owner of a token, or undefined for nobody.
 */
export async function localSecretManager(who: (token: string) => string | undefined) {
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }], {
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
  });
  const folder = await mkdtemp(join(tmpdir(), 'isthmus-test-'));
  await writeFile(join(folder, 'ca.pem'), cert);
  process.env.GRPC_DEFAULT_SSL_ROOTS_FILE_PATH = join(folder, 'ca.pem');
  // It reads that variable once, when it is loaded.
  const { Server, ServerCredentials, status } = await import('@grpc/grpc-js');
  const callers: string[] = [];
  const list: UntypedHandleCall = (call: unknown, answer: unknown) => {
    const { metadata } = call as { metadata: { get(name: string): unknown[] } };
    const reply = answer as (error: object | null, value?: Buffer) => void;
    const caller = who(String(metadata.get('authorization')[0]).replace('Bearer ', ''));
    if (caller === undefined) return reply({ code: status.UNAUTHENTICATED, message: 'nobody' });
    callers.push(caller);
    return reply(null, response('projects/acme/secrets/one'));
  };
  const server = new Server();
  server.register(
    '/google.cloud.secretmanager.v1.SecretManagerService/ListSecrets',
    list as never,
    (value: Buffer) => value,
    (bytes: Buffer) => bytes,
    'unary',
  );
  const credentials = ServerCredentials.createSsl(null, [
    { private_key: Buffer.from(key), cert_chain: Buffer.from(cert) },
  ]);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync('127.0.0.1:0', credentials, (error, port) => (error === null ? resolve(port) : reject(error)));
  return {
    port: await promise,
    callers,
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
      await rm(folder, { recursive: true });
      delete process.env.GRPC_DEFAULT_SSL_ROOTS_FILE_PATH;
    },
  };
}
