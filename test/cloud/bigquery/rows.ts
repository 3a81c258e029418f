import type { Field, Row } from './tables.ts';

/** Every type that a column can have, but for those that only some formats hold. */
export const FIELDS: readonly Field[] = [
  { name: 'id', type: 'INTEGER', mode: 'REQUIRED' },
  { name: 'select', type: 'STRING' },
  { name: 'price', type: 'NUMERIC' },
  { name: 'exact', type: 'BIGNUMERIC' },
  { name: 'ratio', type: 'FLOAT' },
  { name: 'paid', type: 'BOOLEAN' },
  { name: 'raw', type: 'BYTES' },
  { name: 'day', type: 'DATE' },
  { name: 'at', type: 'TIME' },
  { name: 'local', type: 'DATETIME' },
  { name: 'updated', type: 'TIMESTAMP' },
  { name: 'extra', type: 'JSON' },
  { name: 'place', type: 'GEOGRAPHY' },
];

export const ROWS: readonly Row[] = [
  {
    id: '9007199254740993',
    select: 'a "quoted", text\nover two lines; ünïcödé',
    price: '123456789012345678901234567.123456789',
    exact: '0.00000000000000000000000000000000000001',
    ratio: '0.1',
    paid: 'true',
    raw: 'AP8Q',
    day: '2026-11-24',
    at: '23:59:59.999999',
    local: '2026-11-24T01:02:03.5',
    updated: '1764000000123456',
    extra: '{"a":[1,2,{"b":null}]}',
    place: 'POINT(1 2)',
  },
  {
    id: '-9223372036854775808',
    select: '',
    price: '-0.5',
    exact: '1',
    ratio: '-1.5E300',
    paid: 'false',
    raw: '',
    day: '1999-12-31',
    at: '00:00:00',
    local: '0001-01-01T00:00:00',
    updated: '-1',
    extra: '"text"',
    place: 'POINT(0 0)',
  },
  Object.fromEntries(FIELDS.map(({ name }) => [name, name === 'id' ? '3' : null])),
];
