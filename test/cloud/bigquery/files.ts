import { crc32, deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib';
import avro from 'avsc';
import { ByteWriter, parquetWrite } from 'hyparquet-writer';
import { snappyCompress } from 'hyparquet-writer/src/snappy.js';
import { csvLines, jsonLines } from './encode.ts';
import type { Field, Row, Value } from './tables.ts';

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

/** One file of an export. */
export function fileOf(shape: FileFormat, fields: readonly Field[], rows: readonly Row[]): Buffer {
  if (shape.format === 'AVRO') return avroFile(shape, fields, rows);
  if (shape.format === 'PARQUET') return parquetFile(shape, fields, rows);
  const lines = shape.format === 'CSV' ? csvLines(fields, rows, shape) : jsonLines(fields, rows);
  const text = Buffer.from([...lines].join(''));
  return shape.compression === 'GZIP' ? gzipSync(text) : text;
}

export const EXTENSIONS = { CSV: 'csv', JSON: 'json', AVRO: 'avro', PARQUET: 'parquet' } as const;

const DAY = 86_400_000;
const days = (date: string): number => Date.parse(`${date}T00:00:00Z`) / DAY;
const fraction = (text: string): number => Number(`${/\.(\d+)/.exec(text)?.[1] ?? ''}000000`.slice(0, 6));
const timeMicros = (time: string): bigint => {
  const [hours = 0, minutes = 0, seconds = 0] = time.split('.')[0]?.split(':').map(Number) ?? [];
  return BigInt(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction(time));
};
const datetimeMicros = (text: string): bigint =>
  BigInt(Date.parse(`${text.slice(0, 19)}Z`)) * 1000n + BigInt(fraction(text));

/** A decimal as the integer that it is at a scale. */
function unscaled(text: string, scale: number): bigint {
  const [whole = '0', rest = ''] = text.replace(/^[+-]/, '').split('.');
  const digits = BigInt(whole + rest.padEnd(scale, '0').slice(0, scale));
  return text.startsWith('-') ? -digits : digits;
}

/** The fewest bytes of the two's complement, most significant first; or exactly so many. */
function twosComplement(value: bigint, exactly?: number): Buffer {
  let bytes = exactly ?? 1;
  if (exactly === undefined) while (BigInt.asIntN(bytes * 8, value) !== value) bytes++;
  return Buffer.from(
    BigInt.asUintN(bytes * 8, value)
      .toString(16)
      .padStart(bytes * 2, '0'),
    'hex',
  );
}

const DECIMALS: Readonly<Record<string, readonly [precision: number, scale: number, bytes: number]>> = {
  NUMERIC: [38, 9, 16],
  BIGNUMERIC: [77, 38, 32],
};

function avroType(field: Field, logical: boolean, path: string): unknown {
  const base = (): unknown => {
    if (field.fields !== undefined)
      return {
        type: 'record',
        name: `${path}${field.name}`,
        fields: field.fields.map((inner) => ({
          name: inner.name,
          type: avroType(inner, logical, `${path}${field.name}_`),
        })),
      };
    switch (field.type) {
      case 'INTEGER':
        return 'long';
      case 'FLOAT':
        return 'double';
      case 'BOOLEAN':
        return 'boolean';
      case 'BYTES':
        return 'bytes';
      case 'TIMESTAMP':
        return { type: 'long', logicalType: 'timestamp-micros' };
      case 'DATE':
        return logical ? { type: 'int', logicalType: 'date' } : 'string';
      case 'TIME':
        return logical ? { type: 'long', logicalType: 'time-micros' } : 'string';
      case 'DATETIME':
        return { type: 'string', logicalType: 'datetime' };
      case 'NUMERIC':
      case 'BIGNUMERIC': {
        const [precision, scale] = DECIMALS[field.type] ?? [];
        return { type: 'bytes', logicalType: 'decimal', precision, scale };
      }
      default:
        return { type: 'string', sqlType: field.type };
    }
  };
  if (field.mode === 'REPEATED') return { type: 'array', items: base() };
  return field.mode === 'REQUIRED' ? base() : ['null', base()];
}

function avroValue(field: Field, value: Value, logical: boolean): unknown {
  if (field.mode === 'REPEATED')
    return ((value ?? []) as readonly Value[]).map((one) => avroValue({ ...field, mode: 'REQUIRED' }, one, logical));
  if (value === null) return null;
  if (field.fields !== undefined) return avroRow(field.fields, value as Row, logical);
  const text = String(value);
  switch (field.type) {
    case 'INTEGER':
    case 'TIMESTAMP':
      return BigInt(text);
    case 'FLOAT':
      return Number(text);
    case 'BOOLEAN':
      return text === 'true';
    case 'BYTES':
      return Buffer.from(text, 'base64');
    case 'DATE':
      return logical ? days(text) : text;
    case 'TIME':
      return logical ? timeMicros(text) : text;
    case 'NUMERIC':
    case 'BIGNUMERIC':
      return twosComplement(unscaled(text, DECIMALS[field.type]?.[1] ?? 0));
    default:
      return text;
  }
}

const avroRow = (fields: readonly Field[], row: Row, logical: boolean): Record<string, unknown> =>
  Object.fromEntries(fields.map((field) => [field.name, avroValue(field, row[field.name] ?? null, logical)]));

/** Exact 64 bits, where the library would make numbers of them. */
const long = avro.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const buffer = Buffer.alloc(8);
    buffer.writeBigInt64LE(value);
    return buffer;
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: (a: bigint, b: bigint) => (a === b ? 0 : a < b ? -1 : 1),
});

