import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { Item, StateStore } from '../../core/api/index.ts';
import { run } from '../../core/engine/run.ts';
import { resultTable } from '../cloud/bigquery/query.ts';
import { crc32c } from '../cloud/body.ts';
import { LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { runContext } from '../conformance/run-context.ts';
import { job, sinkThat } from '../core/job.ts';
import { testRuntime } from '../support.ts';
import { bigQueryCloud, FIELDS, PROJECT, ROWS, STAGING } from './bigquery-cloud.ts';

const staging = { bucket: STAGING };
const TABLE = { table: 'sales.orders' };
const QUERY = { query: `SELECT * FROM \`${PROJECT}.sales.orders\`` };
const nestedFields = [
  { name: 'id', type: 'INTEGER' },
  { name: 'tags', type: 'STRING', mode: 'REPEATED' },
  { name: 'who', type: 'RECORD', fields: [{ name: 'name', type: 'STRING' }] },
] as const;
const nestedRows = [{ id: '1', tags: ['a', 'b'], who: { name: 'x' } }];

const manifestOf = (text: string) => JSON.parse(text) as Record<string, unknown> & { files: Record<string, unknown>[] };

describe('a table by an extract job', () => {
  it.each([
    ['parquet', 'snappy'],
    ['parquet', 'zstd'],
    ['avro', 'deflate'],
    ['json', 'gzip'],
    ['csv', 'none'],
  ])('arrives as %s, %s, with a manifest that proves it, and nothing stays behind', async (format, compression) => {
    await using cloud = await bigQueryCloud();
    const { report, keys, sink, facts } = await cloud.carry({ ...TABLE, staging, format, compression });
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 2 } });
    const [manifestKey = '', fileKey = ''] = keys;
    expect(fileKey).toMatch(/^\d{8}T\d{9}Z\/part-000000000000\.(parquet|avro|json\.gz|csv)$/);
    const bytes = sink.objects.get(fileKey)?.bytes ?? Buffer.alloc(0);
    expect(manifestOf(String(sink.objects.get(manifestKey)?.bytes))).toMatchObject({
      source: `${PROJECT}.sales.orders`,
      engine: 'extract',
      jobId: cloud.jobs('EXTRACT')[0]?.id,
      rows: 3,
      bytes: bytes.length,
      files: [{ key: fileKey, bytes: bytes.length, crc32c: crc32c(bytes) }],
      schema: FIELDS.map(({ name, type }) => ({ name, type })),
    });
    expect(facts).toMatchObject({ engine: 'extract', location: 'EU', files: 1 });
    expect(cloud.jobs('EXTRACT')[0]?.configuration).toMatchObject({ labels: { 'isthmus-pipeline': 'test' } });
    expect(cloud.staged()).toBe(0);
  });

  it('comes as many shards, in order, each with the checksum that Cloud Storage published', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.rowsPerFile = 1;
    const { keys, text } = await cloud.carry({ ...TABLE, staging, format: 'json' });
    expect(keys.map((key) => key.slice(-12))).toEqual(
      ['ifest.json', '000000.json', '000001.json', '000002.json'].map((end) => expect.stringContaining(end)),
    );
    expect(text(keys[3] ?? '')).toBe('{"id":"3"}\n');
  });

  it('of a partition, and of those from one to another', async () => {
    await using cloud = await bigQueryCloud();
    const rows = ['2026-11-01', '2026-11-02', '2026-11-03'].map((day, n) => ({ id: String(n), day }));
    const fields = [FIELDS[0], FIELDS[7]].filter((field) => field !== undefined);
    cloud.sales.table('parted', { fields, rows, partitionedBy: 'day' });
    answerPartitions(cloud);
    const one = await cloud.carry({ table: 'sales.parted', partitions: '20261102', staging, format: 'json' });
    expect(one.keys.map((key) => key.split('/')[0])).toEqual(['20261102', '20261102']);
    expect(one.text(one.keys[1] ?? '')).toBe('{"id":"1","day":"2026-11-02"}\n');
    const range = { from: '20261102', to: '20261130' };
    const two = await cloud.carry({
      table: 'sales.parted',
      partitions: range,
      staging,
      format: 'json',
      manifest: null,
    });
    expect(two.keys.map((key) => key.split('/')[0])).toEqual(['20261102', '20261103']);
  });

  it('and several by a pattern, views left out and told', async () => {
    await using cloud = await bigQueryCloud();
    for (const id of ['day_1', 'day_2', 'other']) cloud.sales.table(id, { fields: FIELDS, rows: ROWS });
    cloud.sales.table('day_view', { type: 'VIEW', fields: FIELDS, rows: ROWS });
    const { keys, facts } = await cloud.carry({ tables: 'sales.day_*', staging, folder: '{table}/', manifest: null });
    expect(keys).toEqual(['day_1/part-000000000000.parquet', 'day_2/part-000000000000.parquet']);
    expect(facts).toMatchObject({ viewsLeftOut: 1 });
  });
});

