import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { LocalGcs } from '../gcs.ts';
import { googleError } from '../iam-credentials.ts';
import type { GoogleToken } from '../principals.ts';
import { json, LocalServer, type Reply, ReplyError, readBody } from '../server.ts';
import { restFields, restRow } from './encode.ts';
import { extract } from './extract.ts';
import { type ErrorProto, jobResource, type LocalJob, type Outcome, settle } from './jobs.ts';
import { type QueryAnswer, query } from './query.ts';
import { LocalDataset, type LocalTable, partition } from './tables.ts';

const SCOPES = ['bigquery', 'cloud-platform', 'bigquery.readonly'].map(
  (scope) => `https://www.googleapis.com/auth/${scope}`,
);
/** An answer holds at most so many bytes of rows. Source: https://cloud.google.com/bigquery/quotas#tabledata_list_requests */
const PAGE_BYTES = 10 * 1024 * 1024;

const insertion = z.strictObject({
  jobReference: z.strictObject({ projectId: z.string(), jobId: z.string(), location: z.string().optional() }),
  configuration: z.looseObject({
    dryRun: z.boolean().optional(),
    labels: z.record(z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/), z.string().regex(/^[a-z0-9_-]{0,63}$/)).optional(),
    extract: z.looseObject({}).optional(),
    query: z.looseObject({}).optional(),
  }),
});

/**
 * Jobs, tables and rows of BigQuery: extract jobs and EXPORT DATA really write files into the local Cloud Storage.
 * Of SQL it knows only what a test tells it (`answers`), and simple selections from its tables.
 * Source: https://cloud.google.com/bigquery/docs/reference/rest
 */
export class LocalBigQuery extends LocalServer {
  readonly datasets = new Map<string, LocalDataset>();
  readonly jobs = new Map<string, LocalJob>();
  /** Who may run jobs and read tables. */
  readonly users = new Set<string>();
  /** What queries answer: the first that knows the text. */
  readonly answers: QueryAnswer[] = [];
  /** How often a new job must be asked for before it is over; 0: it is over when it has begun. */
  asksUntilDone = 0;
  /** How the next jobs fail, one each. */
  readonly failures: ErrorProto[] = [];
  /** A row access policy keeps rows from everybody who asks. */
  filtered = false;
  /** Pages of rows that were asked for once are kept: a benchmark measures the reader, and not this. */
  keepsPages = false;
  readonly #pages = new Map<string, Buffer>();
  /** Rows of one file of an export. */
  rowsPerFile = 100_000;
  readonly #tokens: ReadonlyMap<string, GoogleToken>;
  readonly #gcs: LocalGcs;
  readonly #now: () => number;

  constructor(tokens: ReadonlyMap<string, GoogleToken>, gcs: LocalGcs, now: () => number) {
    super(now);
    this.#tokens = tokens;
    this.#gcs = gcs;
    this.#now = now;
  }

  dataset(project: string, id: string, location = 'EU'): LocalDataset {
    const dataset = new LocalDataset(project, id, location);
    this.datasets.set(`${project}.${id}`, dataset);
    return dataset;
  }

  /** Ends a job as an administrator would. */
  cancel(id: string): void {
    const job = [...this.jobs.values()].find((one) => one.id === id);
    if (job !== undefined && job.outcome === undefined)
      job.outcome = {
        error: { reason: 'stopped', message: 'Job execution was cancelled: User requested cancellation' },
      };
  }

  /** @throws ReplyError when there is none. */
  find(project: string, dataset: string, name: string): LocalTable {
    const [id = '', partitionName] = name.split('$');
    const table = this.#dataset(project, dataset).tables.get(id);
    if (table === undefined)
      throw new ReplyError(googleError(404, 'NOT_FOUND', `Not found: Table ${project}:${dataset}.${id}`, 'notFound'));
    return partitionName === undefined ? table : partition(table, partitionName);
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    const principal = this.#caller(request);
    const found = /^\/bigquery\/v2\/projects\/([^/]+)\/(jobs|queries|datasets)(?:\/(.+))?$/.exec(url.pathname);
    if (found === null) return googleError(404, 'NOT_FOUND', 'Not Found', 'notFound');
    const [project = '', kind, rest] = [decodeURIComponent(found[1] ?? ''), found[2], found[3] ?? ''];
    const query = url.searchParams;
    if (kind === 'jobs' && request.method === 'POST' && rest === '')
      return this.#insert(project, principal, JSON.parse(String(await readBody(request))));
    if (kind === 'jobs') {
      const [id = '', verb] = rest.split('/');
      const job = this.#job(project, id, query);
      if (verb === 'cancel') {
        await readBody(request);
        this.cancel(id);
        return json(200, { kind: 'bigquery#jobCancelResponse', job: jobResource(job) });
      }
      await settle(job);
      return json(200, jobResource(job));
    }
    if (kind === 'queries') return this.#results(this.#job(project, rest, query), query);
    return this.#datasetRequest(project, rest.split('/').map(decodeURIComponent), query);
  }

