import { byteSize, duration, gcsBucket, identityName, keyPrefix, problemsBy, z } from '../../core/api/index.ts';
import { optionProblems } from './check-options.ts';

const PROJECT = '(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]';
/** Names hold no backtick, so they can stand between backticks. Source: https://cloud.google.com/bigquery/docs/tables#table_naming */
const TABLE = new RegExp(String.raw`^(?:${PROJECT}\.)?\w{1,1024}\.[\p{L}\p{M}\p{N}\p{Pc}\p{Pd} ]{1,1024}$`, 'u');
const PATTERN = new RegExp(String.raw`^(?:${PROJECT}\.)?\w{1,1024}\.[\p{L}\p{M}\p{N}\p{Pc}\p{Pd} *?]{1,1024}$`, 'u');
const PARTITION = /^(?:\d{4}|\d{6}|\d{8}|\d{10}|-?\d{1,18}|__NULL__|__UNPARTITIONED__)$/;

const projectId = () => z.string().regex(new RegExp(`^${PROJECT}$`), 'must be a project id, such as acme-data');
const partition = () =>
  z
    .string({ error: 'must be a partition in quotes, such as "20261125"' })
    .regex(PARTITION, 'must be a partition, such as "20261125"');

const parameter = z.union([z.string(), z.number(), z.boolean()]);

export const FORMATS = ['parquet', 'avro', 'json', 'csv'] as const;
export type Format = (typeof FORMATS)[number];

const options = z.strictObject({
  identity: identityName().describe('An identity of kind `gcp`.'),
  project: projectId().describe('The project that jobs run in, and that pays for queries.'),
  table: z
    .string()
    .regex(TABLE, 'must be dataset.table or project.dataset.table')
    .optional()
    .describe('One table or view: `sales.orders`.'),
  tables: z
    .string()
    .regex(PATTERN, 'must be dataset.pattern or project.dataset.pattern')
    .optional()
    .describe(
      'Several tables of a dataset, by a pattern with `*` and `?`: `sales.events_*`. Views only if it is not a pattern.',
    ),
  query: z
    .string()
    .min(1)
    .max(1024 * 1024)
    .optional()
    .describe('A query in GoogleSQL; `@name` stands for a parameter.'),
  parameters: z
    .record(z.string().regex(/^[A-Za-z_]\w{0,127}$/, 'must be the name of a parameter'), parameter)
    .default({})
    .describe('Values of the parameters of the query. Numbers are INT64 or FLOAT64, anything else is text.'),
  partitions: z
    .union(
      [partition(), z.array(partition()).min(1).max(4000), z.strictObject({ from: partition(), to: partition() })],
      'must be the name of a partition such as "20261101", a list of them, or { from: …, to: … }',
    )
    .optional()
    .describe('Only this partition, these, or those from one to another: `{ from: "20261101", to: "20261130" }`.'),
  asOf: z.iso
    .datetime({ offset: true, error: 'must be a time such as 2026-11-24T00:00:00Z' })
    .optional()
    .describe('The table as it was at this time, at most seven days ago: `2026-11-24T00:00:00Z`.'),
  incremental: z
    .discriminatedUnion('by', [
      z.strictObject({
        by: z.literal('column'),
        column: z
          .string()
          .regex(/^[\p{L}_][\p{L}\p{N}_]{0,299}$/u, 'must be the name of a column')
          .describe('Of the table, or of the result of the query.'),
        lag: duration().optional().describe('Rows of the last so many are left for later.'),
      }),
      z.strictObject({ by: z.literal('partition') }),
      z.strictObject({ by: z.literal('change') }),
    ])
    .optional()
    .describe(
      'Only what is new since the last complete run: rows by a column that grows (`lag` leaves the newest for later), partitions that changed, or tables that changed. Needs `state`.',
    ),
  engine: z
    .enum(['auto', 'extract', 'export', 'rows'])
    .default('auto')
    .describe(
      '`extract`: a free job, for tables. `export`: EXPORT DATA, for queries and views, billed as a query. `rows`: read row by row, without a staging bucket. `auto` takes the first that can do it.',
    ),
  format: z.enum(FORMATS).optional().describe('Default: parquet, or json where rows are read.'),
  compression: z
    .enum(['none', 'gzip', 'deflate', 'snappy', 'zstd'])
    .optional()
    .describe('Default: snappy for parquet and avro, none for csv and json.'),
  header: z.boolean().default(true).describe('Whether csv begins with the names of the columns.'),
  delimiter: z
    .string()
    .regex(/^[\x20\x21\x23-\x7e\t]$/, 'must be one character, and no quote')
    .default(',')
    .describe('Between the fields of csv.'),
  logicalTypes: z.boolean().default(true).describe('Whether avro holds dates and times as such, and not as text.'),
  staging: z
    .strictObject({
      bucket: gcsBucket().describe('Where jobs write, in the location of the data.'),
      prefix: keyPrefix()
        .default('isthmus/')
        .describe('Files lie below it, in a folder of the run, until they are proved in the sink.'),
      keep: duration()
        .prefault('24h')
        .describe('An export that could not be carried is tried again for so long; then a new one is made.'),
    })
    .optional()
    .describe('A bucket for the files on their way. Without it rows are read.'),
  folder: z
    .string()
    .max(512)
    .regex(
      /^(?:[^{}\p{Cc}]|\{(?:table|partition|time|date)\})*$/u,
      'knows {table}, {partition}, {time} and {date} only',
    )
    .optional()
    .describe(
      'What keys begin with. Default: `{table}/{partition}/{time}/`, without what there is only one of. `{time}` is when the export began, `{date}` its day, so that no run mixes its files with those of another.',
    ),
  manifest: z
    .string()
    .regex(/^[\w.-]{1,100}$/, 'must be a plain name')
    .nullable()
    .default('_manifest.json')
    .describe('Written last beside the files: rows, bytes, checksums, schema, job. `null` leaves it out.'),
  maxBytesBilled: byteSize({ min: '10MiB' })
    .prefault('100GiB')
    .describe('A query that would read more fails before it begins, and costs nothing.'),
  priority: z.enum(['interactive', 'batch']).default('interactive').describe('Batch queries wait for idle slots.'),
  cache: z.boolean().default(true).describe('Whether a query may be answered from the cache, which is free.'),
  labels: z
    .record(
      z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, 'must be lower-case letters, digits, - and _'),
      z.string().regex(/^[a-z0-9_-]{0,63}$/, 'must be lower-case letters, digits, - and _'),
    )
    .default({})
    .describe('Of the jobs, for billing. `isthmus-pipeline` is added.'),
  jobTimeout: duration().optional().describe('BigQuery cancels a job that takes longer.'),
  wait: duration()
    .prefault('60s')
    .describe(
      'For so long an invocation waits for jobs; then the run pauses, and the next goes on. Processes wait on.',
    ),
  allowFiltered: z
    .boolean()
    .default(false)
    .describe('Accept that row access policies or masking keep a part of the data from the identity.'),
  location: z
    .string()
    .regex(/^(?:US|EU|[a-z]+-[a-z]+\d+)$/, 'must be US, EU or a region')
    .optional()
    .describe('Of the data. Default: that of the dataset; of a query without tables, US.'),
});

export type BigQueryConfig = z.output<typeof options>;
export const bigqueryConfig = options.superRefine(problemsBy(optionProblems));
