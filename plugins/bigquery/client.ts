import type { BigQuery } from '@google-cloud/bigquery';
import {
  BrokerError,
  type CredentialProvider,
  type GcpAccessToken,
  googleAuthClient,
  type RetryPolicy,
  retry,
  z,
} from '../../core/api/index.ts';
import { connectionFailure, failureOf, toldBy } from './errors.ts';
import type { TableName } from './names.ts';
import { schemaField } from './schema.ts';

/** One request is answered within this time, or was lost: the client library itself waits for ever. */
const REQUEST_MS = 60_000;
/** Back-offs as Google asks for them. Source: https://cloud.google.com/bigquery/sla */
const PATIENCE: RetryPolicy = { attempts: 6, baseDelayMs: 1000, maxDelayMs: 32_000 };

const count = z.string().regex(/^\d+$/).transform(Number);
const problem = z.object({ reason: z.string().default(''), message: z.string().default('') });

const tableSchema = z.object({
  type: z.string().default('TABLE'),
  location: z.string(),
  schema: z.object({ fields: z.array(schemaField).default([]) }).optional(),
  timePartitioning: z.object({ type: z.string(), field: z.string().optional() }).optional(),
  rangePartitioning: z.object({ field: z.string() }).optional(),
  numRows: count.optional(),
  numBytes: count.optional(),
  lastModifiedTime: count.optional(),
  streamingBuffer: z.object({ estimatedRows: count.optional() }).optional(),
});
export type TableInfo = z.output<typeof tableSchema>;

const jobSchema = z.object({
  jobReference: z.object({ jobId: z.string().optional(), location: z.string().optional() }),
  status: z.object({ state: z.string(), errorResult: problem.optional() }),
  statistics: z
    .object({
      totalBytesProcessed: count.optional(),
      extract: z
        .object({ destinationUriFileCounts: z.array(count).default([]), inputBytes: count.optional() })
        .optional(),
      query: z
        .object({
          statementType: z.string().optional(),
          totalBytesBilled: count.optional(),
          totalBytesProcessed: count.optional(),
          cacheHit: z.boolean().optional(),
          schema: z.object({ fields: z.array(schemaField).default([]) }).optional(),
          exportDataStatistics: z.object({ fileCount: count.optional(), rowCount: count.optional() }).optional(),
        })
        .optional(),
      rowLevelSecurityStatistics: z.object({ rowLevelSecurityApplied: z.boolean().optional() }).optional(),
      dataMaskingStatistics: z.object({ dataMaskingApplied: z.boolean().optional() }).optional(),
    })
    .default({}),
});
export type JobInfo = z.output<typeof jobSchema>;

const datasetSchema = z.object({ location: z.string() });
const listSchema = z.object({
  tables: z
    .array(z.object({ tableReference: z.object({ tableId: z.string() }), type: z.string().default('TABLE') }))
    .default([]),
  nextPageToken: z.string().optional(),
});

export interface BigQueryClientOptions {
  readonly endpoint: string;
  readonly project: string;
  readonly token: CredentialProvider<GcpAccessToken> | undefined;
  readonly policy?: RetryPolicy | undefined;
}

/**
 * Jobs and metadata, by Google's client library, which is loaded at the first call. It knows neither time limits nor
 * signals, and its errors hold the token: all three are mended here. Rows are not read with it (`rows.ts`).
 */
export class BigQueryClient {
  readonly #options: BigQueryClientOptions;
  #library: Promise<BigQuery> | undefined;

  constructor(options: BigQueryClientOptions) {
    this.#options = options;
  }

