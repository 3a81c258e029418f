import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scanPage } from '../../plugins/bigquery/page-scan.ts';
import { lineOf, type Row, rowWriter, timestamp } from '../../plugins/bigquery/row-text.ts';
import { csvLines, jsonLines, restRow, timestampText } from '../cloud/bigquery/encode.ts';
import type { Field, Row as LocalRow, Value } from '../cloud/bigquery/tables.ts';

const shape = (format: 'json' | 'csv', delimiter = ',') =>
  ({ format, compression: 'none', header: false, delimiter, logicalTypes: true }) as const;

const SCALARS: Readonly<Record<string, fc.Arbitrary<string>>> = {
  STRING: fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('', '"', '\\', '\\"', 'a"},{"v":"', '\n', '"rows":[', ',', 'é\u2028😀'),
  ),
  INTEGER: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  FLOAT: fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
    fc.constantFrom('NaN', 'Infinity', '-Infinity'),
  ),
  BOOLEAN: fc.boolean().map(String),
  NUMERIC: fc.bigInt().map((value) => `${value}.5`),
  BYTES: fc.uint8Array().map((bytes) => Buffer.from(bytes).toString('base64')),
  TIMESTAMP: fc
    .integer({ min: -62_135_596_800, max: 253_402_300_799 })
    .map((seconds) => `${seconds}123456`.replace('-0', '-')),
  JSON: fc.jsonValue().map((value) => JSON.stringify(value)),
};

const scalar = fc.constantFrom(...Object.keys(SCALARS));
const nullable = (type: string): fc.Arbitrary<Value> => fc.option(SCALARS[type] ?? fc.constant(''), { nil: null });

/** Columns with a value each; json may nest. */
const columns = (nests: boolean): fc.Arbitrary<readonly (readonly [Field, Value])[]> => {
  const plain = scalar.chain((type) =>
    nullable(type).map((value): readonly [Omit<Field, 'name'>, Value] => [{ type }, value]),
  );
  const list = scalar.chain((type) =>
    fc
      .array(SCALARS[type] ?? fc.constant(''))
      .map((value): readonly [Omit<Field, 'name'>, Value] => [{ type, mode: 'REPEATED' }, value]),
  );
  const record = fc
    .array(plain, { minLength: 1, maxLength: 3 })
    .map((inner): readonly [Omit<Field, 'name'>, Value] => [
      { type: 'RECORD', fields: inner.map(([field], n) => ({ ...field, name: `i${n}` })) },
      Object.fromEntries(inner.map(([, value], n) => [`i${n}`, value])),
    ]);
  const any = nests ? fc.oneof({ weight: 4, arbitrary: plain }, list, record) : plain;
  return fc
    .array(any, { minLength: 1, maxLength: 6 })
    .map((all) => all.map(([field, value], n) => [{ ...field, name: `c"${n}` }, value] as const));
};

/** As the API answers with `prettyPrint=false`. */
const pageOf = (fields: readonly Field[], rows: readonly LocalRow[]): string =>
  JSON.stringify({
    kind: 'bigquery#tableDataList',
    totalRows: String(rows.length),
    rows: rows.map((row) => restRow(fields, row, true)),
    pageToken: 'next',
  });

const asSchema = (fields: readonly Field[]) =>
  fields.map(({ mode = 'NULLABLE', ...field }) => ({ ...field, mode })) as never;

describe('rows that are scanned', () => {
  it.each(['json', 'csv'] as const)('give the very lines that rows give which are parsed, as %s', (format) => {
    fc.assert(
      fc.property(columns(format === 'json'), fc.integer({ min: 0, max: 3 }), (made, count) => {
        const fields = made.map(([field]) => field);
        const row = Object.fromEntries(made.map(([field, value]) => [field.name, value]));
        const rows = Array.from({ length: count }, () => row);
        const writer = rowWriter(asSchema(fields), shape(format));
        const page = pageOf(fields, rows);
        const scanned = scanPage(page, writer);
        const parsed = (JSON.parse(page) as { rows: Row[] }).rows.map((one) => lineOf(one, writer)).join('');
        expect(scanned?.rows).toBe(count);
        expect(Buffer.from(scanned?.lines ?? '').toString()).toBe(parsed.toWellFormed());
        expect(JSON.parse(scanned?.rest ?? '')).toMatchObject({
          totalRows: String(count),
          rows: [],
          pageToken: 'next',
        });
      }),
      { numRuns: 500 },
    );
  });

  it.each(['json', 'csv'] as const)('mean what the rows mean, by another writer, as %s', (format) => {
    fc.assert(
      fc.property(columns(format === 'json'), (made) => {
        const fields = made.map(([field]) => field);
        const row = Object.fromEntries(made.map(([field, value]) => [field.name, value]));
        const writer = rowWriter(asSchema(fields), shape(format));
        const text = Buffer.from(scanPage(pageOf(fields, [row]), writer)?.lines ?? '').toString();
        const other =
          format === 'json' ? jsonLines(fields, [row]) : csvLines(fields, [row], { header: false, delimiter: ',' });
        const wanted = [...other].join('').toWellFormed();
        if (format === 'json') expect(JSON.parse(text)).toEqual(JSON.parse(wanted));
        else expect(text).toBe(wanted);
      }),
    );
  });

  it('are left to the parser in any other form', () => {
    const writer = rowWriter(asSchema([{ name: 'a', type: 'STRING' }]), shape('json'));
    for (const page of [
      '{"totalRows":"0"}',
      '{"rows": [{"f":[{"v":"a"}]}]}',
      '{"rows":[{ "f":[{"v":"a"}]}]}',
      '{"rows":[{"f":[{"v":"a"}]},{"f":[{"v":"b"}]',
      '{"rows":[{"f":[{"v":"a"},{"v":"b"}]}]}',
      '{"x":"\\"rows\\":[{"}',
      '{"rows":[{"f":[{"v":"unended',
    ])
      expect(scanPage(page, writer)).toBeUndefined();
  });

  it('have timestamps that are exact to the microsecond, before the epoch too', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n }), (micros) => {
        expect(timestamp(String(micros))).toBe(timestampText(String(micros)));
      }),
    );
  });
});
