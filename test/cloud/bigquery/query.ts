import { z } from 'zod';
import type { LocalGcs } from '../gcs.ts';
import type { LocalBigQuery } from './bigquery.ts';
import { restFields } from './encode.ts';
import { invalid, type Planned, writeFiles } from './extract.ts';
import { cannotBeWritten, type FileFormat } from './files.ts';
import type { ErrorProto, Outcome } from './jobs.ts';
import { type Field, LocalDataset, type LocalTable, type Row } from './tables.ts';

export type Parameters = Readonly<Record<string, string>>;

/** What a query that matches answers: a table, or what is wrong with it. */
export interface QueryAnswer {
  readonly matches: RegExp;
  readonly location?: string;
  readonly answer: (sql: string, parameters: Parameters) => LocalTable | ErrorProto;
}

/** Source: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationQuery */
const querySchema = z.strictObject({
  query: z.string().min(1),
  useLegacySql: z.literal(false),
  parameterMode: z.literal('NAMED').optional(),
  queryParameters: z
    .array(
      z.strictObject({
        name: z.string(),
        parameterType: z.strictObject({ type: z.string(), arrayType: z.unknown().optional() }),
        parameterValue: z.strictObject({
          value: z.string().nullable().optional(),
          arrayValues: z.array(z.unknown()).optional(),
        }),
      }),
    )
    .optional(),
  maximumBytesBilled: z.string().regex(/^\d+$/).optional(),
  useQueryCache: z.boolean().optional(),
  priority: z.enum(['INTERACTIVE', 'BATCH']).optional(),
  defaultDataset: z.strictObject({ projectId: z.string(), datasetId: z.string() }).optional(),
});

const EXPORT = /^\s*EXPORT\s+DATA\s+OPTIONS\s*\(([\s\S]*?)\)\s*AS\s+([\s\S]+)$/i;
const SELECT =
  /^\s*SELECT\s+\*\s+FROM\s+`([^`]+)`(?:\s+FOR SYSTEM_TIME AS OF @(\w+))?(?:\s+AS\s+\w+)?(?:\s+WHERE\s+([\s\S]+?))?;?\s*$/i;

export function query(configuration: object, server: LocalBigQuery, gcs: LocalGcs, principal: string): Planned {
  const wanted = querySchema.parse(configuration);
  const parameters = Object.fromEntries(
    (wanted.queryParameters ?? []).map(({ name, parameterValue }) => [name, parameterValue.value ?? '']),
  );
  const exported = EXPORT.exec(wanted.query);
  const sql = exported?.[2] ?? wanted.query;
  const { location, table, error } = resolve(sql, parameters, server);
  const options = exported === null ? undefined : optionsOf(exported[1] ?? '');
  const most = wanted.maximumBytesBilled === undefined ? Number.POSITIVE_INFINITY : Number(wanted.maximumBytesBilled);
  const bytes = Math.max(10 * 1024 * 1024, table?.bytes ?? 0);
  const failure = (): ErrorProto | undefined => {
    if (error !== undefined) return error;
    if (bytes > most)
      return {
        reason: 'bytesBilledLimitExceeded',
        message: `Query exceeded limit for bytes billed: ${most}. ${bytes} or higher required.`,
      };
    const wrong = options === undefined ? undefined : cannotBeWritten(options.shape, table?.fields ?? []);
    return wrong === undefined ? undefined : invalid(wrong);
  };
  const statistics = {
    totalBytesProcessed: String(table?.bytes ?? 0),
    query: {
      statementType: options === undefined ? 'SELECT' : 'EXPORT_DATA',
      totalBytesProcessed: String(table?.bytes ?? 0),
      totalBytesBilled: String(bytes),
      cacheHit: false,
    },
  };
  return {
    location,
    missing: /`([^`.]+)\.([^`.]+)\./.exec(sql)?.slice(1, 3).join(':') ?? 'p:d',
    refused: () => (error?.reason === 'invalidQuery' ? error : undefined),
    dryRun: () => {
      const wrong = failure();
      if (wrong !== undefined && wrong.reason !== 'bytesBilledLimitExceeded') return { error: wrong };
      const { query: inner } = statistics;
      const schema = { fields: restFields(table?.fields ?? []) };
      return { statistics: { ...statistics, query: { ...inner, totalBytesBilled: '0', schema } } };
    },
    work: async (): Promise<Outcome> => {
      const wrong = failure();
      if (wrong !== undefined || table === undefined) return { error: wrong ?? invalid('no result') };
      if (options === undefined) return { statistics, result: table };
      const files = await writeFiles(
        { uri: options.uri, table, shape: options.shape, location, principal },
        server,
        gcs,
      );
      if ('error' in files) return files;
      const exportDataStatistics = { fileCount: String(files.count), rowCount: String(table.count) };
      return { statistics: { ...statistics, query: { ...statistics.query, exportDataStatistics } } };
    },
  };
}

