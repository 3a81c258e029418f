import type { OptionProblem } from '../../core/api/index.ts';
import type { BigQueryConfig, Format } from './config.ts';

/** What BigQuery writes. Source: https://cloud.google.com/bigquery/docs/exporting-data#export_formats_and_compression_types */
export const COMPRESSIONS: Readonly<Record<Format, readonly string[]>> = {
  csv: ['none', 'gzip'],
  json: ['none', 'gzip'],
  avro: ['none', 'deflate', 'snappy'],
  parquet: ['none', 'snappy', 'gzip', 'zstd'],
};

/** What single options do not show. */
export function* optionProblems(config: BigQueryConfig): Generator<OptionProblem> {
  const { table, tables, query, parameters, partitions, asOf, engine } = config;
  const named = [table, tables, query].filter((one) => one !== undefined).length;
  if (named !== 1)
    yield { path: [], message: `${named} of table, tables and query are given. Give exactly one of them.` };
  if (query === undefined && Object.keys(parameters).length > 0)
    yield { path: ['parameters'], message: 'parameters belong to a query. Leave them out.' };
  if (query !== undefined && partitions !== undefined)
    yield { path: ['partitions'], message: 'partitions belong to a table. Put a condition into the query.' };
  if (query !== undefined && asOf !== undefined)
    yield { path: ['asOf'], message: 'asOf belongs to a table. Put FOR SYSTEM_TIME AS OF into the query.' };
  if (partitions !== undefined && asOf !== undefined)
    yield { path: ['asOf'], message: 'partitions cannot be read as of a time. Leave one of both out.' };
  if (query !== undefined && engine === 'extract')
    yield { path: ['engine'], message: 'an extract job reads tables, not queries. Set engine to auto or export.' };
  yield* fileProblems(config);
  yield* partitionProblems(config);
  yield* incrementalProblems(config);
}

/** Formats, and who can write them. */
function* fileProblems({ engine, format, compression, staging }: BigQueryConfig): Generator<OptionProblem> {
  const isFile = format === 'parquet' || format === 'avro';
  if (engine === 'rows' && isFile)
    yield { path: ['format'], message: `rows that are read become json or csv. Leave engine out for ${format}.` };
  else if (staging === undefined && (engine === 'extract' || engine === 'export'))
    yield { path: ['engine'], message: `engine ${engine} needs staging. Set staging: { bucket: … }.` };
  else if (staging === undefined && isFile)
    yield {
      path: ['format'],
      message: `${format} is written by a job, which needs a bucket. Set staging: { bucket: … }, or format to json or csv.`,
    };
  if (format === undefined || compression === undefined || COMPRESSIONS[format].includes(compression)) return;
  const known = COMPRESSIONS[format].join(', ');
  yield { path: ['compression'], message: `${format} has no compression ${compression}. Set it to one of ${known}.` };
}

function* partitionProblems({ partitions }: BigQueryConfig): Generator<OptionProblem> {
  if (partitions === undefined || typeof partitions === 'string' || Array.isArray(partitions)) return;
  const { from, to } = partitions as { readonly from: string; readonly to: string };
  const isNumber = (name: string): boolean => /^-?\d+$/.test(name);
  const path = ['partitions'];
  if (!isNumber(from) || !isNumber(to))
    yield { path, message: 'a range of partitions goes from number to number. List the others one by one.' };
  else if (BigInt(from) > BigInt(to))
    yield { path, message: `partitions from ${from} to ${to} are none. Put the earlier one first.` };
}

function* incrementalProblems(config: BigQueryConfig): Generator<OptionProblem> {
  const { tables, query, partitions, asOf, incremental, engine } = config;
  if (incremental === undefined) return;
  const path = ['incremental'];
  const { by } = incremental;
  if (query !== undefined && by !== 'column')
    yield { path, message: `incremental by ${by} belongs to tables. Set by: column.` };
  if (by === 'column' && (partitions !== undefined || tables !== undefined || asOf !== undefined))
    yield {
      path,
      message: 'incremental by column is for one table or query as a whole. Leave partitions, tables and asOf out.',
    };
  if (by === 'column' && engine === 'extract')
    yield { path: ['engine'], message: 'an extract job reads whole tables. Leave engine out.' };
  if (by !== 'column' && asOf !== undefined)
    yield { path, message: 'incremental and asOf contradict each other. Leave one out.' };
}
