import { crc32, deflateRawSync } from 'node:zlib';
import avro from 'avsc';
import { snappyCompress } from 'hyparquet-writer/src/snappy.js';
import type { FileFormat } from './files.ts';
import type { Field, Row, Value } from './tables.ts';
import { DECIMALS, days, plainValue, timeMicros, unscaled } from './values.ts';

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
    case 'DATE':
      return logical ? days(text) : text;
    case 'TIME':
      return logical ? timeMicros(text) : text;
    case 'NUMERIC':
    case 'BIGNUMERIC':
      return twosComplement(unscaled(text, DECIMALS[field.type]?.[1] ?? 0));
    default:
      return plainValue(field.type, text);
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
export function avroFile(
  { compression, logicalTypes }: FileFormat,
  fields: readonly Field[],
  rows: readonly Row[],
): Buffer {
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