interface Resolved {
  readonly location: string;
  readonly table?: LocalTable;
  readonly error?: ErrorProto;
}

function resolve(sql: string, parameters: Parameters, server: LocalBigQuery): Resolved {
  for (const { matches, location = 'EU', answer } of server.answers) {
    if (!matches.test(sql)) continue;
    const result = answer(sql, parameters);
    return 'reason' in result ? { location, error: result } : { location, table: result };
  }
  const selected = SELECT.exec(sql);
  if (selected === null)
    return {
      location: 'EU',
      error: { reason: 'invalidQuery', message: 'Syntax error: this server does not know the query' },
    };
  const [project = '', dataset = '', name = ''] = (selected[1] ?? '').split('.');
  const found = server.find(project, dataset, name);
  const location = server.datasets.get(`${project}.${dataset}`)?.location ?? 'US';
  const rows = [...found.rows()].filter((row) => satisfies(row, found.fields, selected[3], parameters));
  return { location, table: resultTable(found.fields, rows, found.bytes) };
}

/** The rows of a query, as a table without a name. */
export const resultTable = (fields: readonly Field[], rows: readonly Row[], bytes = 1000): LocalTable => ({
  ...new LocalDataset('', '', '').table('result', { fields, rows, bytes }),
});

/** Conditions of the form `column > @name AND …`. */
function satisfies(row: Row, fields: readonly Field[], where: string | undefined, parameters: Parameters): boolean {
  if (where === undefined) return true;
  return where.split(/\s+AND\s+/i).every((condition) => {
    const [, column = '', operator = '', name = ''] =
      /^\(?`(\w+)`\s*(<=|>=|<|>|=)\s*@(\w+)\)?$/.exec(condition.trim()) ?? [];
    const value = row[column];
    const type = fields.find((field) => field.name === column)?.type ?? 'STRING';
    if (typeof value !== 'string') return false;
    const order = compareValues(type, value, parameters[name] ?? '');
    return operator === '<'
      ? order < 0
      : operator === '<='
        ? order <= 0
        : operator === '>'
          ? order > 0
          : operator === '>='
            ? order >= 0
            : order === 0;
  });
}

function compareValues(type: string, value: string, given: string): number {
  if (type === 'INTEGER') return Number(BigInt(value) - BigInt(given));
  const known = type === 'TIMESTAMP' ? Number(value) : value;
  const other = type === 'TIMESTAMP' ? Date.parse(given.replace(' ', 'T').replace(/ UTC$|\+00$/, 'Z')) * 1000 : given;
  return known === other ? 0 : known < other ? -1 : 1;
}

function optionsOf(text: string): { readonly uri: string; readonly shape: FileFormat } {
  const options = Object.fromEntries(
    [...text.matchAll(/(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(true|false))/gi)].map((found) => [
      (found[1] ?? '').toLowerCase(),
      found[2]?.replace(/\\(.)/g, '$1') ?? found[3] ?? '',
    ]),
  );
  return {
    uri: options.uri ?? '',
    shape: {
      format: (options.format ?? 'CSV') as FileFormat['format'],
      compression: options.compression ?? 'NONE',
      header: options.header === 'true',
      delimiter: options.field_delimiter ?? ',',
      logicalTypes: options.use_avro_logical_types !== 'false',
    },
  };
}
