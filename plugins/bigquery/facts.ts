import type { Facts } from '../../core/api/index.ts';
import type { BigQueryConfig } from './config.ts';
import { Jobs } from './jobs.ts';
import type { Export, Unit } from './notes.ts';
import type { Planned } from './units.ts';

/** US dollars for a TiB, in the US and on demand. Source: https://cloud.google.com/bigquery/pricing#on-demand */
const DOLLARS_PER_TIB = 6.25;
const MOST_JOBS = 20;

export const dollars = (bytes: number): number => Math.round((bytes / 1024 ** 4) * DOLLARS_PER_TIB * 10_000) / 10_000;

const sum = (units: readonly Unit[], name: 'files' | 'rows' | 'bytesProcessed' | 'bytesBilled'): number | undefined => {
  const known = units.flatMap(({ result }) => result?.[name] ?? []);
  return known.length === 0 ? undefined : known.reduce((total, one) => total + one, 0);
};

/** What there is to tell of an export. */
export function factsOf(
  current: Export,
  planned: Planned | undefined,
  jobs: Jobs,
  { maxBytesBilled }: BigQueryConfig,
): Facts {
  const units = current.units ?? [];
  const ids = [...units.entries()]
    .filter(([, unit]) => Jobs.needed(unit))
    .map(([index, { attempt }]) => jobs.idOf(current, index, attempt));
  const billed = sum(units, 'bytesBilled');
  const counts = {
    files: sum(units, 'files'),
    rows: sum(units, 'rows'),
    bytesProcessed: sum(units, 'bytesProcessed'),
    bytesBilled: billed,
  };
  return {
    engine: [...new Set(units.map(({ engine }) => engine))].join(', '),
    ...(units.length === 0 ? { nothingNew: true } : {}),
    location: current.location ?? '',
    ...(ids.length === 0 ? {} : { jobs: ids.slice(0, MOST_JOBS) }),
    ...(ids.length > MOST_JOBS ? { moreJobs: ids.length - MOST_JOBS } : {}),
    ...Object.fromEntries(Object.entries(counts).filter((entry): entry is [string, number] => entry[1] !== undefined)),
    ...(billed === undefined ? {} : { costUsd: dollars(billed), maxBytesBilled }),
    ...planned?.told,
  };
}
