import { BrokerError } from '../../core/api/index.ts';
import type { BigQueryConfig } from './config.ts';
import type { Unit } from './notes.ts';

/** Rows of more than this are not read one by one unless that is asked for. */
const MOST_READ = 10 * 1024 ** 3;

export type Engine = Unit['engine'];

/** Whether BigQuery itself keeps the rows: they can be extracted and listed. */
export const isStored = (type: string): boolean => type === 'TABLE' || type === 'SNAPSHOT' || type === 'CLONE';

/** By rule: a free job where it can do it, else a query, and rows where nothing can be staged. */
export function engineFor(what: string, type: string, bytes: number | undefined, config: BigQueryConfig): Engine {
  const { engine, staging, format, asOf } = config;
  const stored = isStored(type);
  if (engine === 'extract' && !stored) {
    throw new BrokerError('invalid_config', `${what} is a ${type}: an extract job cannot read it`, {
      hint: 'Set engine to auto or export.',
    });
  }
  const chosen =
    engine !== 'auto' ? engine : staging === undefined ? 'rows' : stored && asOf === undefined ? 'extract' : 'export';
  if (chosen !== 'rows' && staging === undefined) {
    throw new BrokerError('invalid_config', `engine ${chosen} writes files to a staging bucket, and none is named`, {
      hint: 'Set staging: { bucket: … }, a bucket in the location of the data.',
    });
  }
  if (chosen === 'extract' && asOf !== undefined) {
    throw new BrokerError('invalid_config', 'an extract job reads a table as it is', {
      hint: 'Leave asOf or engine out.',
    });
  }
  if (chosen !== 'rows') return chosen;
  if (format === 'avro' || format === 'parquet') {
    throw new BrokerError('invalid_config', `rows that are read can be written as json or csv, not as ${format}`, {
      hint: 'Set format to json or csv, or name a staging bucket.',
    });
  }
  if (engine === 'auto' && (bytes ?? 0) > MOST_READ) {
    throw new BrokerError('invalid_config', `${what} is too large to be read row by row`, {
      hint: 'Set staging: { bucket: … }, or engine: rows if it must be.',
    });
  }
  return chosen;
}