  #caller(request: IncomingMessage): string {
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const token = this.#tokens.get(bearer);
    if (token === undefined || token.expiresAt <= this.#now())
      throw new ReplyError(
        googleError(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.', 'authError'),
      );
    if (!token.scopes.some((scope) => SCOPES.includes(scope)))
      throw new ReplyError(
        googleError(
          403,
          'PERMISSION_DENIED',
          'Request had insufficient authentication scopes.',
          'insufficientPermissions',
        ),
      );
    if (this.users.has(token.principal)) return token.principal;
    const message = `Access Denied: Project: User ${token.principal} does not have bigquery.jobs.create permission in project.`;
    throw new ReplyError(googleError(403, 'PERMISSION_DENIED', message, 'accessDenied'));
  }

  async #insert(project: string, principal: string, body: unknown): Promise<Reply> {
    const parsed = insertion.safeParse(body);
    if (!parsed.success)
      return googleError(
        400,
        'INVALID_ARGUMENT',
        `Invalid JSON payload: ${parsed.error.issues[0]?.message}`,
        'invalid',
      );
    const { jobReference, configuration } = parsed.data;
    const { jobId: id } = jobReference;
    if (!/^[\w-]{1,1024}$/.test(id)) return googleError(400, 'INVALID_ARGUMENT', `Invalid job ID "${id}"`, 'invalid');
    const common = { project, id, configuration, principal, created: this.#now(), outcome: undefined };
    const isExtract = configuration.extract !== undefined;
    const planned = isExtract
      ? extract(configuration.extract ?? {}, this, this.#gcs, principal)
      : query(configuration.query ?? {}, this, this.#gcs, principal);
    const location = jobReference.location ?? planned.location;
    if (location !== planned.location) return this.#elsewhere(planned.missing, location);
    const job: LocalJob = {
      ...common,
      location,
      kind: isExtract ? 'EXTRACT' : 'QUERY',
      asksLeft: this.asksUntilDone,
      work: async () => {
        const error = this.failures.shift();
        if (error !== undefined) return { error };
        const outcome = await planned.work();
        return this.filtered ? withFilter(outcome) : outcome;
      },
    };
    if (configuration.dryRun === true) {
      job.outcome = planned.dryRun();
      const { error } = job.outcome;
      if (error !== undefined) return googleError(400, 'INVALID_ARGUMENT', error.message, error.reason);
      return json(200, jobResource(job));
    }
    const name = `${project}:${location}.${id}`;
    if (this.jobs.has(name)) return googleError(409, 'ALREADY_EXISTS', `Already Exists: Job ${name}`, 'duplicate');
    const wrong = planned.refused();
    if (wrong !== undefined) return googleError(400, 'INVALID_ARGUMENT', wrong.message, wrong.reason);
    this.jobs.set(name, job);
    if (this.asksUntilDone === 0) await settle(job);
    return json(200, jobResource(job));
  }

  #elsewhere(missing: string, location: string): Reply {
    return googleError(
      404,
      'NOT_FOUND',
      `Not found: Dataset ${missing} was not found in location ${location}`,
      'notFound',
    );
  }

  #job(project: string, id: string, query: URLSearchParams): LocalJob {
    // Without a location only those of the US and the EU multi-regions are found.
    const locations = query.get('location') === null ? ['US', 'EU'] : [query.get('location') ?? ''];
    const job = locations.map((location) => this.jobs.get(`${project}:${location}.${id}`)).find((one) => one);
    if (job !== undefined) return job;
    throw new ReplyError(googleError(404, 'NOT_FOUND', `Not found: Job ${project}:${id}`, 'notFound'));
  }

  #dataset(project: string, id: string): LocalDataset {
    const dataset = this.datasets.get(`${project}.${id}`);
    if (dataset !== undefined) return dataset;
    throw new ReplyError(googleError(404, 'NOT_FOUND', `Not found: Dataset ${project}:${id}`, 'notFound'));
  }

