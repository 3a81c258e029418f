import type { Body } from '../body.ts';

/** A column. Source: https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#TableFieldSchema */
export interface Field {
  readonly name: string;
  readonly type: string;
  readonly mode?: 'NULLABLE' | 'REQUIRED' | 'REPEATED';
  readonly fields?: readonly Field[];
  readonly rangeElementType?: { readonly type: string };
}

/**
 * A value as exact text: `"9007199254740993"`, `"true"`, microseconds since the epoch for TIMESTAMP, base64 for BYTES;
 * lists for REPEATED and objects for RECORD.
 */
export type Value = string | null | readonly Value[] | { readonly [name: string]: Value };
export type Row = Readonly<Record<string, Value>>;

export interface LocalTable {
  readonly id: string;
  readonly type: 'TABLE' | 'VIEW' | 'EXTERNAL' | 'MATERIALIZED_VIEW' | 'SNAPSHOT';
  readonly fields: readonly Field[];
  /** Called anew for each reading. */
  rows(): Iterable<Row>;
  count: number;
  /** Logical bytes: what a query is billed for. */
  bytes: number;
  /** Milliseconds since the epoch. */
  modified: number;
  readonly partitioning: Partitioning | undefined;
  /** Instead of encoded rows: the files that an extract job makes, for exports that are too large to be made of rows. */
  readonly files: readonly Body[] | undefined;
}

/** By a DATE column, in days. */
export interface Partitioning {
  readonly field: string;
  /** When each partition changed last; milliseconds since the epoch. */
  readonly modified: Map<string, number>;
}

export interface TableOptions {
  readonly type?: LocalTable['type'];
  readonly fields: readonly Field[];
  readonly rows?: readonly Row[];
  /** Rows that are made as they are read. */
  readonly made?: { readonly count: number; readonly row: (index: number) => Row };
  readonly bytes?: number;
  readonly partitionedBy?: string;
  readonly files?: readonly Body[];
  readonly modified?: number;
}

export class LocalDataset {
  readonly project: string;
  readonly id: string;
  readonly location: string;
  readonly tables = new Map<string, LocalTable>();

  constructor(project: string, id: string, location: string) {
    this.project = project;
    this.id = id;
    this.location = location;
  }

  table(id: string, options: TableOptions): LocalTable {
    const { type = 'TABLE', fields, rows = [], made, partitionedBy, files, modified = Date.now() } = options;
    const count = made?.count ?? rows.length;
    const all = made === undefined ? () => rows : () => makeRows(made);
    const partitioning =
      partitionedBy === undefined ? undefined : { field: partitionedBy, modified: new Map<string, number>() };
    const table = {
      id,
      type,
      fields,
      rows: all,
      count,
      bytes: options.bytes ?? count * fields.length * 8,
      modified,
      partitioning,
      files,
    };
    for (const name of partitionsOf(table)) partitioning?.modified.set(name, modified);
    this.tables.set(id, table);
    return table;
  }
}

function* makeRows({ count, row }: NonNullable<TableOptions['made']>): Generator<Row> {
  for (let index = 0; index < count; index++) yield row(index);
}

const partitionOf = (row: Row, field: string): string => {
  const value = row[field];
  return typeof value === 'string' ? value.replaceAll('-', '') : '__NULL__';
};

/** The ids of partitions that hold rows, ascending. */
export function partitionsOf({ rows, partitioning }: Pick<LocalTable, 'rows' | 'partitioning'>): readonly string[] {
  if (partitioning === undefined) return [];
  const names = new Set<string>();
  for (const row of rows()) names.add(partitionOf(row, partitioning.field));
  return [...names].sort();
}

/** A table as `name$partition` sees it. */
export function partition(table: LocalTable, name: string): LocalTable {
  const field = table.partitioning?.field ?? '';
  const rows = [...table.rows()].filter((row) => partitionOf(row, field) === name);
  return { ...table, rows: () => rows, count: rows.length };
}
