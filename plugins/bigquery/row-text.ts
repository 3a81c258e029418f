import type { SchemaField } from './schema.ts';
import type { Shape } from './sql.ts';

/** A value in the `v` of an answer: exact text, null, a list of `{v}`, or a record `{f: [{v}]}`. */
export type Cell = string | null | readonly { readonly v: Cell }[] | { readonly f: readonly { readonly v: Cell }[] };
export type Row = { readonly f: readonly { readonly v: Cell }[] };

/** Writes a value that is not null. */
type Write = (value: Cell) => string;

/** How a column is written. */
export interface ColumnWriter {
  readonly cell: Write;
  /** From a JSON string as it stands between its quotes; undefined where its escapes have to be read first. */
  readonly raw: ((text: string) => string) | undefined;
}

/**
 * Writes rows as lines, in the text that BigQuery's own exports have: 64-bit numbers, decimals and times exact, nulls
 * left out of json and empty in csv. Source: https://cloud.google.com/bigquery/docs/exporting-data#json-format
 */
export interface RowWriter {
  readonly open: string;
  readonly close: string;
  readonly separator: string;
  readonly columns: readonly ColumnWriter[];
  /** A null leaves nothing, not even its separator. */
  readonly skipsNulls: boolean;
}

export function rowWriter(fields: readonly SchemaField[], { format, delimiter }: Shape): RowWriter {
  if (format === 'json')
    return { open: '{', close: '}\n', separator: ',', columns: fields.map(jsonMember), skipsNulls: true };
  return { open: '', close: '\n', separator: delimiter, columns: fields.map(csvColumn(delimiter)), skipsNulls: false };
}

/** A row that was parsed. */
export function lineOf({ f }: Row, { open, close, separator, columns, skipsNulls }: RowWriter): string {
  const texts = columns.flatMap(({ cell }, index) => {
    const value = f[index]?.v ?? null;
    return value === null ? (skipsNulls ? [] : ['']) : [cell(value)];
  });
  return open + texts.join(separator) + close;
}

export const csvHeader = (fields: readonly SchemaField[], delimiter: string): string =>
  `${fields.map(({ name }) => quoted(name, delimiter)).join(delimiter)}\n`;

/** A member with its name, which is encoded once. */
function jsonMember(field: SchemaField): ColumnWriter {
  const name = `${JSON.stringify(field.name)}:`;
  const { cell, raw } = jsonColumn(field);
  return { cell: (value) => name + cell(value), raw: raw && ((text) => name + raw(text)) };
}

function jsonColumn(field: SchemaField): ColumnWriter {
  const one = jsonScalar(field);
  if (field.mode !== 'REPEATED') return one;
  const { cell } = one;
  return {
    cell: (value) => `[${(value as readonly { readonly v: Cell }[]).map(({ v }) => cell(v)).join(',')}]`,
    raw: undefined,
  };
}

/** What is written as it came. */
const same = (text: string): string => text;
const between = (text: string): string => `"${text}"`;

function jsonScalar({ type, fields }: SchemaField): ColumnWriter {
  switch (type) {
    case 'RECORD': {
      const members = fields?.map(jsonMember) ?? [];
      const writer = { open: '{', close: '}', separator: ',', columns: members, skipsNulls: true };
      return { cell: (value) => lineOf(value as Row, writer), raw: undefined };
    }
    case 'BOOLEAN':
      return { cell: (value) => value as string, raw: same };
    case 'JSON':
      return { cell: (value) => value as string, raw: undefined };
    case 'FLOAT': {
      const write = (text: string): string => (Number.isFinite(Number(text)) ? text : between(text));
      return { cell: (value) => write(value as string), raw: write };
    }
    case 'TIMESTAMP': {
      const write = (text: string): string => `"${timestamp(text)}"`;
      return { cell: (value) => write(value as string), raw: write };
    }
    default:
      // A JSON string stays one: its escapes are as good here as they were there.
      return { cell: (value) => JSON.stringify(value), raw: between };
  }
}

/** Types whose texts hold neither quotes nor line breaks. */
const PLAIN = new Set(['INTEGER', 'NUMERIC', 'BIGNUMERIC', 'FLOAT', 'BOOLEAN', 'DATE', 'TIME', 'DATETIME']);

const csvColumn =
  (delimiter: string) =>
  ({ type }: SchemaField): ColumnWriter => {
    const plain = PLAIN.has(type) && /[,;|\t]/.test(delimiter);
    if (plain) return { cell: (value) => value as string, raw: same };
    const write =
      type === 'TIMESTAMP'
        ? (text: string) => quoted(timestamp(text), delimiter)
        : (text: string) => quoted(text, delimiter);
    const read = (text: string): string => write(text.includes('\\') ? (JSON.parse(`"${text}"`) as string) : text);
    return { cell: (value) => write(value as string), raw: read };
  };

/** An empty text is quoted, so that it is no null. */
function quoted(text: string, delimiter: string): string {
  if (text === '') return '""';
  if (!text.includes('"') && !text.includes(delimiter) && !text.includes('\n') && !text.includes('\r')) return text;
  return `"${text.replaceAll('"', '""')}"`;
}

const MICROS = 1_000_000;
const MINUS = 45;
const days = new Map<number, string>();
const two = (value: number): string => (value < 10 ? `0${value}` : String(value));

/**
 * Microseconds since the epoch as `2026-11-25 01:02:03.123456 UTC`. Seconds and the rest are read apart: no double holds
 * the microseconds of the year 9999.
 */
export function timestamp(micros: string): string {
  const negative = micros.charCodeAt(0) === MINUS;
  const digits = (negative ? micros.slice(1) : micros).padStart(7, '0');
  let seconds = Number(digits.slice(0, -6));
  let rest = Number(digits.slice(-6));
  if (negative) {
    seconds = rest === 0 ? -seconds : -seconds - 1;
    rest = rest === 0 ? 0 : MICROS - rest;
  }
  const day = Math.floor(seconds / 86_400);
  const inDay = seconds - day * 86_400;
  let date = days.get(day);
  if (date === undefined) {
    if (days.size > 10_000) days.clear();
    date = new Date(day * 86_400_000).toISOString().slice(0, 10);
    days.set(day, date);
  }
  const time = `${two(Math.floor(inDay / 3600))}:${two(Math.floor(inDay / 60) % 60)}:${two(inDay % 60)}`;
  return `${date} ${time}${rest === 0 ? '' : `.${String(rest).padStart(6, '0')}`} UTC`;
}
