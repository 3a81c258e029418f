import { BrokerError } from '../../core/api/index.ts';
import type { TableInfo } from './client.ts';
import type { BigQueryConfig } from './config.ts';
import type { TableName } from './names.ts';
import type { Select } from './select.ts';
import { partitionsQuery } from './sql.ts';

/** The partitions that are asked for; undefined for the table as a whole. */
export async function partitionsOf(
  { project, dataset, table }: TableName,
  info: TableInfo,
  after: number | undefined,
  { partitions, incremental }: BigQueryConfig,
  select: Select,
): Promise<{ readonly ids: readonly string[]; readonly newest?: number } | undefined> {
  const changing = incremental?.by === 'partition';
  if (partitions === undefined && !changing) return undefined;
  if (info.timePartitioning === undefined && info.rangePartitioning === undefined) {
    throw new BrokerError('invalid_config', `${dataset}.${table} is not partitioned`, {
      hint: 'Leave partitions out.',
    });
  }
  const listed = typeof partitions === 'string' ? [partitions] : Array.isArray(partitions) ? partitions : undefined;
  if (listed !== undefined && !changing) return { ids: [...new Set(listed)] };
  const parameters = [{ name: 'table', type: 'STRING', value: table }];
  const found = await select(`partitions-${table}`, partitionsQuery(project, dataset), parameters, info.location);
  const range = partitions as { readonly from: string; readonly to: string } | undefined;
  const ids: string[] = [];
  let newest = after;
  for (const [id, modified] of found) {
    if (typeof id !== 'string') continue;
    const wanted =
      listed?.includes(id) ?? (range === undefined || isBetween(id, range, info.timePartitioning !== undefined));
    if (!wanted || (changing && Number(modified) <= (after ?? -1))) continue;
    ids.push(id);
    newest = Math.max(newest ?? 0, Number(modified));
  }
  if (found.length > 0 && ids.length === 0 && !changing) {
    throw new BrokerError(
      'invalid_config',
      `${dataset}.${table} has no partition from ${range?.from} to ${range?.to}`,
      {
        hint: `Its partitions are named like ${found[0]?.[0]}.`,
      },
    );
  }
  return { ids, ...(changing && newest !== undefined ? { newest } : {}) };
}

/** Partitions of time are named with as many digits as their unit has; those of integers with as many as they need. */
const isBetween = (
  id: string,
  { from, to }: { readonly from: string; readonly to: string },
  ofTime: boolean,
): boolean =>
  /^-?\d+$/.test(id) &&
  (!ofTime || id.length === from.length) &&
  BigInt(id) >= BigInt(from) &&
  BigInt(id) <= BigInt(to);
