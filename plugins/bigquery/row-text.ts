import type { SchemaField } from './schema.ts';
import type { Shape } from './sql.ts';

/** A value in the `v` of an answer: exact text, null, a list of `{v}`, or a record `{f: [{v}]}`. */
export type Cell = string | null | readonly { readonly v: Cell }[] | { readonly f: readonly { readonly v: Cell }[] };
export type Row = { readonly f: readonly { readonly v: Cell }[] };

type Write = (value: Cell) => string;

/**
 * Writes rows as lines, in the text that BigQuery's own exports have: 64-bit numbers, decimals and times exact, nulls
 * left out of json and empty in csv. Source: https://cloud.google.com/bigquery/docs/exporting-data#json-format
 */
export function rowWriter(fields: readonly SchemaField[], { format, delimiter }: Shape): (row: Row) => string {
  if (format === 'json') {
    const write = record(fields);
    return (row) => `${write(row)}\n`;
  }
  const cells = fields.map(csvCell(delimiter));
  return ({ f }) => {
    let line = '';
    for (let index = 0; index < cells.length; index++) {
      if (index > 0) line += delimiter;
      const value = f[index]?.v ?? null;
      if (value !== null) line += cells[index]?.(value) ?? '';
    }
    return `${line}\n`;
  };
}

export const csvHeader = (fields: readonly SchemaField[], delimiter: string): string =>
  `${fields.map(({ name }) => quoted(name, delimiter)).join(delimiter)}\n`;

/** Members in the order of the columns; the name of each is encoded once. */
function record(fields: readonly SchemaField[]): Write {
  const names = fields.map(({ name }) => `${JSON.stringify(name)}:`);
  const writes = fields.map(jsonCell);
  return (value) => {
    const { f } = value as Row;
    let text = '{';
    for (let index = 0; index < writes.length; index++) {
      const cell = f[index]?.v ?? null;
      if (cell === null) continue;
      if (text.length > 1) text += ',';
      text += (names[index] ?? '') + (writes[index]?.(cell) ?? '');
    }
    return `${text}}`;
  };
}

function jsonCell(field: SchemaField): Write {
  const one = jsonScalar(field);
  if (field.mode !== 'REPEATED') return one;
  return (value) => `[${(value as readonly { readonly v: Cell }[]).map(({ v }) => one(v)).join(',')}]`;
}

function jsonScalar({ type, fields }: SchemaField): Write {
  switch (type) {
    case 'RECORD':
      return record(fields ?? []);
    // Digits, signs and the like need no escapes.
    case 'INTEGER':
    case 'NUMERIC':
    case 'BIGNUMERIC':
    case 'DATE':
    case 'TIME':
    case 'DATETIME':
    case 'BYTES':
      return (value) => `"${value as string}"`;
    case 'BOOLEAN':
    case 'JSON':
      return (value) => value as string;
    case 'FLOAT':
      return (value) => (Number.isFinite(Number(value)) ? (value as string) : JSON.stringify(value));
    case 'TIMESTAMP':
      return (value) => `"${timestamp(value as string)}"`;
    default:
      return (value) => JSON.stringify(value);
  }
}

const csvCell =
  (delimiter: string) =>
  ({ type }: SchemaField): Write => {
    switch (type) {
      case 'INTEGER':
      case 'NUMERIC':
      case 'BIGNUMERIC':
      case 'FLOAT':
      case 'BOOLEAN':
      case 'DATE':
      case 'TIME':
      case 'DATETIME':
        return delimiter === ',' || delimiter === '\t' || delimiter === ';' || delimiter === '|'
          ? (value) => value as string
          : (value) => quoted(value as string, delimiter);
      case 'TIMESTAMP':
        return (value) => quoted(timestamp(value as string), delimiter);
      default:
        return (value) => quoted(value as string, delimiter);
    }
  };

/** An empty text is quoted, so that it is no null. */
function quoted(text: string, delimiter: string): string {
  if (text === '') return '""';
  if (!text.includes('"') && !text.includes(delimiter) && !text.includes('\n') && !text.includes('\r')) return text;
  return `"${text.replaceAll('"', '""')}"`;
}

const MICROS = 1_000_000;
const days = new Map<number, string>();
const two = (value: number): string => (value < 10 ? `0${value}` : String(value));

/** Microseconds since the epoch as `2026-11-25 01:02:03.123456 UTC`; all that BigQuery has are exact as numbers. */
export function timestamp(micros: string): string {
  const all = Number(micros);
  const seconds = Math.floor(all / MICROS);
  const rest = all - seconds * MICROS;
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
