import { type Facts, formatBytes, type Item } from '../../core/api/index.ts';
import type { BigQueryClient } from './client.ts';
import type { BigQueryConfig } from './config.ts';
import { dollars } from './facts.ts';
import type { Unit } from './notes.ts';
import { extensionOf, queryConfiguration, shapeOf } from './sql.ts';
import type { Planned } from './units.ts';

/** What a run would export and cost; queries are only checked, which is free. */
export async function planned(
  { location, units, told }: Planned,
  client: BigQueryClient,
  config: BigQueryConfig,
  signal: AbortSignal,
): Promise<{ readonly items: readonly Item[]; readonly facts: Facts }> {
  let bytes = 0;
  let free = true;
  for (const { sql, parameters = [] } of units) {
    if (sql === undefined) continue;
    free = false;
    const { statistics } = await client.dryRun(queryConfiguration(sql, parameters, config), location, signal);
    bytes += statistics.query?.totalBytesProcessed ?? statistics.totalBytesProcessed ?? 0;
  }
  const over =
    bytes > config.maxBytesBilled ? { tooMuch: `more than maxBytesBilled, ${formatBytes(config.maxBytesBilled)}` } : {};
  const facts = {
    engine: [...new Set(units.map(({ engine }) => engine))].join(', '),
    location,
    ...(units.length === 0 ? { nothingNew: true } : {}),
    ...(free
      ? { cost: 'none: no query is run' }
      : {
          bytesProcessed: bytes,
          reads: formatBytes(bytes),
          costUsd: dollars(bytes),
          price: '6.25 USD a TiB (US, on demand)',
        }),
    ...over,
    ...told,
  };
  return { items: units.map((unit) => itemOf(unit, config)), facts };
}

/** Stands for the files that a job would write. */
const itemOf = (unit: Unit, config: BigQueryConfig): Item => {
  const name = unit.engine === 'rows' ? 'part-000000000000' : 'part-*';
  const key = `${unit.folder}${name}${extensionOf(shapeOf(config, unit.engine === 'rows'))}`;
  return { id: unit.label, key, ref: { text: '' } };
};
