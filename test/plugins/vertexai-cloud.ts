import { CredentialCache } from '../../core/auth/cached.ts';
import { run } from '../../core/engine/run.ts';
import { MemoryState } from '../../core/state/memory.ts';
import { MemorySink } from '../../plugins/memory/index.ts';
import { vertexai } from '../../plugins/vertexai/index.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, localCloud } from '../cloud/local-cloud.ts';
import type { Json, JsonObject } from '../cloud/vertexai/batch.ts';
import { objectOf } from '../cloud/vertexai/batch.ts';
import { job } from '../core/job.ts';
import { pluginContext, SILENT, testRuntime } from '../support.ts';
import type { CarryOptions } from './bigquery-cloud.ts';

export const PARENT = 'projects/acme-ml/locations/europe-west4';

/** Doubles `n`; refuses an instance that has none. */
export const doubling = (instance: Json): Json => {
  const { n } = objectOf(instance);
  if (typeof n !== 'number') throw new Error('Invalid instances: n is missing');
  return { twice: n * 2 };
};

/** What Gemini answers: the prompt in capitals. */
export function shouting(request: Json): JsonObject {
  const [content] = objectOf(request).contents as readonly JsonObject[];
  const texts = ((content?.parts ?? []) as readonly JsonObject[])
    .map(({ text }) => text)
    .filter((text) => typeof text === 'string');
  const text = texts.join(' ');
  return {
    candidates: [
      {
        content: { role: 'model', parts: [{ text: 'hm', thought: true }, { text: text.toUpperCase() }] },
        finishReason: 'STOP',
      },
    ],
    usageMetadata: { promptTokenCount: 5, candidatesTokenCount: 3, thoughtsTokenCount: 2, totalTokenCount: 10 },
    modelVersion: 'gemini-2.5-flash-001',
    responseId: 'r1',
  };
}

/** A project with a model, Gemini, a bucket of data and an identity that may use them. */
export async function vertexCloud() {
  const cloud = await localCloud();
  cloud.vertexai.users.add(LOCAL_SERVICE_ACCOUNT);
  cloud.vertexai.models.set('models/7', doubling);
  cloud.vertexai.models.set('endpoints/7', doubling);
  cloud.vertexai.models.set('models/gemini-2.5-flash', shouting);
  const data = cloud.gcs.bucket('acme-ml', [LOCAL_SERVICE_ACCOUNT], [LOCAL_SERVICE_ACCOUNT]);
  const state = new MemoryState();
  const cache = new CredentialCache(Date.now);
  return {
    ...cloud,
    data,
    state,
    staged: (): string[] =>
      [...data.from('isthmus/')].map(({ name }) => name).filter((name) => name.startsWith('isthmus/')),
    source(config: object, now = Date.now, endpoint = cloud.vertexai.url) {
      const context = {
        ...pluginContext({
          endpoints: { ...cloud.endpoints, vertexai: endpoint },
          credentials: cloud.session,
          identities: { reader: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } },
          cache,
          now,
        }),
        log: SILENT,
      };
      const all = { identity: 'reader', project: 'acme-ml', location: 'europe-west4', ...config };
      return vertexai.create(vertexai.config.parse(all), context);
    },
    async carry(config: object, options: CarryOptions & { readonly endpoint?: string } = {}) {
      const { now = Date.now, sink = new MemorySink(), runtime = {}, lasts = 'anywhere', endpoint, ...rest } = options;
      const made = this.source(config, now, endpoint);
      await using _closing = { [Symbol.asyncDispose]: async () => made[Symbol.asyncDispose]?.() };
      const given = job({
        sources: [made],
        sinks: [options.through ?? sink],
        state: options.state ?? state,
        lasts,
        retry: { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 },
        ...options.job,
      });
      const report = await run(given, { runtime: testRuntime({ now, ...runtime }), ...rest });
      const keys = [...sink.objects.keys()].sort();
      const text = (key: string): string => sink.objects.get(key)?.bytes.toString() ?? '';
      return { report, sink, keys, text, facts: report.details?.[0]?.facts ?? {} };
    },
  };
}

export const lines = (text: string): unknown[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);
