import { BrokerError, pause, z } from '../../core/api/index.ts';
import type { GoogleClient } from '../google/http.ts';
import type { BigQueryClient } from './client.ts';
import type { BigQueryConfig } from './config.ts';
import type { Parameter } from './notes.ts';
import { plainRows, type RowPlace } from './rows.ts';
import { queryConfiguration } from './sql.ts';

const FIRST_POLL_MS = 500;
const LONGEST_POLL_MS = 10_000;

/** Runs a small query and answers with its rows as texts. */
export type Select = (
  step: string,
  sql: string,
  parameters: readonly Parameter[],
  location: string | undefined,
) => Promise<readonly (readonly (string | null)[])[]>;

export interface SelectOptions {
  readonly client: BigQueryClient;
  readonly rows: GoogleClient;
  readonly config: BigQueryConfig;
  readonly pipeline: string;
}

/** Small queries that tell what there is; of one export each is asked once, whatever happens. */
export function selecting(
  { client, rows: rowsClient, config, pipeline }: SelectOptions,
  id: string,
  signal: AbortSignal,
): Select {
  return async (step, sql, parameters, location = 'US') => {
    const jobId = `isthmus_${pipeline}_${id}_${step.replace(/[^\w-]/g, '_')}`.slice(0, 1024);
    const labels = { ...config.labels, 'isthmus-pipeline': pipeline };
    const query = queryConfiguration(sql, parameters, config);
    const configuration = { labels, query };
    let job = await client.insert(jobId, location, configuration, signal);
    for (let waitMs = FIRST_POLL_MS; job.status.state !== 'DONE'; waitMs = Math.min(LONGEST_POLL_MS, waitMs * 1.5)) {
      await pause(waitMs, signal);
      job = await client.job(jobId, location, signal);
    }
    const { errorResult } = job.status;
    if (errorResult !== undefined)
      throw new BrokerError('job_failed', `job ${jobId}: ${errorResult.reason}: ${errorResult.message}`);
    const place: RowPlace = { kind: 'job', project: config.project, jobId, location };
    const rows: (readonly (string | null)[])[] = [];
    for await (const { f } of plainRows(rowsClient, place, signal))
      rows.push(f.map(({ v }) => z.string().nullable().parse(v)));
    return rows;
  };
}
