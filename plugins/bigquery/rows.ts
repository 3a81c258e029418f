import { pipeline, Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { BrokerError, type ByteStream, type RetryPolicy, retry, z } from '../../core/api/index.ts';
import type { FailedAnswer, GoogleClient } from '../google/http.ts';
import { failureOf } from './errors.ts';
import { LineBuffer } from './line-buffer.ts';
import { scanPage } from './page-scan.ts';
import { csvHeader, lineOf, type Row, type RowWriter, rowWriter } from './row-text.ts';
import { type Schema, schemaField } from './schema.ts';
import type { Shape } from './sql.ts';

const PATIENCE: RetryPolicy = { attempts: 6, baseDelayMs: 500, maxDelayMs: 20_000 };
/**
 * Rows of one answer: as many as memory allows easily, since each answer costs a round trip; BigQuery gives fewer when
 * they have more than 10 MB. Source: https://cloud.google.com/bigquery/quotas#tabledata_list_requests
 */
const PAGE_ROWS = 10_000;

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
type Page = z.output<typeof pageSchema>;

const NOTHING = new Uint8Array();

/** A page as text, and what it says besides its rows. */
interface Answer {
  readonly page: Page;
  readonly lines: Uint8Array;
  readonly count: number;
}

/** Small results, row by row. */
export async function* plainRows(client: GoogleClient, place: RowPlace, signal: AbortSignal): AsyncGenerator<Row> {
  const read = (text: string): Answer => ({ page: parsed(text), lines: NOTHING, count: 0 });
  for await (const { page } of pages(client, place, read, signal)) yield* page.rows ?? [];
}

/**
 * Rows as BigQuery sends them, page by page; the token of a page keeps the walk on one state of the table.
 *
 * Own requests, because the client library makes numbers of INT64, and rows of objects, before anyone asked.
 * Source: https://cloud.google.com/bigquery/docs/reference/rest/v2/tabledata/list
 */
async function* pages(
  client: GoogleClient,
  place: RowPlace,
  read: (text: string) => Answer,
  signal: AbortSignal,
): AsyncGenerator<Answer> {
  const base =
    place.kind === 'table'
      ? `/bigquery/v2/projects/${place.project}/datasets/${place.dataset}/tables/${encodeURIComponent(place.table)}/data?`
      : `/bigquery/v2/projects/${place.project}/queries/${place.jobId}?location=${place.location}&`;
  const path = `${base}maxResults=${PAGE_ROWS}&formatOptions.useInt64Timestamp=true&prettyPrint=false`;
  const fetch = (token: string | undefined): Promise<string> =>
    retry(
      () => {
        const asked = token === undefined ? path : `${path}&pageToken=${encodeURIComponent(token)}`;
        return client.getText({ path: asked, signal, headers: { 'accept-encoding': 'identity' } }, failure(place));
      },
      { policy: PATIENCE, signal },
    );
  let token: string | undefined;
  let next: Promise<string> | undefined = fetch(undefined);
  while (next !== undefined) {
    const text: string = await next;
    // The next page comes while this one is read; what a page says in the end decides.
    const likely = likelyToken(text);
    const ahead = likely === undefined || likely === token ? undefined : fetch(likely);
    ahead?.catch(() => undefined);
    const answer = read(text);
    const { pageToken, jobComplete } = answer.page;
    if (jobComplete === false)
      throw new BrokerError('unavailable', 'the result is not ready, although the job is done');
    if (pageToken !== undefined && pageToken === token)
      throw new BrokerError('truncated', 'the answer repeats the token of its page, and gives no more rows');
    token = pageToken;
    next = token === undefined ? undefined : token === likely ? ahead : fetch(token);
    yield answer;
  }
}

/** Where the token stands in an answer, before or behind its rows; within them quotes are escaped. */
const TOKEN = /"pageToken":\s*"([^"\\]+)"/;
const NEAR = 4096;
const likelyToken = (text: string): string | undefined =>
  (TOKEN.exec(text.slice(-NEAR)) ?? TOKEN.exec(text.slice(0, NEAR)))?.[1];

const failure =
  (place: RowPlace) =>
  ({ status, reason, message }: FailedAnswer): BrokerError =>
    failureOf(`read rows of ${place.kind === 'table' ? `${place.dataset}.${place.table}` : `job ${place.jobId}`}`, {
      status,
      reason,
      message,
    });

function parsed(text: string): Page {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BrokerError('bad_response', 'the answer with the rows is not JSON');
  }
  const page = pageSchema.safeParse(value);
  if (!page.success) throw new BrokerError('bad_response', 'the rows have not the form that BigQuery gives them');
  return page.data;
}

/** What was written of some rows, once the stream has ended. */
export interface Counted {
  rows: number;
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
  let writer = schema === undefined ? undefined : rowWriter(schema, shape);
  let fields = schema;
  const read = (text: string): Answer => {
    const scanned = writer && scanPage(text, writer);
    if (scanned !== undefined) return { page: parsed(scanned.rest), lines: scanned.lines, count: scanned.rows };
    const page = parsed(text);
    fields ??= page.schema?.fields ?? [];
    writer ??= rowWriter(fields, shape);
    return { page, lines: linesOf(page, writer), count: page.rows?.length ?? 0 };
  };
  let announced: number | undefined;
  for await (const { page, lines, count } of pages(client, place, read, signal)) {
    if (announced === undefined && page.totalRows !== undefined) {
      announced = Number(page.totalRows);
      if (shape.format === 'csv' && shape.header) yield Buffer.from(csvHeader(fields ?? [], shape.delimiter));
    }
    counted.rows += count;
    if (lines.byteLength > 0) yield lines;
  }
  if (announced !== undefined && counted.rows !== announced)
    throw new BrokerError('truncated', `${counted.rows} rows came, ${announced} were announced`);
}

function linesOf({ rows = [] }: Page, writer: RowWriter): Uint8Array {
  const lines = new LineBuffer(rows.length * 100);
  for (const row of rows) lines.add(lineOf(row, writer));
  return lines.bytes;
}

async function* gzipped(plain: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gzip = createGzip();
  // Whichever side ends ends the other; what went wrong is thrown to whoever reads.
  pipeline(Readable.from(plain), gzip, () => undefined);
  yield* gzip;
}
