import { createHash } from 'node:crypto';
import { BrokerError, pause, z } from '../../core/api/index.ts';
import type { GoogleClient } from '../google/http.ts';
import type { BigQueryClient, JobInfo } from './client.ts';
import type { BigQueryConfig } from './config.ts';
import { failureOf, isPassing } from './errors.ts';
import type { Parameter } from './notes.ts';
import { plainRows, type RowPlace } from './rows.ts';
import { queryConfiguration } from './sql.ts';

const FIRST_POLL_MS = 500;
const LONGEST_POLL_MS = 10_000;
/** Jobs that failed for a passing reason, now or in an earlier run. */
const MOST_ATTEMPTS = 20;

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
  readonly now: () => number;
  /** Told what each query cost, in bytes. */
  readonly onBilled: (bytes: number) => void;
}

/**
 * Small queries that tell what there is; of one export each is asked once, whatever happens. One that failed is asked
 * again by the next run.
 */
export function selecting(options: SelectOptions, id: string, signal: AbortSignal): Select {
  const { client, rows: rowsClient, config, pipeline, onBilled } = options;
  return async (step, sql, parameters, location = 'US') => {
    const mark = createHash('sha256').update(step).digest('hex').slice(0, 12);
    const query = { ...queryConfiguration(sql, parameters, config), priority: 'INTERACTIVE' };
    const configuration = { labels: { ...config.labels, 'isthmus-pipeline': pipeline }, query };
    for (let attempt = 0; ; attempt++) {
      const jobId = `isthmus_${pipeline}_${id}_${mark}_${attempt}`;
      const { job: begun, fresh } = await client.insert(jobId, location, configuration, signal);
      const { status, statistics } = await over(begun, jobId, location, options, signal);
      const { errorResult } = status;
      if (errorResult === undefined) {
        onBilled(statistics.query?.totalBytesBilled ?? 0);
        return texts(rowsClient, { kind: 'job', project: config.project, jobId, location }, signal);
      }
      const again = attempt + 1 < MOST_ATTEMPTS && (!fresh || isPassing(errorResult));
      if (!again) throw failureOf(`job ${jobId} (what is new)`, errorResult);
    }
  };
}

/** Costs nothing, and answers with no rows: for whoever only wants to know whether it would work. */
export const pretending =
  (client: BigQueryClient, config: BigQueryConfig, signal: AbortSignal): Select =>
  async (_, sql, parameters, location) => {
    await client.dryRun(queryConfiguration(sql, parameters, config), location, signal);
    return [];
  };

async function over(
  begun: JobInfo,
  jobId: string,
  location: string,
  { client, config, now }: SelectOptions,
  signal: AbortSignal,
): Promise<JobInfo> {
  const until = now() + config.wait;
  let job = begun;
  for (let waitMs = FIRST_POLL_MS; job.status.state !== 'DONE'; waitMs = Math.min(LONGEST_POLL_MS, waitMs * 1.5)) {
    if (now() + waitMs > until)
      throw new BrokerError('pending', `job ${jobId} is not over`, { retryAfterMs: LONGEST_POLL_MS });
    await pause(waitMs, signal);
    job = await client.job(jobId, location, signal);
  }
  return job;
}

async function texts(client: GoogleClient, place: RowPlace, signal: AbortSignal): Promise<(string | null)[][]> {
  const rows: (string | null)[][] = [];
  for await (const { f } of plainRows(client, place, signal))
    rows.push(f.map(({ v }) => z.string().nullable().parse(v)));
  return rows;
}