/** What INFORMATION_SCHEMA.PARTITIONS says of the tables of the dataset. */
function answerPartitions(cloud: Awaited<ReturnType<typeof bigQueryCloud>>): void {
  cloud.bigquery.answers.push({
    matches: /INFORMATION_SCHEMA\.PARTITIONS/,
    answer: (_, { table = '' }) => {
      const modified = cloud.sales.tables.get(table)?.partitioning?.modified ?? new Map<string, number>();
      const rows = [...modified].map(([partition_id, at]) => ({ partition_id, modified: String(at) }));
      return resultTable(
        [
          { name: 'partition_id', type: 'STRING' },
          { name: 'modified', type: 'STRING' },
        ],
        rows,
      );
    },
  });
}

describe('a query by EXPORT DATA', () => {
  it('writes files by a job that is limited, labelled, in GoogleSQL, and is billed once', async () => {
    await using cloud = await bigQueryCloud();
    const { report, facts, keys, text } = await cloud.carry({
      ...QUERY,
      staging,
      format: 'csv',
      labels: { team: 'data' },
    });
    expect(report.outcome).toBe('complete');
    const [job] = cloud.jobs('QUERY');
    expect(cloud.jobs('QUERY')).toHaveLength(1);
    expect(job?.configuration).toMatchObject({
      labels: { team: 'data', 'isthmus-pipeline': 'test' },
      query: { useLegacySql: false, maximumBytesBilled: String(100 * 1024 ** 3), useQueryCache: true },
    });
    expect(text(keys[1] ?? '')).toContain('id,select,price');
    expect(facts).toMatchObject({ engine: 'export', rows: 3, bytesBilled: 10 * 1024 * 1024, costUsd: 0.0001 });
    expect(manifestOf(text(keys[0] ?? ''))).toMatchObject({
      rows: 3,
      queryHash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(cloud.staged()).toBe(0);
  });

  it('is what a view and an external table are read with, without being told', async () => {
    await using cloud = await bigQueryCloud();
    cloud.sales.table('seen', { type: 'VIEW', fields: FIELDS, rows: ROWS });
    cloud.sales.table('outside', { type: 'EXTERNAL', fields: FIELDS, rows: ROWS });
    for (const table of ['sales.seen', 'sales.outside']) {
      const { report, facts } = await cloud.carry({ table, staging });
      expect(report.outcome).toBe('complete');
      expect(facts).toMatchObject({ engine: 'export', rows: 3 });
    }
    await expectError(cloud.carry({ table: 'sales.seen', staging, engine: 'extract' }), 'invalid_config', 'is a VIEW');
  });

  it('passes parameters by name and type, and holds nested data', async () => {
    await using cloud = await bigQueryCloud();
    let given: unknown;
    cloud.bigquery.answers.push({
      matches: /FROM nested/,
      answer: (_, parameters) => {
        given = parameters;
        return resultTable(nestedFields, nestedRows);
      },
    });
    const parameters = { region: "o'brien", least: 3, ratio: 0.5, open: true };
    const query = 'SELECT * FROM nested WHERE r = @region; ';
    const { keys, text } = await cloud.carry({ query, parameters, staging, format: 'json' });
    expect(given).toEqual({ region: "o'brien", least: '3', ratio: '0.5', open: 'true' });
    expect(text(keys[1] ?? '')).toBe('{"id":"1","tags":["a","b"],"who":{"name":"x"}}\n');
    const typed = cloud.jobs('QUERY')[0]?.configuration.query as {
      queryParameters: { parameterType: { type: string } }[];
    };
    expect(typed.queryParameters.map(({ parameterType }) => parameterType.type)).toEqual([
      'STRING',
      'INT64',
      'FLOAT64',
      'BOOL',
    ]);
    await expectError(
      cloud.carry({ query, parameters, staging, format: 'csv' }),
      'invalid_config',
      'csv cannot hold the column "tags"',
    );
  });

  it('without rows leaves a manifest that says so', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.answers.push({ matches: /FROM empty/, answer: () => resultTable(FIELDS, []) });
    const query = 'SELECT * FROM empty';
    const exported = await cloud.carry({ query, staging, folder: '' });
    expect(manifestOf(exported.text('_manifest.json'))).toMatchObject({ rows: 0, files: [{}] });
    const read = await cloud.carry({ query, format: 'csv', folder: '' });
    expect(read.text('part-000000000000.csv')).toBe(`${FIELDS.map(({ name }) => name).join(',')}\n`);
    expect(manifestOf(read.text('_manifest.json'))).toMatchObject({ rows: 0 });
  });
});

describe('rows that are read', () => {
  it.each(['json', 'csv'] as const)('have the very text that an export of BigQuery has, as %s', async (format) => {
    await using cloud = await bigQueryCloud();
    const exported = await cloud.carry({ ...TABLE, staging, format, folder: '' });
    const read = await cloud.carry({ ...TABLE, format, folder: '' });
    const key = `part-000000000000.${format}`;
    expect(read.facts).toMatchObject({ engine: 'rows' });
    expect(read.text(key)).toBe(exported.text(key));
    expect(read.text(key)).toContain('9007199254740993');
    expect(read.text(key)).toContain('123456789012345678901234567.123456789');
    expect(read.text(key)).toContain('2025-11-24 16:00:00.123456 UTC');
    expect(read.text(key)).toContain('1969-12-31 23:59:59.999999 UTC');
  });

  it('of a query come page by page, gzipped if asked, and are counted', async () => {
    await using cloud = await bigQueryCloud();
    const count = 120_001;
    cloud.sales.table('many', {
      fields: FIELDS.slice(0, 2),
      made: { count, row: (n) => ({ id: String(n), select: `row ${n}` }) },
    });
    const { sink, keys, text } = await cloud.carry({ table: 'sales.many', format: 'csv', compression: 'gzip' });
    const lines = gunzipSync(sink.objects.get(keys[1] ?? '')?.bytes ?? '')
      .toString()
      .split('\n');
    expect(lines).toHaveLength(count + 2);
    expect(lines[count]).toBe(`${count - 1},row ${count - 1}`);
    expect(manifestOf(text(keys[0] ?? ''))).toMatchObject({ rows: count, engine: 'rows', jobId: null });
    expect(cloud.bigquery.requests.filter(({ target }) => target.includes('/data?'))).toHaveLength(13);
  });

  it('nested, lists, JSON, RANGE and INTERVAL are exact in json', async () => {
    await using cloud = await bigQueryCloud();
    const fields = [
      ...nestedFields,
      { name: 'j', type: 'JSON' },
      { name: 'r', type: 'RANGE', rangeElementType: { type: 'DATE' } },
      { name: 'i', type: 'INTERVAL' },
      { name: 'times', type: 'TIMESTAMP', mode: 'REPEATED' as const },
    ];
    const rows = [
      {
        ...nestedRows[0],
        j: '{"n":12345678901234567890}',
        r: '[2020-01-01, UNBOUNDED)',
        i: '1-2 3 4:5:6.789',
        times: ['0', '1'],
      },
    ];
    cloud.sales.table('odd', { fields, rows: rows as never });
    const { text } = await cloud.carry({ table: 'sales.odd', folder: '' });
    expect(text('part-000000000000.json')).toBe(
      '{"id":"1","tags":["a","b"],"who":{"name":"x"},"j":{"n":12345678901234567890},"r":"[2020-01-01, UNBOUNDED)","i":"1-2 3 4:5:6.789","times":["1970-01-01 00:00:00 UTC","1970-01-01 00:00:00.000001 UTC"]}\n',
    );
    await expectError(
      cloud.carry({ table: 'sales.odd', staging, format: 'avro' }),
      'invalid_config',
      'avro cannot hold the column "r" of type RANGE',
    );
    await expectError(cloud.carry({ table: 'sales.odd', staging }), 'invalid_config', 'parquet cannot hold');
  });

  it('that are fewer than were announced fail, and nothing is stored', async () => {
    await using cloud = await bigQueryCloud();
    const orders = cloud.sales.tables.get('orders');
    if (orders !== undefined) orders.count = 4;
    const { report, keys } = await cloud.carry(TABLE, {
      job: { retry: { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 } },
    });
    expect(report).toMatchObject({ outcome: 'failed', failures: [{ code: 'truncated' }] });
    expect(keys).toEqual([]);
  });
});

async function expectError(
  carried: ReturnType<Awaited<ReturnType<typeof bigQueryCloud>>['carry']>,
  code: string,
  message: string,
): Promise<void> {
  const { report } = await carried;
  expect(report.error).toMatchObject({ code, message: expect.stringContaining(message) });
}

describe('a job that takes long', () => {
  it('pauses the run; the next invocation finds the very job and goes on', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.asksUntilDone = 3;
    const outcomes: unknown[] = [];
    const runs = new Set<string>();
    for (let invocation = 0; invocation < 4; invocation++) {
      const { report } = await cloud.carry({ ...TABLE, staging });
      outcomes.push(report.error?.code ?? report.outcome);
      runs.add(report.runId);
      if (report.outcome === 'paused') expect(report.error).toMatchObject({ retryAfterMs: 10_000 });
    }
    expect(outcomes).toEqual(['pending', 'pending', 'pending', 'complete']);
    expect(runs.size).toBe(1);
    expect(cloud.jobs('EXTRACT')).toHaveLength(1);
    expect(cloud.staged()).toBe(0);
  });

  it('that is cancelled from outside is told once; the next run begins another', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.asksUntilDone = 1;
    await cloud.carry({ ...TABLE, staging });
    cloud.bigquery.cancel(cloud.jobs('EXTRACT')[0]?.id ?? '');
    await expectError(cloud.carry({ ...TABLE, staging }), 'job_cancelled', 'User requested cancellation');
    cloud.bigquery.asksUntilDone = 0;
    // What failed and was told is not waited for: the next one is.
    expect((await cloud.carry({ ...TABLE, staging })).report.error?.code).toBe('pending');
    expect((await cloud.carry({ ...TABLE, staging })).report.outcome).toBe('complete');
    expect(cloud.jobs('EXTRACT')).toHaveLength(2);
    expect(cloud.staged()).toBe(0);
  });

  it('that fails for a passing reason is begun anew, by itself', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.failures.push({ reason: 'backendError', message: 'try again' });
    const { report } = await cloud.carry({ ...TABLE, staging, wait: '5s' });
    expect(report.outcome).toBe('complete');
    expect(cloud.jobs('EXTRACT').map(({ id }) => id.slice(-3))).toEqual(['0_0', '0_1']);
  });

  it('without state that lasts is cancelled when the process ends, and its files go', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.asksUntilDone = 100;
    const { report } = await cloud.carry({ ...TABLE, staging }, { lasts: 'process' });
    expect(report.outcome).toBe('paused');
    expect(cloud.jobs('EXTRACT')[0]?.outcome?.error?.reason).toBe('stopped');
  });

  it('is begun once although the answer was lost', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.faults.add(/^POST .*\/jobs\?/, { kind: 'reset-after' });
    const { report } = await cloud.carry({ ...TABLE, staging });
    expect(report.outcome).toBe('complete');
    expect(cloud.jobs('EXTRACT')).toHaveLength(1);
  });
});

