import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AwsCredentials, PluginContext, Runtime } from '../core/api/index.ts';
import { IdentityBroker } from '../core/auth/broker.ts';
import { PUBLIC_AUTH_ENDPOINTS } from '../core/auth/steps.ts';
import type { IdentitySpec } from '../core/pipeline/spec.ts';

export const SILENT = { debug: () => {}, info: () => {}, warn: () => {} };

export interface ContextOptions {
  readonly endpoints?: Readonly<Record<string, string>>;
  readonly identities?: Readonly<Record<string, IdentitySpec>>;
  readonly credentials?: AwsCredentials;
  readonly baseDir?: string;
  readonly now?: () => number;
}

/** What the composition gives a plugin, for tests that make one by hand. */
export function pluginContext({
  endpoints = {},
  identities = {},
  credentials,
  baseDir = '.',
  now = Date.now,
}: ContextOptions): PluginContext {
  return {
    pipeline: 'test',
    baseDir,
    log: SILENT,
    now,
    endpoints: { gcs: endpoints.gcs ?? 'http://127.0.0.1:1', s3: endpoints.s3 },
    credentials: new IdentityBroker({
      pipeline: 'test',
      identities,
      region: 'eu-west-1',
      endpoints: { ...PUBLIC_AUTH_ENDPOINTS, ...endpoints },
      now,
      ambient: async () => {
        if (credentials === undefined) throw new Error('no credentials in this test');
        return credentials;
      },
    }),
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
    timeLeftMs: () => Number.POSITIVE_INFINITY,
    ...options,
  };
}

/** An empty folder that is removed when it is disposed. */
export async function temporaryFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'isthmus-test-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
