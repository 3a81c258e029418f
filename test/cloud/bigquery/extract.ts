import { z } from 'zod';
import type { LocalGcs } from '../gcs.ts';
import type { LocalBigQuery } from './bigquery.ts';
import { cannotBeWritten, type FileFormat, fileOf } from './files.ts';
import type { ErrorProto, Outcome } from './jobs.ts';
import type { LocalTable, Row } from './tables.ts';

/** What a job will do, and why it will not. */
export interface Planned {
  readonly location: string;
  /** For the message that it is not where it was looked for. */
  readonly missing: string;
  /** Found wrong before the job begins. */
  refused(): ErrorProto | undefined;
  work(): Promise<Outcome>;
  dryRun(): Outcome;
}

const reference = z.strictObject({ projectId: z.string(), datasetId: z.string(), tableId: z.string() });

/** Source: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationExtract */
const extractSchema = z.strictObject({
  sourceTable: reference,
  destinationUris: z.array(z.string()).length(1),
  destinationFormat: z.enum(['CSV', 'NEWLINE_DELIMITED_JSON', 'AVRO', 'PARQUET']).default('CSV'),
  compression: z.enum(['NONE', 'GZIP', 'DEFLATE', 'SNAPPY', 'ZSTD']).default('NONE'),
  fieldDelimiter: z.string().default(','),
  printHeader: z.boolean().default(true),
  useAvroLogicalTypes: z.boolean().default(false),
});

export function extract(configuration: object, server: LocalBigQuery, gcs: LocalGcs, principal: string): Planned {
  const wanted = extractSchema.parse(configuration);
  const { projectId, datasetId, tableId } = wanted.sourceTable;
  const table = server.find(projectId, datasetId, tableId);
  const location = server.datasets.get(`${projectId}.${datasetId}`)?.location ?? 'US';
  const shape: FileFormat = {
    format: wanted.destinationFormat === 'NEWLINE_DELIMITED_JSON' ? 'JSON' : wanted.destinationFormat,
    compression: wanted.compression,
    header: wanted.printHeader,
    delimiter: wanted.fieldDelimiter,
    logicalTypes: wanted.useAvroLogicalTypes,
  };
  const name = `${projectId}:${datasetId}.${tableId}`;
  const refused = (): ErrorProto | undefined => {
    const { type } = table;
    if (type === 'VIEW' || type === 'EXTERNAL' || type === 'MATERIALIZED_VIEW')
      return invalid(`${name} is not allowed for this operation because it is currently a ${type}.`);
    const wrong = cannotBeWritten(shape, table.fields);
    return wrong === undefined ? undefined : invalid(wrong);
  };
  return {
    location,
    missing: `${projectId}:${datasetId}`,
    refused,
    dryRun: () => ({ error: invalid('Dry run is not defined for extract jobs') }),
    work: async () => {
      const files = await writeFiles(
        { uri: wanted.destinationUris[0] ?? '', table, shape, location, principal },
        server,
        gcs,
      );
      if ('error' in files) return files;
      return {
        statistics: { extract: { destinationUriFileCounts: [String(files.count)], inputBytes: String(table.bytes) } },
      };
    },
  };
}

export const invalid = (message: string): ErrorProto => ({ reason: 'invalid', message });

interface Writing {
  readonly uri: string;
  readonly table: LocalTable;
  readonly shape: FileFormat;
  readonly location: string;
  readonly principal: string;
}

/** Writes the rows below a wildcard, as files numbered from 0 with twelve digits. */
export async function writeFiles(
  { uri, table, shape, location, principal }: Writing,
  server: LocalBigQuery,
  gcs: LocalGcs,
): Promise<{ readonly count: number } | { readonly error: ErrorProto }> {
  const [, bucketName = '', name = ''] = /^gs:\/\/([^/]+)\/(.+)$/.exec(uri) ?? [];
  const bucket = gcs.buckets.get(bucketName);
  if (bucket === undefined) return { error: { reason: 'notFound', message: `Not found: URI ${uri}` } };
  const here = bucket.location.toLowerCase();
  if (
    location !== 'US' &&
    here !== location.toLowerCase() &&
    !here.startsWith(`${location.toLowerCase()}-`) &&
    !(location === 'EU' && here.startsWith('europe-'))
  )
    return {
      error: invalid(
        `Cannot read and write in different locations: source: ${location}, destination: ${bucket.location}`,
      ),
    };
  if (!bucket.writers.has(principal) && !bucket.writers.has('allUsers'))
    return {
      error: {
        reason: 'accessDenied',
        message: 'Access Denied: BigQuery BigQuery: Permission denied while writing data.',
      },
    };
  const put = (index: number, body: Parameters<typeof bucket.put>[1]): void =>
    void bucket.put(name.replace('*', String(index).padStart(12, '0')), body, {
      contentType: 'application/octet-stream',
    });
  if (table.files !== undefined) {
    table.files.forEach((body, index) => void put(index, body));
    return { count: table.files.length };
  }
  let count = 0;
  let rows: Row[] = [];
  const flush = async (): Promise<void> => {
    put(count++, await fileOf(shape, table.fields, rows));
    rows = [];
  };
  for (const row of table.rows()) {
    rows.push(row);
    if (rows.length >= server.rowsPerFile) await flush();
  }
  // A table without rows makes one file without rows.
  if (rows.length > 0 || count === 0) await flush();
  return { count };
}