describe('only what is new', () => {
  it('by a column that grows: each row once, and the bookmark moves only when all is durable', async () => {
    await using cloud = await bigQueryCloud();
    const fields = FIELDS.filter(({ name }) => name === 'id' || name === 'updated');
    const rows = [1, 2, 3].map((n) => ({ id: String(n), updated: String(n * 1_000_000) }));
    const table = (count: number) =>
      cloud.sales.table('log', { fields, rows: [...rows.slice(0, count), { id: '99', updated: null }] });
    cloud.bigquery.answers.push({
      matches: /CAST\(MAX\(/,
      answer: (_, { isthmus_from: from }) => {
        const known = [...(cloud.sales.tables.get('log')?.rows() ?? [])]
          .map(({ updated }) => updated)
          .filter((at) => typeof at === 'string');
        const newest = known
          .map(Number)
          .filter((at) => from === undefined || at > Date.parse(from.replace(' ', 'T').replace('+00', 'Z')) * 1000);
        const until =
          newest.length === 0
            ? null
            : `${new Date(Math.max(...newest) / 1000).toISOString().slice(0, 19).replace('T', ' ')}+00`;
        return resultTable(
          [
            { name: 'until', type: 'STRING' },
            { name: 'without', type: 'STRING' },
          ],
          [{ until, without: '1' }],
        );
      },
    });
    const config = { table: 'sales.log', staging, format: 'json', incremental: { by: 'column', column: 'updated' } };
    const ids = ({ sink }: { sink: { objects: Map<string, { bytes: Buffer }> } }): string[] =>
      [...sink.objects]
        .filter(([key]) => !key.includes('manifest'))
        .flatMap(([, { bytes }]) => [...String(bytes).matchAll(/"id":"(\d+)"/g)].map((found) => found[1] ?? ''));
    table(2);
    const first = await cloud.carry(config);
    expect(ids(first)).toEqual(['1', '2']);
    expect(first.facts).toMatchObject({ rowsWithoutValue: 1, until: '1970-01-01 00:00:02+00' });
    table(3);
    const failing = sinkThat(async () => {
      throw new Error('no');
    });
    const broken = await cloud.carry(config, {
      through: failing,
      job: { retry: { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 } },
    });
    expect(broken.report.outcome).toBe('failed');
    const jobs = cloud.jobs('QUERY').length;
    const second = await cloud.carry(config);
    expect(ids(second)).toEqual(['3']);
    expect(cloud.jobs('QUERY')).toHaveLength(jobs);
    const third = await cloud.carry(config);
    expect(third.report).toMatchObject({ outcome: 'complete', items: { written: 0 } });
    expect(third.facts).toMatchObject({ nothingNew: true });
    expect(cloud.staged()).toBe(0);
  });

  it('by partition: those that changed, and no others', async () => {
    await using cloud = await bigQueryCloud();
    const fields = [FIELDS[0], FIELDS[7]].filter((field) => field !== undefined);
    const rows = ['2026-11-01', '2026-11-02'].map((day, n) => ({ id: String(n), day }));
    const parted = cloud.sales.table('parted', { fields, rows, partitionedBy: 'day', modified: 1000 });
    answerPartitions(cloud);
    const config = { table: 'sales.parted', staging, format: 'json', manifest: null, incremental: { by: 'partition' } };
    const folders = async () => (await cloud.carry(config)).keys.map((key) => key.split('/')[0]);
    expect(await folders()).toEqual(['20261101', '20261102']);
    expect(await folders()).toEqual([]);
    parted.partitioning?.modified.set('20261102', 2000);
    expect(await folders()).toEqual(['20261102']);
  });

  it('by the time at which tables changed', async () => {
    await using cloud = await bigQueryCloud();
    for (const id of ['a', 'b']) cloud.sales.table(id, { fields: FIELDS, rows: ROWS, modified: 1000 });
    const config = { tables: 'sales.?', staging, folder: '{table}/', manifest: null, incremental: { by: 'change' } };
    const tables = async () => (await cloud.carry(config)).keys.map((key) => key.split('/')[0]);
    expect(await tables()).toEqual(['a', 'b']);
    cloud.sales.table('b', { fields: FIELDS, rows: ROWS, modified: 2000 });
    expect(await tables()).toEqual(['b']);
    expect(await tables()).toEqual([]);
    const reset = await cloud.carry(config, { resetState: true });
    expect(reset.keys).toHaveLength(2);
  });
});

describe('what is wrong is told before anything begins', () => {
  it.each<[string, object, string, string]>([
    [
      'a staging bucket elsewhere',
      { ...TABLE, staging: { bucket: 'tokyo' } },
      'wrong_region',
      'the data are in EU, the staging bucket gs://tokyo in ASIA-NORTHEAST1',
    ],
    [
      'a staging bucket that keeps objects',
      { ...TABLE, staging: { bucket: 'locked' } },
      'invalid_config',
      'retention policy of 86400 s',
    ],
    [
      'no staging bucket',
      { ...TABLE, staging: { bucket: 'missing' } },
      'bucket_missing',
      'gs://missing does not exist',
    ],
    ['no table', { table: 'sales.nothing' }, 'invalid_config', 'Not found: Table'],
    ['no dataset', { table: 'nowhere.orders' }, 'invalid_config', 'Not found: Dataset'],
    ['no table by the pattern', { tables: 'sales.zzz*' }, 'invalid_config', 'no table of acme-data.sales matches zzz*'],
    ['a query that is none', { query: 'SELEC 1' }, 'invalid_config', 'Syntax error'],
    [
      'a table without partitions',
      { ...TABLE, partitions: '20261101', staging },
      'invalid_config',
      'is not partitioned',
    ],
    [
      'a column that is not there',
      { ...TABLE, staging, incremental: { by: 'column', column: 'nope' } },
      'invalid_config',
      'column `nope` does not exist',
    ],
    [
      'a column that does not grow',
      { ...TABLE, staging, incremental: { by: 'column', column: 'paid' } },
      'invalid_config',
      'BOOLEAN, which does not grow',
    ],
  ])('%s', async (_, config, code, message) => {
    await using cloud = await bigQueryCloud();
    cloud.gcs.bucket('tokyo').location = 'ASIA-NORTHEAST1';
    cloud.gcs.bucket('locked').retention = 86_400;
    await expectError(cloud.carry(config), code, message);
    expect(cloud.bigquery.jobs.size).toBe(0);
  });

  it.each<[object, string]>([
    [{}, '0 of table, tables and query are given'],
    [{ ...TABLE, ...QUERY }, '2 of table, tables and query are given'],
    [{ ...TABLE, parameters: { a: 1 } }, 'parameters belong to a query'],
    [{ ...QUERY, partitions: '20261101' }, 'partitions belong to a table'],
    [{ ...QUERY, asOf: '2026-11-24T00:00:00Z' }, 'asOf belongs to a table'],
    [{ ...QUERY, engine: 'extract' }, 'an extract job reads tables'],
    [{ ...TABLE, format: 'parquet' }, 'Set staging'],
    [{ ...TABLE, engine: 'extract' }, 'engine extract needs staging'],
    [{ ...TABLE, engine: 'rows', format: 'avro' }, 'become json or csv'],
    [{ ...TABLE, format: 'csv', compression: 'snappy' }, 'csv has no compression snappy'],
    [{ ...QUERY, incremental: { by: 'change' } }, 'incremental by change belongs to tables'],
    [{ tables: 'a.b*', incremental: { by: 'column', column: 'c' } }, 'for one table or query'],
  ])('%o is no source', async (config, message) => {
    await using cloud = await bigQueryCloud();
    expect(() => cloud.source(config)).toThrow(message);
  });

  it('a query that would read more than it may costs nothing', async () => {
    await using cloud = await bigQueryCloud();
    cloud.sales.table('huge', { fields: FIELDS, rows: ROWS, bytes: 2 ** 40 });
    const config = { query: `SELECT * FROM \`${PROJECT}.sales.huge\``, staging };
    await expectError(cloud.carry(config), 'budget_exceeded', 'Query exceeded limit for bytes billed: 107374182400');
    expect(cloud.staged()).toBe(0);
  });

  it('soft delete on the staging bucket is warned of', async () => {
    await using cloud = await bigQueryCloud();
    cloud.staging.softDelete = 604_800;
    const warnings: unknown[] = [];
    const log = { debug: () => {}, info: () => {}, warn: (...told: unknown[]) => void warnings.push(told) };
    const { report } = await cloud.carry({ ...TABLE, staging }, { log });
    expect(report.outcome).toBe('complete');
    expect(JSON.stringify(warnings)).toContain('keeps deleted objects for 7 days (soft delete), and they are billed');
  });
});

describe('never silently wrong', () => {
  it('rows that a policy leaves out end the run, unless they may be', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.filtered = true;
    await expectError(cloud.carry({ ...TABLE, staging }), 'rows_filtered', 'a row access policy or a mask was applied');
    expect((await cloud.carry({ ...TABLE, staging, allowFiltered: true })).report.outcome).toBe('complete');
  });

  it('files that vanish from staging end the run', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.rowsPerFile = 1;
    cloud.bigquery.asksUntilDone = 1;
    await cloud.carry({ ...TABLE, staging });
    const job = cloud.jobs('EXTRACT')[0];
    const work = job?.work;
    if (job !== undefined && work !== undefined)
      Object.assign(job, {
        work: async () => {
          const outcome = await work();
          cloud.staging.delete([...cloud.staging.from('')][1]?.name ?? '');
          return outcome;
        },
      });
    await expectError(
      cloud.carry({ ...TABLE, staging }),
      'files_missing',
      'holds 2 files, the job of acme-data.sales.orders wrote 3',
    );
    cloud.bigquery.asksUntilDone = 0;
    expect((await cloud.carry({ ...TABLE, staging })).report.outcome).toBe('complete');
    expect(cloud.staged()).toBe(0);
  });

  it('of which the job says nothing, and none is there, end the run', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.asksUntilDone = 1;
    await cloud.carry({ ...TABLE, staging });
    const job = cloud.jobs('EXTRACT')[0];
    const work = job?.work;
    if (job !== undefined && work !== undefined)
      Object.assign(job, {
        work: async () => {
          await work();
          for (const { name } of [...cloud.staging.from('')]) cloud.staging.delete(name);
          return { statistics: {} };
        },
      });
    await expectError(cloud.carry({ ...TABLE, staging }), 'files_missing', 'does not say how many it wrote');
  });

  it('what could not be stored is stored by the next run, from the same job; until then the files stay', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.rowsPerFile = 1;
    const failing = sinkThat(async ({ key }: Item) => {
      if (key.includes('000001')) throw new Error('no');
    });
    const job = { retry: { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 } };
    const first = await cloud.carry({ ...TABLE, staging }, { through: failing, job });
    expect(first.report).toMatchObject({ outcome: 'partial', items: { written: 2, failed: 1 } });
    expect([...failing.inner.objects.keys()].some((key) => key.includes('manifest'))).toBe(false);
    expect(cloud.staged()).toBe(3);
    const second = await cloud.carry({ ...TABLE, staging }, { sink: failing.inner });
    expect(second.report).toMatchObject({ outcome: 'complete', items: { written: 2, unchanged: 2 } });
    expect(cloud.jobs('EXTRACT')).toHaveLength(1);
    expect(cloud.staged()).toBe(0);
  });

  it('deletes nothing that it did not make', async () => {
    await using cloud = await bigQueryCloud();
    cloud.staging.put('isthmus/mine', 'x');
    cloud.staging.put('other', 'y');
    // Nor does it carry what others have put beside its files.
    const { report } = await cloud.carry({ ...TABLE, staging });
    expect(report.failures).toEqual([]);
    expect(JSON.stringify(report)).not.toContain('mine');
    expect([...cloud.staging.from('')].map(({ name }) => name)).toEqual(['isthmus/mine', 'other']);
  });
});