/** A schema without what its primitive types mean: values are encoded as they are. */
function primitive(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(primitive);
  if (typeof schema !== 'object' || schema === null) return schema;
  const { type, items, fields, ...rest } = schema as Record<string, unknown>;
  if (Array.isArray(fields))
    return {
      ...rest,
      type,
      fields: (fields as { name: string; type: unknown }[]).map((one) => ({ ...one, type: primitive(one.type) })),
    };
  return items === undefined ? type : { type, items: primitive(items) };
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt(value) << 1n;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

/**
 * An object container file; the library encodes the rows, and its own writer is a stream only.
 * Source: https://avro.apache.org/docs/1.12.0/specification/#object-container-files
 */
function avroFile({ compression, logicalTypes }: FileFormat, fields: readonly Field[], rows: readonly Row[]): Buffer {
  const schema = {
    type: 'record',
    name: 'Root',
    fields: fields.map((field) => ({ name: field.name, type: avroType(field, logicalTypes, 'root_') })),
  };
  const type = avro.Type.forSchema(
    primitive(schema) as never,
    { registry: { long: long as never }, wrapUnions: false } as never,
  );
  const sync = Buffer.from('isthmus-local-bq');
  const codec = compression === 'NONE' ? 'null' : compression.toLowerCase();
  const entry = (name: string, value: string): Buffer =>
    Buffer.concat([varint(name.length), Buffer.from(name), varint(Buffer.byteLength(value)), Buffer.from(value)]);
  const header = Buffer.concat([
    Buffer.from('Obj\x01', 'latin1'),
    varint(2),
    entry('avro.schema', JSON.stringify(schema)),
    entry('avro.codec', codec),
    varint(0),
    sync,
  ]);
  if (rows.length === 0) return header;
  const encoded = Buffer.concat(rows.map((row) => type.toBuffer(avroRow(fields, row, logicalTypes))));
  const block = codec === 'deflate' ? deflateRawSync(encoded) : codec === 'snappy' ? snappy(encoded) : encoded;
  return Buffer.concat([header, varint(rows.length), varint(block.length), block, sync]);
}

/** A block with the CRC-32 of its content behind it, as Avro wants it. */
function snappy(content: Buffer): Buffer {
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(content));
  return Buffer.concat([snappyCompress(content), check]);
}

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
    case 'INTEGER':
      return BigInt(text);
    case 'FLOAT':
      return Number(text);
    case 'BOOLEAN':
      return text === 'true';
    case 'BYTES':
      return Buffer.from(text, 'base64');
    case 'DATE':
      return new Date(`${text}T00:00:00Z`);
    case 'TIME':
      return timeMicros(text);
    case 'DATETIME':
      return datetimeMicros(text);
    case 'TIMESTAMP':
      return BigInt(text);
    case 'NUMERIC':
    case 'BIGNUMERIC':
      // Unscaled: exact.
      return unscaled(text, DECIMALS[field.type]?.[1] ?? 0);
    default:
      return text;
  }
}

function parquetFile({ compression }: FileFormat, fields: readonly Field[], rows: readonly Row[]): Buffer {
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