  async table(name: TableName, signal: AbortSignal): Promise<TableInfo> {
    const { project, dataset, table } = name;
    return this.#get(`look at ${project}.${dataset}.${table}`, tableSchema, signal, async (library) => {
      const [metadata] = await library.dataset(dataset, { projectId: project }).table(table).getMetadata();
      return metadata;
    });
  }

  async location(project: string, dataset: string, signal: AbortSignal): Promise<string> {
    const found = await this.#get(`look at ${project}.${dataset}`, datasetSchema, signal, async (library) => {
      const [metadata] = await library.dataset(dataset, { projectId: project }).getMetadata();
      return metadata;
    });
    return found.location;
  }

  /** The names of tables of a dataset with their kinds, page by page. */
  async *tables(project: string, dataset: string, signal: AbortSignal): AsyncGenerator<{ id: string; type: string }> {
    let pageToken: string | undefined;
    do {
      const query = { autoPaginate: false, maxResults: 1000, ...(pageToken === undefined ? {} : { pageToken }) };
      const page = await this.#get(`list ${project}.${dataset}`, listSchema, signal, async (library) => {
        const [, , answer] = await library.dataset(dataset, { projectId: project }).getTables(query);
        return answer;
      });
      for (const { tableReference, type } of page.tables) yield { id: tableReference.tableId, type };
      pageToken = page.nextPageToken;
    } while (pageToken !== undefined);
  }

  /**
   * Begins a job, or finds that it was begun: after a lost answer the same id is sent again, and of several at most one
   * succeeds. `fresh` says that this very call began it. Source: https://cloud.google.com/bigquery/docs/running-jobs#generate-jobid
   */
  async insert(
    jobId: string,
    location: string,
    configuration: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<{ readonly job: JobInfo; readonly fresh: boolean }> {
    const what = `begin job ${jobId}`;
    let fresh = true;
    const begun = await this.#try(what, signal, async (library) => {
      try {
        const [, answer] = await library.createJob({ configuration, jobId, location });
        return answer;
      } catch (thrown) {
        const told = toldBy(thrown);
        fresh = told?.status !== 409;
        // A job that has begun and told of something at once is looked at like any other.
        if (!fresh || (told === undefined && hasWarnings(thrown))) return undefined;
        throw thrown;
      }
    });
    const job = begun === undefined ? await this.job(jobId, location, signal) : read(jobSchema, begun, what);
    return { job, fresh };
  }

  async job(jobId: string, location: string, signal: AbortSignal): Promise<JobInfo> {
    return this.#get(`look at job ${jobId}`, jobSchema, signal, async (library) => {
      const [metadata] = await library.job(jobId, { location }).getMetadata();
      return metadata;
    });
  }

  async cancel(jobId: string, location: string, signal: AbortSignal): Promise<void> {
    await this.#try(`cancel job ${jobId}`, signal, async (library) => {
      await library.job(jobId, { location }).cancel();
      return undefined;
    });
  }

  /** What a query would read, and its columns; costs nothing. */
  async dryRun(
    query: Readonly<Record<string, unknown>>,
    location: string | undefined,
    signal: AbortSignal,
  ): Promise<JobInfo> {
    const place = location === undefined ? {} : { location };
    return this.#get('check the query', jobSchema, signal, async (library) => {
      const [, answer] = await library.createJob({ configuration: { dryRun: true, query }, ...place });
      return answer;
    });
  }

  async #get<Shape extends z.ZodType>(
    what: string,
    shape: Shape,
    signal: AbortSignal,
    call: (library: BigQuery) => Promise<unknown>,
  ): Promise<z.output<Shape>> {
    return read(shape, await this.#try(what, signal, call), what);
  }

  #try(what: string, signal: AbortSignal, call: (library: BigQuery) => Promise<unknown>): Promise<unknown> {
    const policy = this.#options.policy ?? PATIENCE;
    return retry(() => this.#call(what, signal, call), { policy, signal });
  }

  async #call(what: string, signal: AbortSignal, call: (library: BigQuery) => Promise<unknown>): Promise<unknown> {
    const library = await this.#load();
    const limit = AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]);
    const { promise, reject } = Promise.withResolvers<never>();
    const give = (): void =>
      reject(
        signal.aborted
          ? new BrokerError('stopped', 'the run was stopped')
          : new BrokerError('timeout', `${what}: no answer within ${REQUEST_MS} ms`),
      );
    if (limit.aborted) give();
    limit.addEventListener('abort', give);
    try {
      return await Promise.race([call(library), promise]);
    } catch (thrown) {
      const told = toldBy(thrown);
      throw told === undefined ? connectionFailure(what, thrown) : failureOf(what, told);
    } finally {
      limit.removeEventListener('abort', give);
    }
  }

  #load(): Promise<BigQuery> {
    this.#library ??= this.#make();
    return this.#library;
  }

  async #make(): Promise<BigQuery> {
    const { endpoint, project, token } = this.#options;
    const [{ BigQuery: Client }, { AuthClient }] = await Promise.all([
      import('@google-cloud/bigquery'),
      import('google-auth-library'),
    ]);
    const authClient = googleAuthClient(AuthClient, token ?? NOBODY, { projectId: project });
    const client = new Client({ authClient, projectId: project, apiEndpoint: endpoint, autoRetry: false });
    // A variable of the process could send the token elsewhere (BIGQUERY_EMULATOR_HOST); nobody asks for that here.
    client.baseUrl = `${endpoint}/bigquery/v2`;
    return client;
  }
}

const NOBODY: CredentialProvider<GcpAccessToken> = {
  get: async () => {
    throw new BrokerError('unauthenticated', 'BigQuery answers no one who is anonymous', {
      hint: 'Use an identity of kind gcp.',
    });
  },
};

const hasWarnings = (thrown: unknown): boolean =>
  (thrown as { response?: { kind?: unknown } }).response?.kind === 'bigquery#job';

function read<Shape extends z.ZodType>(shape: Shape, answer: unknown, what: string): z.output<Shape> {
  const parsed = shape.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new BrokerError('bad_response', `${what}: the answer has not the form that BigQuery's has`);
}
