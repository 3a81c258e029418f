import { pipeline, Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { BrokerError, type ByteStream, type RetryPolicy, retry, z } from '../../core/api/index.ts';
import type { FailedAnswer, GoogleClient } from '../google/http.ts';
import { failureOf } from './errors.ts';
import { csvHeader, type Row, rowWriter } from './row-text.ts';
import { type Schema, schemaField } from './schema.ts';
import type { Shape } from './sql.ts';

const PATIENCE: RetryPolicy = { attempts: 6, baseDelayMs: 500, maxDelayMs: 20_000 };
/** Rows that one answer may hold at most. Source: https://cloud.google.com/bigquery/quotas#tabledata_list_requests */
const PAGE_ROWS = 50_000;
/** Text that is gathered before it goes on. */
const CHUNK = 256 * 1024;

/** Where rows are read: a table, or what a finished query has found. */
export type RowPlace =
  | { readonly kind: 'table'; readonly project: string; readonly dataset: string; readonly table: string }
  | { readonly kind: 'job'; readonly project: string; readonly jobId: string; readonly location: string };

/** (The rows themselves are not looked at one by one by the schema: there are millions.) */
const pageSchema = z.object({
  totalRows: z.string().regex(/^\d+$/).optional(),
  rows: z.custom<readonly Row[]>(Array.isArray).optional(),
  pageToken: z.string().optional(),
  jobComplete: z.boolean().optional(),
  schema: z.object({ fields: z.array(schemaField).default([]) }).optional(),
});
export type Page = z.output<typeof pageSchema>;

/**
 * Rows as BigQuery sends them, page by page; the token of a page keeps the walk on one state of the table.
 *
 * Own requests, because the client library makes numbers of INT64, and rows of objects, before anyone asked.
 * Source: https://cloud.google.com/bigquery/docs/reference/rest/v2/tabledata/list
 */
export async function* pages(client: GoogleClient, place: RowPlace, signal: AbortSignal): AsyncGenerator<Page> {
  const base =
    place.kind === 'table'
      ? `/bigquery/v2/projects/${place.project}/datasets/${place.dataset}/tables/${encodeURIComponent(place.table)}/data?`
      : `/bigquery/v2/projects/${place.project}/queries/${place.jobId}?location=${place.location}&`;
  const path = `${base}maxResults=${PAGE_ROWS}&formatOptions.useInt64Timestamp=true&prettyPrint=false`;
  const fetch = (token: string | undefined): Promise<Page> =>
    retry(
      async () => {
        const request = { path: token === undefined ? path : `${path}&pageToken=${encodeURIComponent(token)}`, signal };
        return read(await client.getJson({ ...request, headers: { 'accept-encoding': 'identity' } }, failure(place)));
      },
      { policy: PATIENCE, signal },
    );
  let token: string | undefined;
  let next: Promise<Page> | undefined = fetch(undefined);
  while (next !== undefined) {
    const page: Page = await next;
    if (page.pageToken !== undefined && page.pageToken === token)
      throw new BrokerError('truncated', 'the answer repeats the token of its page, and gives no more rows');
    token = page.pageToken;
    // The next page comes while this one is written.
    next = page.pageToken === undefined ? undefined : fetch(page.pageToken);
    next?.catch(() => undefined);
    yield page;
  }
}

const failure =
  (place: RowPlace) =>
  ({ status, reason, message }: FailedAnswer): BrokerError =>
    failureOf(`read rows of ${place.kind === 'table' ? `${place.dataset}.${place.table}` : `job ${place.jobId}`}`, {
      status,
      reason,
      message,
    });

function read(answer: unknown): Page {
  const parsed = pageSchema.safeParse(answer);
  if (!parsed.success) throw new BrokerError('bad_response', 'the rows have not the form that BigQuery gives them');
  if (parsed.data.jobComplete === false)
    throw new BrokerError('unavailable', 'the result is not ready, although the job is done');
  return parsed.data;
}

/** What was written of some rows, once the stream has ended. */
export interface Counted {
  rows: number;
  bytes: number;
}

/**
 * Rows as a stream of lines. @param schema of a table; a job tells its own.
 *
 * @throws BrokerError `truncated` when fewer rows come than the answer announced.
 */
export function rowStream(
  client: GoogleClient,
  place: RowPlace,
  schema: Schema | undefined,
  shape: Shape,
  counted: Counted,
  signal: AbortSignal,
): ByteStream {
  const plain = chunks(client, place, schema, shape, counted, signal);
  return shape.compression === 'gzip' ? gzipped(plain) : plain;
}

async function* chunks(
  client: GoogleClient,
  place: RowPlace,
  schema: Schema | undefined,
  shape: Shape,
  counted: Counted,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let write: ((row: Row) => string) | undefined;
  let announced: number | undefined;
  let text = '';
  for await (const page of pages(client, place, signal)) {
    if (write === undefined) {
      const fields = schema ?? page.schema?.fields ?? [];
      announced = page.totalRows === undefined ? undefined : Number(page.totalRows);
      if (shape.format === 'csv' && shape.header) text = csvHeader(fields, shape.delimiter);
      write = rowWriter(fields, shape);
    }
    for (const row of page.rows ?? []) {
      text += write(row);
      counted.rows++;
      if (text.length < CHUNK) continue;
      yield encoded(text, counted);
      text = '';
    }
  }
  if (announced !== undefined && counted.rows !== announced)
    throw new BrokerError('truncated', `${counted.rows} rows came, ${announced} were announced`);
  if (text !== '') yield encoded(text, counted);
}

function encoded(text: string, counted: Counted): Uint8Array {
  const bytes = Buffer.from(text);
  counted.bytes += bytes.byteLength;
  return bytes;
}

async function* gzipped(plain: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gzip = createGzip();
  // Whichever side ends ends the other; what went wrong is thrown to whoever reads.
  pipeline(Readable.from(plain), gzip, () => undefined);
  yield* gzip;
}
