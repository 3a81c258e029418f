import type { BigQueryConfig, Format } from './config.ts';
import type { Parameter } from './notes.ts';
import type { SchemaField } from './schema.ts';

/** A column between backticks; names of columns hold none. */
export const column = (name: string): string => `\`${name}\``;

/** A text as a literal. Source: https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#escape_sequences */
const literal = (text: string): string => `'${text.replace(/[\\']/g, '\\$&').replace(/\n/g, '\\n')}'`;

/** A query as something to select from; a comment at its end must not swallow the bracket. */
export const nested = (query: string): string => `(\n${query.trim().replace(/;$/, '')}\n)`;

const FORMATS: Readonly<Record<Format, string>> = { csv: 'CSV', json: 'JSON', avro: 'AVRO', parquet: 'PARQUET' };

/** Source: https://cloud.google.com/bigquery/docs/reference/standard-sql/export-statements */
export function exportData(
  sql: string,
  uri: string,
  { format, compression, header, delimiter, logicalTypes }: Shape,
): string {
  const options = [
    `uri=${literal(uri)}`,
    `format='${FORMATS[format]}'`,
    ...(compression === 'none' ? [] : [`compression='${compression.toUpperCase()}'`]),
    'overwrite=false',
    ...(format === 'csv' ? [`header=${header}`, `field_delimiter=${literal(delimiter)}`] : []),
    ...(format === 'avro' ? [`use_avro_logical_types=${logicalTypes}`] : []),
  ];
  return `EXPORT DATA OPTIONS(${options.join(', ')}) AS\n${sql.trim().replace(/;$/, '')}`;
}

/** How files are written. */
export interface Shape {
  readonly format: Format;
  readonly compression: string;
  readonly header: boolean;
  readonly delimiter: string;
  readonly logicalTypes: boolean;
}

export const shapeOf = (config: BigQueryConfig, rows: boolean): Shape => {
  const { header, delimiter, logicalTypes } = config;
  const format = config.format ?? (rows ? 'json' : 'parquet');
  const compression = config.compression ?? (format === 'parquet' || format === 'avro' ? 'snappy' : 'none');
  return { format, compression, header, delimiter, logicalTypes };
};

/** `part-000000000000.csv.gz` ends with this. */
export const extensionOf = ({ format, compression }: Shape): string =>
  `.${format}${compression === 'gzip' && (format === 'csv' || format === 'json') ? '.gz' : ''}`;

/** Columns that grow. Others have no order, or none that a text can tell. */
const GROWS = new Set(['INTEGER', 'NUMERIC', 'BIGNUMERIC', 'STRING', 'DATE', 'DATETIME', 'TIMESTAMP']);
export const grows = ({ type, mode }: SchemaField): boolean => GROWS.has(type) && mode !== 'REPEATED';

const NOW_LESS = (ms: number): string => `TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL ${ms} MILLISECOND)`;
const LAGGED: Readonly<Record<string, (ms: number) => string>> = {
  TIMESTAMP: NOW_LESS,
  DATETIME: (ms) => `DATETIME(${NOW_LESS(ms)})`,
  DATE: (ms) => `DATE(${NOW_LESS(ms)})`,
};
export const knowsLag = (type: string): boolean => type in LAGGED;

/** The newest value of a column, and how many rows have none. */
export function boundsQuery(
  from: string,
  { name, type }: SchemaField,
  begun: boolean,
  lagMs: number | undefined,
): string {
  const c = column(name);
  const conditions = [
    ...(begun ? [`(${c} > @isthmus_from OR ${c} IS NULL)`] : []),
    ...(lagMs === undefined ? [] : [`(${c} <= ${LAGGED[type]?.(lagMs)} OR ${c} IS NULL)`]),
  ];
  const where = conditions.length === 0 ? '' : `\nWHERE ${conditions.join(' AND ')}`;
  return `SELECT CAST(MAX(${c}) AS STRING) AS until, CAST(COUNTIF(${c} IS NULL) AS STRING) AS without\nFROM ${from}${where}`;
}

/** @param bounded up to `@isthmus_until`; otherwise all there is by now. */
export function newRows(from: string, name: string, begun: boolean, bounded: boolean): string {
  const c = column(name);
  const conditions = [...(begun ? [`${c} > @isthmus_from`] : []), ...(bounded ? [`${c} <= @isthmus_until`] : [])];
  return `SELECT * FROM ${from}${conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`}`;
}

/** Metadata of the partitions of one table. Source: https://cloud.google.com/bigquery/docs/information-schema-partitions */
export const partitionsQuery = (project: string, dataset: string): string =>
  `SELECT partition_id, CAST(MAX(UNIX_MILLIS(last_modified_time)) AS STRING) AS modified FROM \`${project}.${dataset}.INFORMATION_SCHEMA.PARTITIONS\` WHERE table_name = @table AND partition_id IS NOT NULL GROUP BY partition_id ORDER BY partition_id`;

/** Parameters as a pipeline writes them. */
export function parametersOf(given: BigQueryConfig['parameters']): Parameter[] {
  return Object.entries(given).map(([name, value]) => {
    const type =
      typeof value === 'boolean'
        ? 'BOOL'
        : typeof value === 'string'
          ? 'STRING'
          : Number.isInteger(value)
            ? 'INT64'
            : 'FLOAT64';
    return { name, type, value: String(value) };
  });
}

/** The type of a parameter that is compared with a column of this type. */
export const parameterType = (type: string): string => (type === 'INTEGER' ? 'INT64' : type);

/** Source: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationQuery */
export const queryConfiguration = (
  query: string,
  parameters: readonly Parameter[],
  { maxBytesBilled, priority, cache }: BigQueryConfig,
): Readonly<Record<string, unknown>> => ({
  query,
  // The API's own default is true.
  useLegacySql: false,
  maximumBytesBilled: String(maxBytesBilled),
  priority: priority.toUpperCase(),
  useQueryCache: cache,
  ...(parameters.length === 0
    ? {}
    : {
        parameterMode: 'NAMED',
        queryParameters: parameters.map(({ name, type, value }) => ({
          name,
          parameterType: { type },
          parameterValue: { value },
        })),
      }),
});
