import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { expect, it } from 'vitest';
import { s3 } from '../../plugins/s3/index.ts';
import type { Field, Row, Value } from '../cloud/bigquery/tables.ts';
import { bigQueryCloud, FIELDS, PROJECT, ROWS, STAGING } from '../plugins/bigquery-cloud.ts';
import { pluginContext, temporaryFolder } from '../support.ts';
import { credentials, newS3Bucket, s3Url } from './fixtures.ts';

const python = process.env.COMPAT_READERS ?? '';

const nested: readonly Field[] = [
  { name: 'tags', type: 'STRING', mode: 'REPEATED' },
  {
    name: 'who',
    type: 'RECORD',
    fields: [
      { name: 'name', type: 'STRING' },
      { name: 'age', type: 'INTEGER' },
    ],
  },
];
const fields = [...FIELDS, ...nested];
/** A thousand rows of every type, some of them empty. */
const rows: readonly Row[] = Array.from({ length: 1000 }, (_, n) => {
  const base = ROWS[n % 3] ?? {};
  const who = n % 5 === 0 ? null : { name: `n${n}`, age: n % 7 === 0 ? null : String(n) };
  return { ...base, id: String(n), tags: n % 4 === 0 ? [] : [`a${n}`, 'ü'], who };
});

/** As the independent reader prints it, whatever a format calls its types. */
function expected(field: Field, value: Value, logical: boolean): unknown {
  if (field.mode === 'REPEATED') return value ?? [];
  if (value === null) return null;
  if (field.fields !== undefined)
    return Object.fromEntries(
      field.fields.map((one) => [one.name, expected(one, (value as Row)[one.name] ?? null, logical)]),
    );
  const text = String(value);
  switch (field.type) {
    case 'TIMESTAMP':
      return `micros:${text}`;
    case 'FLOAT':
      return text === '-1.5E300' ? '-1.5e+300' : text;
    case 'DATETIME':
      if (!logical) return text;
      return `micros:${BigInt(Date.parse(`${text.slice(0, 19)}Z`)) * 1000n + (text.endsWith('.5') ? 500_000n : 0n)}`;
    default:
      return text;
  }
}

it.each([
  ['extract', 'parquet', 'snappy'],
  ['extract', 'parquet', 'zstd'],
  ['extract', 'avro', 'snappy'],
  ['extract', 'avro', 'deflate'],
  ['export', 'parquet', 'gzip'],
  ['export', 'avro', 'none'],
])('%s to %s, %s: what MinIO holds, pyarrow and fastavro read row by row', async (engine, format, compression) => {
  await using cloud = await bigQueryCloud();
  await using folder = await temporaryFolder();
  cloud.bigquery.rowsPerFile = 300;
  cloud.sales.table('all', { fields, rows });
  const bucket = await newS3Bucket();
  const sink = s3.create(
    s3.config.parse({ bucket: bucket.name, region: 'us-east-1', endpoint: s3Url }),
    pluginContext({ credentials }),
  );
  const read = engine === 'extract' ? { table: 'sales.all' } : { query: `SELECT * FROM \`${PROJECT}.sales.all\`` };
  const config = { ...read, engine, format, compression, staging: { bucket: STAGING }, folder: '' };
  const { report } = await cloud.carry(config, { through: sink, job: { memory: 64 * 1024 ** 2 } });
  await sink[Symbol.asyncDispose]?.();
  expect(report).toMatchObject({ outcome: 'complete', items: { written: 5 } });
  const paths: string[] = [];
  for (let shard = 0; shard < 4; shard++) {
    const path = join(folder.path, String(shard));
    await writeFile(path, (await bucket.read(`part-00000000000${shard}.${format}`)) ?? '');
    paths.push(path);
  }
  const script = join(import.meta.dirname, 'read-rows.py');
  const printed = execFileSync(python, [script, format, ...paths], { encoding: 'utf8', maxBuffer: 2 ** 26 });
  const found = printed
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
  expect(found).toHaveLength(rows.length);
  const logical = format === 'parquet';
  const wanted = rows.map((row) =>
    Object.fromEntries(fields.map((field) => [field.name, expected(field, row[field.name] ?? null, logical)])),
  );
  expect(found).toEqual(wanted);
});
