/**
 * `npm run cloud`: the local cloud in a process of its own, until it is stopped. Prints the environment that points
 * Isthmus at it, as one JSON line.
 *
 * `--bench` adds buckets that take no memory: `large` (one object of 4 GiB), `small` (2,000 of 1 MiB), `many`
 * (1,000,000 names), and a bucket `sink` that verifies and forgets what it is sent.
 */
import process from 'node:process';
import { patternBody } from './body.ts';
import { VirtualBucket } from './gcs-objects.ts';
import { LOCAL_SERVICE_ACCOUNT, localCloud } from './local-cloud.ts';

const MIB = 2 ** 20;
const cloud = await localCloud();
cloud.gcs.bucket('acme-exports', [LOCAL_SERVICE_ACCOUNT]);
cloud.s3.bucket('acme-lake');
if (process.argv.includes('--bench')) {
  const readers = [LOCAL_SERVICE_ACCOUNT];
  for (const gib of [1, 4]) cloud.gcs.bucket(`large-${gib}g`, readers).put('object', patternBody(gib * 1024 * MIB));
  for (const count of [500, 2000])
    cloud.gcs.add(new VirtualBucket(`small-${count}`, { prefix: 's/', count, body: patternBody(MIB) }), readers);
  cloud.gcs.add(new VirtualBucket('many', { prefix: 'm/', count: 1_000_000, body: patternBody(1000) }), readers);
  // For handlers that know no federation: everybody may read these.
  const small = new VirtualBucket('small-4k', { prefix: 's/', count: 100_000, body: patternBody(4096) });
  cloud.gcs.add(small, [...readers, 'allUsers']);
  cloud.gcs.bucket('open-1g').put('object', patternBody(1024 * MIB));
  cloud.s3.bucket('sink').keep = false;
  // 2 GiB in 200 files, as an export and as plain objects; and a table of a million rows with ten columns.
  cloud.bigquery.users.add(LOCAL_SERVICE_ACCOUNT);
  cloud.gcs.bucket('staging', readers, readers);
  const file = patternBody(Math.round((2 * 1024 * MIB) / 200));
  cloud.gcs.add(new VirtualBucket('shards-200', { prefix: 's/', count: 200, body: file }), readers);
  const bench = cloud.bigquery.dataset('acme-data', 'bench');
  const types = [
    'INTEGER',
    'STRING',
    'NUMERIC',
    'FLOAT',
    'BOOLEAN',
    'DATE',
    'TIMESTAMP',
    'STRING',
    'INTEGER',
    'DATETIME',
  ];
  const fields = types.map((kind, n) => ({ name: `c${n}`, type: kind }));
  bench.table('shards', { fields, files: Array.from({ length: 200 }, () => file), rows: [] });
  const row = (n: number) => ({
    c0: String(n),
    c1: `customer number ${n}`,
    c2: `${n}.125`,
    c3: '0.1',
    c4: n % 2 === 0 ? 'true' : 'false',
    c5: '2026-11-25',
    c6: String(1_764_000_000_123_456 + n),
    c7: 'a text with "quotes", and more',
    c8: '9007199254740993',
    c9: '2026-11-25T01:02:03.5',
  });
  bench.table('rows', { fields, made: { count: 1_000_000, row } });
  cloud.bigquery.keepsPages = true;
  cloud.vertexai.users.add(LOCAL_SERVICE_ACCOUNT);
}
const environment = process.argv.includes('--bench')
  ? { ...cloud.environment, BENCH_VERTEX_GRPC: await cloud.vertexai.grpc() }
  : cloud.environment;
process.stdout.write(`${JSON.stringify(environment)}\n`);
await new Promise<void>((resolve) => process.once('SIGTERM', resolve).once('SIGINT', resolve));
await cloud[Symbol.asyncDispose]();
