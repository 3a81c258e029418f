import { gzipSync, zstdCompressSync } from 'node:zlib';
import { ByteWriter, parquetWrite } from 'hyparquet-writer';
import type { FileFormat } from './files.ts';
import type { Field, Row, Value } from './tables.ts';
import { DECIMALS, datetimeMicros, plainValue, timeMicros, unscaled } from './values.ts';

function parquetElement(field: Field): object[] {
  if (field.mode === 'REPEATED')
    return [
      { name: field.name, repetition_type: 'OPTIONAL', converted_type: 'LIST', num_children: 1 },
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
      ...parquetElement({ ...field, name: 'element', mode: 'REQUIRED' }),
    ];
  const one = { name: field.name, repetition_type: field.mode === 'REQUIRED' ? 'REQUIRED' : 'OPTIONAL' };
  if (field.fields !== undefined)
    return [{ ...one, num_children: field.fields.length }, ...field.fields.flatMap(parquetElement)];
  const micros = { unit: 'MICROS', isAdjustedToUTC: false };
  switch (field.type) {
    case 'INTEGER':
      return [{ ...one, type: 'INT64' }];
    case 'FLOAT':
      return [{ ...one, type: 'DOUBLE' }];
    case 'BOOLEAN':
      return [{ ...one, type: 'BOOLEAN' }];
    case 'BYTES':
      return [{ ...one, type: 'BYTE_ARRAY' }];
    case 'DATE':
      return [{ ...one, type: 'INT32', converted_type: 'DATE' }];
    case 'TIME':
      return [{ ...one, type: 'INT64', converted_type: 'TIME_MICROS' }];
    case 'DATETIME':
    case 'TIMESTAMP':
      return [{ ...one, type: 'INT64', logical_type: { type: 'TIMESTAMP', ...micros } }];
    case 'NUMERIC':
    case 'BIGNUMERIC': {
      const [precision, scale, type_length] = DECIMALS[field.type] ?? [];
      return [
        {
          ...one,
          type: 'FIXED_LEN_BYTE_ARRAY',
          type_length,
          converted_type: 'DECIMAL',
          precision: Math.min(76, precision ?? 0),
          scale,
        },
      ];
    }
    default:
      return [{ ...one, type: 'BYTE_ARRAY', converted_type: 'UTF8' }];
  }
}

function parquetValue(field: Field, value: Value): unknown {
  if (field.mode === 'REPEATED')
    return ((value ?? []) as readonly Value[]).map((one) => parquetValue({ ...field, mode: 'REQUIRED' }, one));
  if (value === null) return undefined;
  if (field.fields !== undefined)
    return Object.fromEntries(
      field.fields.map((inner) => [inner.name, parquetValue(inner, (value as Row)[inner.name] ?? null)]),
    );
  const text = String(value);
  switch (field.type) {
    case 'DATE':
      return new Date(`${text}T00:00:00Z`);
    case 'TIME':
      return timeMicros(text);
    case 'DATETIME':
      return datetimeMicros(text);
    case 'NUMERIC':
    case 'BIGNUMERIC':
      // Unscaled: exact.
      return unscaled(text, DECIMALS[field.type]?.[1] ?? 0);
    default:
      return plainValue(field.type, text);
  }
}

/** One file in the form that BigQuery gives it. */
export function parquetFile({ compression }: FileFormat, fields: readonly Field[], rows: readonly Row[]): Buffer {
  const writer = new ByteWriter();
  const schema = [{ name: 'schema', num_children: fields.length }, ...fields.flatMap(parquetElement)];
  parquetWrite({
    writer,
    schema: schema as never,
    columnData: fields.map((field) => ({
      name: field.name,
      data: rows.map((row) => parquetValue(field, row[field.name] ?? null)) as never,
    })),
    codec: (compression === 'NONE' ? 'UNCOMPRESSED' : compression) as never,
    compressors: { GZIP: gzipSync, ZSTD: zstdCompressSync } as never,
    statistics: false,
  });
  return Buffer.from(writer.getBuffer());
}
