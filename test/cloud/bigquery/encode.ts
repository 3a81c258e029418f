import type { Field, Row, Value } from './tables.ts';

/** Columns as the API shows them. */
export const restFields = (fields: readonly Field[]): unknown[] =>
  fields.map(({ mode = 'NULLABLE', fields: inner, ...field }) => ({
    ...field,
    mode,
    ...(inner === undefined ? {} : { fields: restFields(inner) }),
  }));

type Nested = { readonly [name: string]: Value };

/** A row in the `f` and `v` form of tabledata.list. Source: https://cloud.google.com/bigquery/docs/reference/rest/v2/tabledata/list */
export const restRow = (fields: readonly Field[], row: Row, micros: boolean): unknown => ({
  f: fields.map((field) => ({ v: restValue(field, row[field.name] ?? null, micros) })),
});

function restValue(field: Field, value: Value, micros: boolean): unknown {
  if (field.mode === 'REPEATED')
    return ((value ?? []) as readonly Value[]).map((one) => ({
      v: restValue({ ...field, mode: 'NULLABLE' }, one, micros),
    }));
  if (value === null) return null;
  if (field.fields !== undefined) return restRow(field.fields, value as Nested, micros);
  // By default a number of seconds, which is not exact.
  return field.type === 'TIMESTAMP' && !micros ? (Number(value) / 1e6).toExponential() : value;
}

/** `2026-11-25 01:02:03.123456 UTC`, without a fraction where there is none. */
export function timestampText(micros: string): string {
  const all = BigInt(micros);
  const rest = ((all % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const seconds = (all - rest) / 1_000_000n;
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19).replace('T', ' ');
  return `${whole}${rest === 0n ? '' : `.${String(rest).padStart(6, '0')}`} UTC`;
}

/** Lines of CSV. @throws Error for nested data, which CSV cannot hold. */
export function* csvLines(
  fields: readonly Field[],
  rows: Iterable<Row>,
  { header, delimiter }: { readonly header: boolean; readonly delimiter: string },
): Generator<string> {
  const quoted = (text: string): string =>
    text === '' || text.includes('"') || text.includes('\n') || text.includes('\r') || text.includes(delimiter)
      ? `"${text.replaceAll('"', '""')}"`
      : text;
  if (header) yield `${fields.map(({ name }) => quoted(name)).join(delimiter)}\n`;
  for (const row of rows) {
    const cells = fields.map(({ name, type }) => {
      const value = row[name] ?? null;
      if (value === null) return '';
      return quoted(type === 'TIMESTAMP' ? timestampText(String(value)) : String(value));
    });
    yield `${cells.join(delimiter)}\n`;
  }
}

/** Lines of JSON: 64 bits as text, nulls left out. */
export function* jsonLines(fields: readonly Field[], rows: Iterable<Row>): Generator<string> {
  // As BigQuery does, for pages that hold the text.
  const escaped = (text: string): string =>
    text.replace(/[<>&]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`);
  for (const row of rows) yield `${escaped(jsonObject(fields, row))}\n`;
}

function jsonObject(fields: readonly Field[], row: Row | Nested): string {
  const members = fields
    .filter(({ name }) => (row[name] ?? null) !== null)
    .map((field) => `${JSON.stringify(field.name)}:${jsonValue(field, row[field.name] ?? null)}`);
  return `{${members.join(',')}}`;
}

function jsonValue(field: Field, value: Value): string {
  if (field.mode === 'REPEATED')
    return `[${(value as readonly Value[]).map((one) => jsonValue({ ...field, mode: 'NULLABLE' }, one)).join(',')}]`;
  if (field.fields !== undefined) return jsonObject(field.fields, value as Nested);
  const text = String(value);
  switch (field.type) {
    case 'FLOAT':
      return Number.isFinite(Number(text)) ? text : JSON.stringify(text);
    case 'BOOLEAN':
    case 'JSON':
      return text;
    case 'TIMESTAMP':
      return JSON.stringify(timestampText(text));
    default:
      return JSON.stringify(text);
  }
}
