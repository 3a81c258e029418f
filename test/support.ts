import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AwsCredentials, PluginContext, Runtime, Transport } from '../core/api/index.ts';
import { IdentityBroker } from '../core/auth/broker.ts';
import { CredentialCache } from '../core/auth/cached.ts';
import { ServerClock } from '../core/auth/clock.ts';
import { type AuthObserver, PUBLIC_AUTH_ENDPOINTS } from '../core/auth/steps.ts';
import { identitySpec } from '../core/pipeline/identity-spec.ts';
import { openTransport, transportKind } from '../core/transport/index.ts';

/** All tests run on both: `ISTHMUS_TRANSPORT=https npm test`. */
export const testTransport = (): Transport => openTransport(transportKind(process.env.ISTHMUS_TRANSPORT));

export const SILENT = { debug: () => {}, info: () => {}, warn: () => {} };

export interface ContextOptions {
  readonly endpoints?: Readonly<Record<string, string>>;
  /** As a pipeline writes them. */
  readonly identities?: Readonly<Record<string, object>>;
  readonly observe?: AuthObserver;
  readonly pipeline?: string;
  /** That of the process; a new one for each broker when absent. */
  readonly cache?: CredentialCache;
  readonly credentials?: AwsCredentials;
  readonly baseDir?: string;
  readonly now?: () => number;
}

/** A broker with the given AWS credentials as those of the process. */
export function testBroker({
  endpoints = {},
  identities = {},
  credentials,
  now = Date.now,
  observe,
  pipeline = 'test',
  cache = new CredentialCache(now),
}: ContextOptions): IdentityBroker {
  const specs = Object.entries(identities).map(([name, identity]) => [name, identitySpec.parse(identity)]);
  return new IdentityBroker({
    pipeline,
    identities: Object.fromEntries(specs),
    cache,
    observe,
    runtime: {
      region: async () => ({ name: 'eu-west-1', from: 'test' }),
      endpoints: { ...PUBLIC_AUTH_ENDPOINTS, ...endpoints },
      clock: new ServerClock(now),
      chain: async () => {
        if (credentials === undefined) throw new Error('no credentials in this test');
        return { ...credentials, origin: 'lambda-role' };
      },
    },
  });
}

/** What the composition gives a plugin, for tests that make one by hand. */
export function pluginContext(options: ContextOptions): PluginContext {
  const { endpoints = {}, baseDir = '.', now = Date.now } = options;
  return {
    pipeline: 'test',
    baseDir,
    log: SILENT,
    now,
    transport: testTransport,
    endpoints: {
      gcs: () => endpoints.gcs ?? 'http://127.0.0.1:1',
      bigquery: () => endpoints.bigquery ?? 'http://127.0.0.1:1',
      vertexai: () => endpoints.vertexai ?? 'http://127.0.0.1:1',
      s3: endpoints.s3,
      kms: endpoints.kms,
    },
    credentials: testBroker(options),
  };
}

/** A runtime that never ends by itself. */
export function testRuntime(options: Partial<Runtime> = {}): Runtime {
  const never = new AbortController().signal;
  return {
    signal: never,
    stop: never,
    log: SILENT,
    now: Date.now,
    ...options,
  };
}

/** An empty folder that is removed when it is disposed. */
export async function temporaryFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'isthmus-test-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