  #datasetRequest(project: string, [id = '', tables, name, data]: readonly string[], query: URLSearchParams): Reply {
    const dataset = this.#dataset(project, id);
    if (tables === undefined)
      return json(200, {
        kind: 'bigquery#dataset',
        location: dataset.location,
        datasetReference: { projectId: project, datasetId: id },
      });
    if (name === undefined) return this.#list(dataset, query);
    const table = this.find(project, id, name);
    if (data !== 'data') return json(200, tableResource(dataset, table));
    if (table.type === 'VIEW' || table.type === 'EXTERNAL')
      return googleError(400, 'INVALID_ARGUMENT', `Cannot list a table of type ${table.type}.`, 'invalid');
    const key = `${dataset.id}.${name}?${query}`;
    const known = this.#pages.get(key);
    if (known !== undefined) return { status: 200, headers: { 'content-type': 'application/json' }, body: known };
    const reply = json(200, { kind: 'bigquery#tableDataList', ...page(table, query) });
    if (this.keepsPages) this.#pages.set(key, Buffer.from(String(reply.body)));
    return reply;
  }

  #list(dataset: LocalDataset, query: URLSearchParams): Reply {
    const all = [...dataset.tables.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    const start = Number(query.get('pageToken') ?? 0);
    const most = Number(query.get('maxResults') ?? 50);
    const shown = all.slice(start, start + most);
    const next = start + most < all.length ? { nextPageToken: String(start + most) } : {};
    const tables = shown.map(({ id, type }) => ({
      kind: 'bigquery#table',
      tableReference: { projectId: dataset.project, datasetId: dataset.id, tableId: id },
      type,
    }));
    return json(200, {
      kind: 'bigquery#tableList',
      totalItems: all.length,
      ...(tables.length > 0 && { tables }),
      ...next,
    });
  }

  async #results(job: LocalJob, query: URLSearchParams): Promise<Reply> {
    const outcome: Outcome | undefined = await settle(job);
    const reference = { projectId: job.project, jobId: job.id, location: job.location };
    const base = { kind: 'bigquery#getQueryResultsResponse', jobReference: reference };
    if (outcome === undefined) return json(200, { ...base, jobComplete: false });
    if (outcome.error !== undefined)
      return googleError(400, 'INVALID_ARGUMENT', outcome.error.message, outcome.error.reason);
    const { result } = outcome;
    if (result === undefined) return json(200, { ...base, jobComplete: true, totalRows: '0' });
    return json(200, {
      ...base,
      jobComplete: true,
      schema: { fields: restFields(result.fields) },
      ...page(result, query),
    });
  }
}

const withFilter = (outcome: Outcome): Outcome => ({
  ...outcome,
  statistics: { ...outcome.statistics, rowLevelSecurityStatistics: { rowLevelSecurityApplied: true } },
});

/** A table resource. Source: https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#Table */
function tableResource({ project, id: datasetId, location }: LocalDataset, table: LocalTable): Record<string, unknown> {
  const { id, type, fields, count, bytes, modified, partitioning } = table;
  const stored = type === 'TABLE' || type === 'SNAPSHOT' || type === 'MATERIALIZED_VIEW';
  return {
    kind: 'bigquery#table',
    etag: Buffer.from(String(modified)).toString('base64'),
    tableReference: { projectId: project, datasetId, tableId: id },
    type,
    location,
    schema: { fields: restFields(fields) },
    lastModifiedTime: String(modified),
    creationTime: String(modified),
    ...(stored ? { numRows: String(count), numBytes: String(bytes) } : {}),
    ...(partitioning === undefined ? {} : { timePartitioning: { type: 'DAY', field: partitioning.field } }),
  };
}

/** Walks that are under way, so that reading page after page of many made rows is not quadratic. */
const walks = new WeakMap<LocalTable, { at: number; rows: Iterator<unknown> }>();

function page(table: LocalTable, query: URLSearchParams): Record<string, unknown> {
  const start = Number(query.get('pageToken') ?? query.get('startIndex') ?? 0);
  const most = Number(query.get('maxResults') ?? Number.POSITIVE_INFINITY);
  const micros = query.get('formatOptions.useInt64Timestamp') === 'true';
  let walk = walks.get(table);
  if (walk === undefined || walk.at !== start) {
    const rows = table.rows()[Symbol.iterator]();
    for (let skipped = 0; skipped < start; skipped++) rows.next();
    walk = { at: start, rows };
  }
  const rows: unknown[] = [];
  let bytes = 0;
  while (rows.length < most && bytes < PAGE_BYTES) {
    const next = walk.rows.next();
    if (next.done === true) break;
    const row = restRow(table.fields, next.value as never, micros);
    rows.push(row);
    bytes += JSON.stringify(row).length;
  }
  const at = start + rows.length;
  walks.set(table, { at, rows: walk.rows });
  return {
    totalRows: String(table.count),
    ...(rows.length === 0 ? {} : { rows }),
    ...(at < table.count ? { pageToken: String(at) } : {}),
  };
}
