import type { LocalGcs } from '../gcs.ts';
import type { GcsBucket } from '../gcs-objects.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

/** What a model answers for one instance; a thrown error is that instance's. */
export type Model = (instance: Json, parameters: Json) => Json;

/** How a batch job ends. */
export interface BatchEnding {
  readonly state?: 'SUCCEEDED' | 'PARTIALLY_SUCCEEDED' | 'FAILED' | 'CANCELLED' | 'EXPIRED';
  readonly error?: string;
  /** The counts are not known: -1. */
  readonly uncounted?: boolean;
}

export interface LocalBatchJob {
  readonly name: string;
  readonly request: JsonObject;
  readonly createTime: string;
  asksLeft: number;
  state: string;
  outputDirectory: string | undefined;
  stats: { successfulCount: number; failedCount: number } | undefined;
  error: string | undefined;
  uncounted: boolean;
}

const at = (value: Json | undefined, ...path: readonly string[]): Json | undefined =>
  path.reduce<Json | undefined>((one, name) => (one as JsonObject | undefined)?.[name], value);

export const objectOf = (value: Json | undefined): JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};

function place(gcs: LocalGcs, url: string): { readonly bucket: GcsBucket; readonly name: string } | undefined {
  const [, bucketName = '', name = ''] = /^gs:\/\/([^/]+)\/(.*)$/.exec(url) ?? [];
  const bucket = gcs.buckets.get(bucketName);
  return bucket === undefined ? undefined : { bucket, name };
}

async function linesOf(gcs: LocalGcs, url: string): Promise<string[]> {
  // Of wildcards only the plainest is understood.
  const [before = '', behind] = url.split('*');
  if (behind !== undefined) {
    const folder = place(gcs, before);
    const names = [...(folder?.bucket.from(folder.name) ?? [])].map(({ name }) => name);
    const meant = names.filter((name) => name.startsWith(folder?.name ?? '') && name.endsWith(behind));
    const bucket = before.slice(0, before.indexOf('/', 'gs://'.length) + 1);
    return (await Promise.all(meant.map((name) => linesOf(gcs, bucket + name)))).flat();
  }
  const found = place(gcs, url);
  const object = found?.bucket.get(found.name);
  if (object === undefined) throw new Error(`${url} does not exist`);
  const chunks = await Array.fromAsync(object.body.read(0, object.body.size));
  return Buffer.concat(chunks)
    .toString()
    .split('\n')
    .filter((line) => line !== '');
}

const written = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

/**
 * Carries a job out: reads its input from the local Cloud Storage, asks the model for each line, and writes
 * predictions, not in the order of the input, and errors.
 * Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.batchPredictionJobs#OutputConfig
 */
export async function carryOut(job: LocalBatchJob, model: Model, gcs: LocalGcs, ending: BatchEnding): Promise<void> {
  const { request } = job;
  const uris = at(request, 'inputConfig', 'gcsSource', 'uris') ?? [];
  const prefix = String(at(request, 'outputConfig', 'gcsDestination', 'outputUriPrefix') ?? '');
  const gemini = String(request.model ?? '').includes('publishers/');
  const keyField = at(request, 'instanceConfig', 'keyField');
  const good: string[] = [];
  const bad: string[] = [];
  for (const uri of Array.isArray(uris) ? (uris as readonly string[]) : [String(uris)]) {
    for (const line of await linesOf(gcs, uri)) {
      const instance = JSON.parse(line) as Json;
      if (gemini) {
        good.push(geminiLine(instance, model));
        continue;
      }
      const { [String(keyField ?? '')]: key, ...rest } = objectOf(instance);
      const seen: Json = keyField === undefined || keyField === '' ? instance : rest;
      try {
        const prediction = model(seen, request.modelParameters ?? null);
        good.push(JSON.stringify(key === undefined ? { instance, prediction } : { key, prediction }));
      } catch (error) {
        bad.push(
          JSON.stringify({
            ...(key === undefined ? { instance } : { key }),
            error: { code: 3, message: (error as Error).message },
          }),
        );
      }
    }
  }
  good.reverse();
  const directory = `${prefix.replace(/\/$/, '')}/prediction-model-${job.createTime}`;
  const found = place(gcs, directory);
  if (found !== undefined && ending.state !== 'FAILED') {
    const { bucket, name } = found;
    if (gemini) bucket.put(`${name}/predictions.jsonl`, written(good));
    else {
      const half = Math.ceil(good.length / 2);
      bucket.put(`${name}/prediction.results-00000-of-00002`, written(good.slice(0, half)));
      bucket.put(`${name}/prediction.results-00001-of-00002`, written(good.slice(half)));
      bucket.put(`${name}/prediction.errors_stats-00000-of-00001`, written(bad));
    }
    job.outputDirectory = directory;
  }
  job.uncounted = ending.uncounted === true;
  job.stats = { successfulCount: good.length, failedCount: bad.length };
  job.error = ending.error;
  const usual = bad.length === 0 ? 'SUCCEEDED' : good.length === 0 ? 'FAILED' : 'PARTIALLY_SUCCEEDED';
  job.state = `JOB_STATE_${ending.state ?? usual}`;
}

function geminiLine(instance: Json, model: Model): string {
  const { request = null, ...rest } = objectOf(instance);
  try {
    return JSON.stringify({
      ...rest,
      status: '',
      processed_time: '2026-11-25T00:00:00.000+00:00',
      request,
      response: model(request, null),
    });
  } catch (error) {
    return JSON.stringify({
      ...rest,
      status: (error as Error).message,
      processed_time: '2026-11-25T00:00:00.000+00:00',
      request,
      response: {},
    });
  }
}

/** A job resource. Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.batchPredictionJobs */
export function batchResource(job: LocalBatchJob): JsonObject {
  const { name, request, createTime, state, outputDirectory, stats, error, uncounted } = job;
  const count = (value: number): string => (uncounted ? '-1' : String(value));
  return {
    ...request,
    name,
    createTime,
    updateTime: createTime,
    state,
    ...(outputDirectory === undefined ? {} : { outputInfo: { gcsOutputDirectory: outputDirectory } }),
    ...(stats === undefined
      ? {}
      : {
          endTime: createTime,
          completionStats: { successfulCount: count(stats.successfulCount), failedCount: count(stats.failedCount) },
        }),
    ...(error === undefined ? {} : { error: { code: 3, message: error } }),
  };
}
