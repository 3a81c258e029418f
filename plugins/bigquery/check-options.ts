import { BrokerError } from '../../core/api/index.ts';
import type { BigQueryConfig } from './config.ts';

/** What single options do not show. @throws BrokerError `invalid_config` */
export function checkOptions(config: BigQueryConfig): void {
  const wrong = (message: string, hint: string): never => {
    throw new BrokerError('invalid_config', message, { hint });
  };
  const { table, tables, query, parameters, partitions, asOf, incremental, staging, engine } = config;
  const named = [table, tables, query].filter((one) => one !== undefined).length;
  if (named !== 1) wrong(`${named} of table, tables and query are given`, 'Give exactly one of them.');
  if (query === undefined && Object.keys(parameters).length > 0)
    wrong('parameters belong to a query', 'Leave parameters out.');
  if (query !== undefined && partitions !== undefined)
    wrong('partitions belong to a table', 'Put a condition into the query.');
  if (query !== undefined && asOf !== undefined)
    wrong('asOf belongs to a table', 'Put FOR SYSTEM_TIME AS OF into the query.');
  if (partitions !== undefined && asOf !== undefined)
    wrong('partitions cannot be read as of a time', 'Leave one of both out.');
  if (query !== undefined && engine === 'extract')
    wrong('an extract job reads tables, not queries', 'Set engine to auto or export.');
  if (partitions !== undefined && typeof partitions !== 'string' && !Array.isArray(partitions)) {
    const { from, to } = partitions as { readonly from: string; readonly to: string };
    const isNumber = (name: string): boolean => /^-?\d+$/.test(name);
    if (!isNumber(from) || !isNumber(to))
      wrong('a range of partitions goes from number to number', 'List the others one by one.');
    else if (BigInt(from) > BigInt(to))
      wrong(`partitions from ${from} to ${to} are none`, 'Put the earlier one first.');
  }
  if (incremental === undefined) return;
  if (query !== undefined && incremental.by !== 'column')
    wrong(`incremental by ${incremental.by} belongs to tables`, 'Set by: column.');
  if (incremental.by === 'column' && (partitions !== undefined || tables !== undefined || asOf !== undefined))
    wrong('incremental by column is for one table or query as a whole', 'Leave partitions, tables and asOf out.');
  if (incremental.by === 'column' && engine === 'extract')
    wrong('an extract job reads whole tables', 'Leave engine out.');
  if (incremental.by !== 'column' && asOf !== undefined)
    wrong('incremental and asOf contradict each other', 'Leave one out.');
  if (incremental.by === 'column' && engine === 'export' && staging === undefined)
    wrong('engine export needs staging', 'Set staging.');
}
