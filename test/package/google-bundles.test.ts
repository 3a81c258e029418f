import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { bigQueryCloud } from '../plugins/bigquery-cloud.ts';
import { vertexCloud } from '../plugins/vertexai-cloud.ts';
import { temporaryFolder } from '../support.ts';
import { packageInto } from './packaged.ts';
import { PIPELINES } from './pipelines.ts';

const run = promisify(execFile);

const pipeline = (source: string): string =>
  (PIPELINES.plain ?? '').replace(/^source:.*$/m, `source: ${source}`).replace('prefix: raw/, ', '');
const vertex = (mode: string): string =>
  pipeline(`{ use: vertexai, with: { identity: reader, project: acme-ml, location: europe-west4, ${mode} } }`);
const BATCH = 'batch: { model: "7", input: { gcs: ["gs://acme-ml/in.jsonl"] }, output: { bucket: acme-ml } }';
const BIGQUERY = pipeline(
  '{ use: bigquery, with: { identity: reader, project: acme-data, table: sales.orders, staging: { bucket: acme-staging } } }',
);

/** Packages a pipeline, and calls it in a process of its own. */
async function packagedAnd(text: string, environment?: Readonly<Record<string, string>>) {
  await using folder = await temporaryFolder();
  const { made, code, err } = await packageInto(folder.path, text);
  expect(code, err).toBe(0);
  const bytes = (await readFile(join(made, 'index.mjs'))).length;
  const map = JSON.parse(await readFile(join(made, 'index.mjs.map'), 'utf8')) as { sources: string[] };
  const has = (part: string): boolean => map.sources.some((source) => source.includes(part));
  if (environment === undefined) return { bytes, has, answer: undefined };
  const script = join(made, 'call.mjs');
  await writeFile(
    script,
    `import { handler } from ${JSON.stringify(pathToFileURL(join(made, 'index.mjs')).href)};
const context = { awsRequestId: '1', invokedFunctionArn: 'arn:aws:lambda:eu-west-1:1:function:f', getRemainingTimeInMillis: () => 60000 };
process.stdout.write('\\n#' + JSON.stringify(await handler({}, context)) + '\\n');
process.exit(0);`,
  );
  const { stdout } = await run(process.execPath, [script], { env: { ...environment }, maxBuffer: 2 ** 26 });
  return { bytes, has, answer: JSON.parse(stdout.slice(stdout.lastIndexOf('\n#') + 2)) as Record<string, unknown> };
}

describe('a bundle of a BigQuery pipeline', () => {
  it('is smaller than 2.2 MB, exports and carries a table, and holds nothing of Vertex AI', async () => {
    await using cloud = await bigQueryCloud();
    cloud.s3.bucket('lake', 'eu-west-1');
    const { bytes, has, answer } = await packagedAnd(BIGQUERY, cloud.environment);
    expect(bytes).toBeLessThan(2_200_000);
    expect([has('@google-cloud/bigquery'), has('@google-cloud/aiplatform'), has('google-gax')]).toEqual([
      true,
      false,
      false,
    ]);
    expect(answer).toMatchObject({ outcome: 'complete', items: { written: 2 } });
    expect(cloud.jobs('EXTRACT')).toHaveLength(1);
  });
});

describe('a bundle of a Vertex AI pipeline', () => {
  it('holds the client over REST alone, smaller by far, and it works', async () => {
    await using cloud = await vertexCloud();
    cloud.s3.bucket('lake', 'eu-west-1');
    cloud.data.put('in.jsonl', '{"n":1}\n{"n":2}\n');
    const { bytes, has, answer } = await packagedAnd(vertex(BATCH), cloud.environment);
    expect(bytes).toBeLessThan(2_600_000);
    expect([
      has('aiplatform/build/src/v1/job_service_client'),
      has('@grpc/grpc-js'),
      has('job_service_client'),
    ]).toEqual([true, false, true]);
    expect(answer).toMatchObject({ outcome: 'complete' });
    expect(cloud.vertexai.jobs.size).toBe(1);
  });

  it('tells what the API answered, also in its details', async () => {
    await using cloud = await vertexCloud();
    cloud.s3.bucket('lake', 'eu-west-1');
    cloud.vertexai.users.delete(LOCAL_SERVICE_ACCOUNT);
    const details = [
      { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'DENIED', domain: 'googleapis.com' },
    ];
    const body = JSON.stringify({ error: { code: 403, message: 'no right', status: 'PERMISSION_DENIED', details } });
    cloud.vertexai.faults.add(
      'batchPredictionJobs',
      { kind: 'answer', status: 403, headers: { 'content-type': 'application/json' }, body },
      Number.POSITIVE_INFINITY,
    );
    await expect(packagedAnd(vertex(BATCH), cloud.environment)).rejects.toThrow('no right');
  });

  it('that asks for gRPC has it', async () => {
    const { has } = await packagedAnd(vertex(`transport: grpc, ${BATCH}`));
    expect(has('@grpc/grpc-js')).toBe(true);
  });

  it('that asks a model, and for no job, holds no client at all', async () => {
    await using cloud = await vertexCloud();
    cloud.s3.bucket('lake', 'eu-west-1');
    const predict = 'predict: { endpoint: "7", instances: [{ n: 1 }, { n: 2 }] }';
    const { bytes, has, answer } = await packagedAnd(vertex(predict), cloud.environment);
    expect(bytes).toBeLessThan(1_200_000);
    const libraries = ['@google-cloud/aiplatform', 'google-gax', 'google-auth-library'].map(
      (name) => `node_modules/${name}/`,
    );
    expect(libraries.filter(has)).toEqual([]);
    expect(answer).toMatchObject({ outcome: 'complete', items: { written: 1 } });
  });

  it('beside a source that needs the same packages leaves that its own', async () => {
    const both = BIGQUERY.replace(
      /^source: (.*)$/m,
      'source: [$1, { use: vertexai, with: { identity: reader, project: acme-ml, location: europe-west4, predict: { endpoint: "7", instances: [{ n: 1 }] } } }]',
    );
    const { has } = await packagedAnd(both);
    expect(has('node_modules/google-auth-library/')).toBe(true);
    expect(has('node_modules/@google-cloud/aiplatform/')).toBe(false);
  });
});
