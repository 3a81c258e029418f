import { BrokerError } from '../../core/api/index.ts';
import type { Bookmark, Parameter, Unit } from './notes.ts';
import type { Schema } from './schema.ts';
import type { Select } from './select.ts';
import { boundsQuery, column, grows, knowsLag, newRows, parameterType } from './sql.ts';

interface NewsOptions {
  readonly from: string;
  readonly columns: Schema;
  readonly parameters: readonly Parameter[];
  readonly bookmark: Bookmark | undefined;
  readonly location: string;
  readonly lag: number | undefined;
  /** The newest value is not looked up. */
  readonly estimates: boolean;
}

interface News {
  readonly sql: string;
  readonly parameters: readonly Parameter[];
  /** Undefined: there is nothing new. */
  readonly until: Extract<Bookmark, { column: string }> | undefined;
  readonly told: Readonly<Record<string, string | number>>;
}

/** What is new by a column: from the bookmark up to its newest value, which is looked up first. */
export async function newsOf(
  { from, columns, parameters, bookmark, location, lag, estimates }: NewsOptions,
  by: string,
  select: Select,
): Promise<News> {
  const field = columns.find(({ name }) => name.toLowerCase() === by.toLowerCase());
  if (field === undefined || !grows(field)) {
    const why = field === undefined ? 'does not exist' : `is of type ${field.type}, which does not grow`;
    throw new BrokerError('invalid_config', `incremental: column ${column(by)} ${why}`, {
      hint: 'Name a column of type TIMESTAMP, DATETIME, DATE, INT64, NUMERIC or STRING.',
    });
  }
  if (lag !== undefined && !knowsLag(field.type)) {
    throw new BrokerError('invalid_config', `incremental: lag says nothing about a column of type ${field.type}`, {
      hint: 'Leave lag out.',
    });
  }
  const type = parameterType(field.type);
  const begun = bookmark !== undefined && 'column' in bookmark;
  const start: readonly Parameter[] = begun ? [{ name: 'isthmus_from', type, value: bookmark.until }] : [];
  if (estimates) {
    const everything = newRows(from, field.name, begun, false);
    return {
      sql: everything,
      parameters: [...parameters, ...start],
      until: undefined,
      told: begun ? { from: bookmark.until } : {},
    };
  }
  const [row] = await select('bounds', boundsQuery(from, field, begun, lag), [...parameters, ...start], location);
  const [value = null, without = '0'] = row ?? [];
  const told = {
    ...(begun ? { from: bookmark.until } : {}),
    ...(value === null ? {} : { until: value }),
    ...(Number(without) > 0 ? { rowsWithoutValue: Number(without) } : {}),
  };
  const until = value === null ? undefined : { column: field.name, type, until: value };
  const end: readonly Parameter[] = value === null ? [] : [{ name: 'isthmus_until', type, value }];
  return { sql: newRows(from, field.name, begun, true), parameters: [...parameters, ...start, ...end], until, told };
}

export function unitOfNews(
  base: Pick<Unit, 'folder' | 'label' | 'engine' | 'attempt'>,
  { sql, parameters, until }: News,
  estimates: boolean,
) {
  if (until === undefined && !estimates) return { units: [] };
  return { units: [{ ...base, sql, parameters: [...parameters] }], ...(until === undefined ? {} : { until }) };
}