describe('after a failure', () => {
  const retry = { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 };
  const failing = (key: string) =>
    sinkThat(async (item: Item) => {
      if (item.key.includes(key)) throw new Error('no');
    });

  it('an export that another run takes up belongs to that run, also when it dies at its very end', async () => {
    await using cloud = await bigQueryCloud();
    const partial = failing('part-');
    await cloud.carry({ ...TABLE, staging }, { through: partial, job: { retry } });
    const { state } = cloud;
    const dying: StateStore = {
      load: (key) => state.load(key),
      save: (key, value, expected) => state.save(key, value, expected),
      reset: (key) => state.reset(key),
      delete: async () => {
        throw new Error('the process is dead');
      },
    };
    await cloud.carry({ ...TABLE, staging }, { sink: partial.inner, state: dying });
    const last = await cloud.carry({ ...TABLE, staging }, { sink: partial.inner, now: () => Date.now() + 60_000 });
    expect(last.report.outcome).toBe('complete');
    expect(cloud.jobs('EXTRACT')).toHaveLength(1);
    expect(cloud.staged()).toBe(0);
  });

  it('a search for what is new is made again, and tells what was wrong', async () => {
    await using cloud = await bigQueryCloud();
    const config = { ...TABLE, staging, incremental: { by: 'column', column: 'updated' } };
    const columns = [
      { name: 'until', type: 'STRING' },
      { name: 'without', type: 'STRING' },
    ];
    cloud.bigquery.answers.push({
      matches: /CAST\(MAX\(/,
      answer: () => resultTable(columns, [{ until: null, without: '0' }]),
    });
    cloud.bigquery.failures.push({ reason: 'resourcesExceeded', message: 'too much' });
    await expectError(cloud.carry(config), 'job_failed', 'resourcesExceeded: too much');
    expect((await cloud.carry(config)).report.outcome).toBe('complete');
  });

  it('a job whose begin was refused is begun by the next run of the same process', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.faults.add(/^POST .*\/jobs\?/, {
      kind: 'answer',
      status: 403,
      body: '{"error":{"code":403,"message":"Quota exceeded","errors":[{"reason":"quotaExceeded","message":"Quota exceeded"}]}}',
    });
    const source = cloud.source({ ...TABLE, staging });
    const warm = job({ sources: [source], state: cloud.state, lasts: 'anywhere' });
    expect((await run(warm, { runtime: testRuntime() })).error?.code).toBe('quota_exceeded');
    expect((await run(warm, { runtime: testRuntime() })).outcome).toBe('complete');
    await source[Symbol.asyncDispose]?.();
  });

  it('rows that were filtered are asked for again, since somebody may have mended it', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.filtered = true;
    await cloud.carry({ ...TABLE, staging });
    cloud.bigquery.filtered = false;
    await cloud.carry({ ...TABLE, staging, wait: '5s' });
    expect(cloud.jobs('EXTRACT')).toHaveLength(2);
    expect(cloud.staged()).toBe(0);
  });

  it('of a source that was changed meanwhile the old job is ended, and its files go from where they were', async () => {
    await using cloud = await bigQueryCloud();
    const other = cloud.gcs.bucket('acme-other', [LOCAL_SERVICE_ACCOUNT], [LOCAL_SERVICE_ACCOUNT]);
    cloud.bigquery.asksUntilDone = 100;
    await cloud.carry({ ...TABLE, staging });
    cloud.bigquery.asksUntilDone = 0;
    const { report } = await cloud.carry({ ...TABLE, staging: { bucket: 'acme-other' }, format: 'csv' });
    expect(report.outcome).toBe('complete');
    expect(cloud.jobs('EXTRACT').map(({ outcome }) => outcome?.error?.reason)).toEqual(['stopped', undefined]);
    expect([cloud.staged(), [...other.from('')].length]).toEqual([0, 0]);
  });

  it('a larger lag keeps the bookmark', async () => {
    await using cloud = await bigQueryCloud();
    const config = (lag?: string) => ({
      ...TABLE,
      staging,
      incremental: { by: 'column', column: 'updated', ...(lag && { lag }) },
    });
    const asked: (string | undefined)[] = [];
    const columns = [
      { name: 'until', type: 'STRING' },
      { name: 'without', type: 'STRING' },
    ];
    cloud.bigquery.answers.push({
      matches: /CAST\(MAX\(/,
      answer: (_, { isthmus_from: from }) => {
        asked.push(from);
        return resultTable(columns, [{ until: '2026-11-25 00:00:00+00', without: '0' }]);
      },
    });
    await cloud.carry(config());
    await cloud.carry(config('10m'));
    expect(asked).toEqual([undefined, '2026-11-25 00:00:00+00']);
  });
});

describe('what costs nothing', () => {
  it('doctor and a plan begin no job but for the names of partitions', async () => {
    await using cloud = await bigQueryCloud();
    cloud.bigquery.answers.push({ matches: /FROM \(|CAST\(MAX/, answer: () => resultTable(FIELDS, ROWS) });
    for (const config of [
      { ...TABLE, staging },
      { ...QUERY, staging, incremental: { by: 'column', column: 'updated' } },
    ]) {
      const source = cloud.source(config);
      const checks = (await source.check?.({ signal: new AbortController().signal })) ?? [];
      expect(checks.map(({ verdict }) => verdict)).toEqual(['pass', 'pass']);
      const signal = new AbortController().signal;
      const items = await Array.fromAsync(source.list({ signal, run: runContext({ purpose: 'plan' }) }));
      expect(items).toHaveLength(1);
      await source[Symbol.asyncDispose]?.();
    }
    expect(cloud.bigquery.jobs.size).toBe(0);
  });

  it('a notification of another source of the pipeline is none of its business', async () => {
    await using cloud = await bigQueryCloud();
    const { report } = await cloud.carry({ ...TABLE, staging }, { only: { key: 'a' } });
    expect(report).toMatchObject({ outcome: 'complete', items: { written: 0 } });
    expect(cloud.bigquery.requests).toEqual([]);
  });
});

describe('views', () => {
  it('are read row by row without a staging bucket, by a query', async () => {
    await using cloud = await bigQueryCloud();
    cloud.sales.table('seen', { type: 'VIEW', fields: FIELDS, rows: ROWS });
    const { report, facts } = await cloud.carry({ table: 'sales.seen' });
    expect(report.outcome).toBe('complete');
    expect(facts).toMatchObject({ engine: 'rows', bytesBilled: expect.any(Number) });
  });

  it('have no time of change that says anything', async () => {
    await using cloud = await bigQueryCloud();
    cloud.sales.table('seen', { type: 'VIEW', fields: FIELDS, rows: ROWS });
    await expectError(
      cloud.carry({ table: 'sales.seen', staging, incremental: { by: 'change' } }),
      'invalid_config',
      'does not say whether its rows did',
    );
    await expectError(
      cloud.carry({ tables: 'sales.see*', staging }),
      'invalid_config',
      'only 1 views and external tables',
    );
  });
});

it('a table that changes while its rows are read is not stored', async () => {
  await using cloud = await bigQueryCloud();
  const changing = sinkThat(async () => {
    cloud.sales.table('orders', { fields: FIELDS, rows: ROWS.slice(0, 1), modified: Date.now() + 1000 });
  });
  const { report } = await cloud.carry(TABLE, {
    through: changing,
    job: { retry: { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 } },
  });
  expect(report.failures[0]).toMatchObject({ code: 'source_changed' });
  expect(changing.inner.objects.size).toBe(0);
});
