import { gzipSync } from 'node:zlib';
import { csvLines, jsonLines } from './encode.ts';
import type { Field, Row } from './tables.ts';

export interface FileFormat {
  readonly format: 'CSV' | 'JSON' | 'AVRO' | 'PARQUET';
  readonly compression: string;
  readonly header: boolean;
  readonly delimiter: string;
  /** Dates and times as numbers with a meaning, not as text. */
  readonly logicalTypes: boolean;
}

const COMPRESSIONS = {
  CSV: ['NONE', 'GZIP'],
  JSON: ['NONE', 'GZIP'],
  AVRO: ['NONE', 'DEFLATE', 'SNAPPY'],
  PARQUET: ['NONE', 'SNAPPY', 'GZIP', 'ZSTD'],
} as const;

const NO_AVRO = /^(RANGE)$/;

/** Why rows of these columns cannot be written so. Source: https://cloud.google.com/bigquery/docs/exporting-data */
export function cannotBeWritten({ format, compression }: FileFormat, fields: readonly Field[]): string | undefined {
  if (!(COMPRESSIONS[format] as readonly string[]).includes(compression))
    return `Compression ${compression} is not supported for format ${format}`;
  const nested = fields.find(({ mode, fields: inner }) => mode === 'REPEATED' || inner !== undefined);
  if (format === 'CSV' && nested !== undefined)
    return `Operation cannot be performed on a nested schema. Field: ${nested.name}`;
  const range = fields.find(({ type }) => NO_AVRO.test(type));
  if ((format === 'AVRO' || format === 'PARQUET') && range !== undefined)
    return `Type RANGE of field ${range.name} is not supported in format ${format}`;
  return undefined;
}

/** One file of an export. What writes Avro and Parquet is loaded only then: it is no dependency of the package. */
export async function fileOf(shape: FileFormat, fields: readonly Field[], rows: readonly Row[]): Promise<Buffer> {
  if (shape.format === 'AVRO') return (await import('./avro.ts').catch(told)).avroFile(shape, fields, rows);
  if (shape.format === 'PARQUET') return (await import('./parquet.ts').catch(told)).parquetFile(shape, fields, rows);
  const lines = shape.format === 'CSV' ? csvLines(fields, rows, shape) : jsonLines(fields, rows);
  const text = Buffer.from([...lines].join(''));
  return shape.compression === 'GZIP' ? gzipSync(text) : text;
}

function told(error: unknown): never {
  if ((error as { readonly code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw error;
  throw new Error(
    'the local BigQuery writes Avro and Parquet with avsc and hyparquet-writer: npm install -D avsc hyparquet-writer',
  );
}

export const EXTENSIONS = { CSV: 'csv', JSON: 'json', AVRO: 'avro', PARQUET: 'parquet' } as const;
