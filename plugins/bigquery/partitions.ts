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
    const wanted = listed?.includes(id) ?? (range === undefined || isBetween(id, range));
    if (!wanted || (changing && Number(modified) <= (after ?? -1))) continue;
    ids.push(id);
    newest = Math.max(newest ?? 0, Number(modified));
  }
  return { ids, ...(changing && newest !== undefined ? { newest } : {}) };
}

const isBetween = (id: string, { from, to }: { readonly from: string; readonly to: string }): boolean =>
  /^-?\d+$/.test(id) && BigInt(id) >= BigInt(from) && BigInt(id) <= BigInt(to);
