/**
 * `npm run demo:google`: every engine of the `bigquery` source and every mode of the `vertexai` source against the local
 * cloud, by the examples of this repository: the pipeline, the command, and what it prints.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { compose } from '../../config/composition.ts';
import { tokens } from '../../config/tokens.ts';
import { FIELDS, ROWS } from '../cloud/bigquery/rows.ts';
import { LOCAL_SERVICE_ACCOUNT, localCloud } from '../cloud/local-cloud.ts';
import { objectOf } from '../cloud/vertexai/batch.ts';

const say = (text = ''): void => void process.stdout.write(`${text}\n`);
const title = (text: string): void => say(`\n── ${text} ${'─'.repeat(Math.max(3, 100 - text.length))}`);
const example = (name: string): Promise<string> =>
  readFile(fileURLToPath(new URL(`../../examples/${name}.yaml`, import.meta.url)), 'utf8');

await using cloud = await localCloud();
const [reader] = [LOCAL_SERVICE_ACCOUNT];
cloud.bigquery.users.add(reader);
cloud.vertexai.users.add(reader);
const staging = cloud.gcs.bucket('acme-staging', [reader], [reader]);
const ml = cloud.gcs.bucket('acme-ml', [reader], [reader]);
cloud.gcs.bucket('acme-receipts', [reader]).put('2026/receipt.pdf', 'a receipt');
for (const name of ['acme-lake', 'acme-state']) cloud.s3.bucket(name, 'eu-west-1');
cloud.bigquery.rowsPerFile = 2;
cloud.bigquery.dataset('acme-data', 'sales').table('orders', { fields: FIELDS, rows: ROWS, bytes: 3 * 1024 ** 3 });
cloud.vertexai.models.set('models/1234567890', (row) => ({ churn: Number(objectOf(row).n) / 10 }));
cloud.vertexai.models.set('endpoints/7', (row) => ({ churn: Number(objectOf(row).n) / 10 }));
cloud.vertexai.models.set('gemini-2.5-flash', () => ({
  candidates: [
    { content: { role: 'model', parts: [{ text: '{"sender":"Acme","total":12.5}' }] }, finishReason: 'STOP' },
  ],
  usageMetadata: { promptTokenCount: 258, candidatesTokenCount: 14, totalTokenCount: 272 },
  modelVersion: 'gemini-2.5-flash',
}));
ml.put('customers.jsonl', Array.from({ length: 5 }, (_, n) => `{"id":"c${n}","n":${n}}\n`).join(''));
ml.put('invoices/one.pdf', 'one', { contentType: 'application/pdf' });
ml.put('invoices/two.pdf', 'two', { contentType: 'application/pdf' });
ml.put('model/saved_model.pb', 'a model');
cloud.vertexai.resources.set('projects/acme-ml/locations/europe-west4/models/77', {
  artifactUri: 'gs://acme-ml/model',
});

Object.assign(process.env, cloud.environment);
const folder = await mkdtemp(join(tmpdir(), 'isthmus-demo-'));
const cli = compose(process.env).get(tokens.cli);
const output = { out: say, err: say, terminal: undefined };

async function show(text: string, ...commands: readonly string[]): Promise<void> {
  const file = join(folder, 'pipeline.yaml');
  await writeFile(file, text);
  for (const command of commands) {
    say(`\n$ isthmus ${command} pipeline.yaml`);
    const code = await cli([...command.split(' '), file], output, '0');
    say(`(exit code ${code})`);
    if (code !== 0) process.exitCode = 1;
  }
}

/** A pipeline that differs from an example in its source. */
async function variant(name: string, source: string): Promise<string> {
  const text = await example(name);
  const body = source
    .trim()
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n');
  const [, rest = ''] = /\nsink:([\s\S]*)$/.exec(text) ?? [];
  const [head = ''] = text.split('\nsource:');
  const changed = head
    .replace(/^#.*\n/gm, '')
    .replace(/^name: .*/m, `name: ${/use: (\w+)/.exec(source)?.[1]}-${source.length}`);
  return `${changed}\nsource:\n${body}\nsink:${rest}`;
}
const shown = (text: string): void =>
  say(
    `\n${text
      .replace(/^#.*\n/gm, '')
      .replace(/identities:[\s\S]*?(?=\nsource)/, 'identities: { reader: … }')
      .trimEnd()}`,
  );

try {
  title('1. BigQuery: a query, by EXPORT DATA; plan first');
  const query = await example('bigquery-to-s3');
  cloud.bigquery.answers.push({
    matches: /WHERE `day` >= @since/,
    answer: () => cloud.bigquery.find('acme-data', 'sales', 'orders'),
  });
  shown(query);
  await show(query, 'plan', 'run');

  title('2. BigQuery: a table, by a free extract job');
  const table = await variant(
    'bigquery-to-s3',
    'use: bigquery\nwith: { identity: reader, project: acme-data, table: sales.orders, format: avro, staging: { bucket: acme-staging } }',
  );
  shown(table);
  await show(table, 'run');

  title('3. BigQuery: rows, without a staging bucket');
  const rows = await variant(
    'bigquery-to-s3',
    'use: bigquery\nwith: { identity: reader, project: acme-data, table: sales.orders, format: csv }',
  );
  shown(rows);
  await show(rows, 'run');

  title('4. Two sources into one bucket: a table and the files beside it');
  const both = await example('bigquery-and-files');
  shown(both);
  await show(both, 'run');

  title('5. Vertex AI: a batch prediction job, joined to its input');
  const batch = await example('vertex-batch-to-s3');
  shown(batch);
  await show(batch, 'run');

  title('6. Vertex AI: online predictions');
  const predict = await variant(
    'vertex-batch-to-s3',
    'use: vertexai\nwith: { identity: reader, project: acme-ml, location: europe-west4, predict: { endpoint: "7", key: id, instances: { from: gs://acme-ml/customers.jsonl } } }',
  );
  shown(predict);
  await show(predict, 'run');

  title('7. Gemini over files, with a schema and a budget');
  const gemini = await example('gemini-over-files');
  shown(gemini);
  await show(gemini, 'plan', 'run');

  title('8. Vertex AI: the files of a model');
  const model = await variant(
    'vertex-batch-to-s3',
    'use: vertexai\nwith: { identity: reader, project: acme-ml, location: europe-west4, resource: { name: projects/acme-ml/locations/europe-west4/models/77 } }',
  );
  shown(model);
  await show(model, 'run');

  title('What is in S3, and what is left in staging');
  for (const [key, { size }] of cloud.s3.buckets.get('acme-lake')?.objects ?? [])
    if (!key.startsWith('isthmus/')) say(`   ${String(size).padStart(6)} B  ${key}`);
  const left =
    [...staging.from('')].length + [...ml.from('isthmus/')].filter(({ name }) => name.startsWith('isthmus/')).length;
  say(
    `\n   staging: ${left} objects; jobs of BigQuery: ${cloud.bigquery.jobs.size}; batch jobs: ${cloud.vertexai.jobs.size}`,
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}
