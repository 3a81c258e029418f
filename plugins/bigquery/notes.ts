import { createHash } from 'node:crypto';
import { BrokerError, type JsonValue, type RunContext, z } from '../../core/api/index.ts';
import type { BigQueryConfig } from './config.ts';

const count = z.number().nonnegative();

export const parameterSchema = z.strictObject({ name: z.string(), type: z.string(), value: z.string() });
export type Parameter = z.output<typeof parameterSchema>;

const unitSchema = z.strictObject({
  /** What its keys begin with. */
  folder: z.string(),
  /** For people. */
  label: z.string(),
  engine: z.enum(['extract', 'export', 'rows']),
  /** The table, with its partition and the time that it is read as of; absent for a query. */
  table: z.strictObject({ project: z.string(), dataset: z.string(), table: z.string() }).exactOptional(),
  partition: z.string().exactOptional(),
  sql: z.string().exactOptional(),
  parameters: z.array(parameterSchema).exactOptional(),
  /** When the table was changed last, before the job; milliseconds since the epoch. */
  modified: count.exactOptional(),
  /** Jobs that failed have the numbers below. */
  attempt: count,
  /** The failure of the job with this number is in a report already. */
  told: z.boolean().exactOptional(),
  /** What the finished job says of itself. */
  result: z
    .strictObject({
      files: count.exactOptional(),
      rows: count.exactOptional(),
      bytesProcessed: count.exactOptional(),
      bytesBilled: count.exactOptional(),
    })
    .exactOptional(),
});
/** One job, or one reading of rows: a table, a partition, a query. */
export type Unit = z.output<typeof unitSchema>;

/** By the name of the table, when it or its newest partition was changed last; or the value of a column. */
const bookmarkSchema = z.union([
  z.strictObject({ column: z.string(), type: z.string(), until: z.string() }),
  z.strictObject({ changed: z.record(z.string(), count) }),
]);
export type Bookmark = z.output<typeof bookmarkSchema>;

const exportSchema = z.strictObject({
  id: z.string(),
  /** The run that began it. */
  run: z.string(),
  /** RFC 3339. */
  startedAt: z.string(),
  /** Of everything that makes its files what they are. */
  how: z.string(),
  location: z.string().exactOptional(),
  /** Where its files lie; absent where rows are read. */
  staging: z.strictObject({ bucket: z.string(), prefix: z.string() }).exactOptional(),
  /** Absent until it is known what there is to export. */
  units: z.array(unitSchema).exactOptional(),
  /** What the bookmark will be once all is durable. */
  until: bookmarkSchema.exactOptional(),
  /** All that is left to do is to delete its files. */
  durable: z.literal(true).exactOptional(),
});
export type Export = z.output<typeof exportSchema>;

const schema = z.strictObject({
  version: z.literal(1),
  /** Of what is exported: a bookmark in something else means nothing. */
  what: z.string(),
  bookmark: bookmarkSchema.exactOptional(),
  /** The run whose export is carried, and tidied up. */
  done: z.string().exactOptional(),
  export: exportSchema.exactOptional(),
});
export type BigQueryNotes = z.output<typeof schema>;

/** @throws BrokerError `state_unreadable`, but for a run that begins anew. */
export async function readNotes(run: RunContext, signal: AbortSignal): Promise<BigQueryNotes | undefined> {
  const kept = await run.notes.read({ signal });
  if (kept === undefined) return undefined;
  const parsed = schema.safeParse(kept);
  if (parsed.success) return parsed.data;
  if (run.reset) return undefined;
  throw new BrokerError('state_unreadable', 'the notes of the bigquery source have not the form of notes');
}

export const writeNotes = (run: RunContext, notes: BigQueryNotes, signal: AbortSignal): Promise<void> =>
  run.notes.write(notes as JsonValue, { signal });

const hash = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 32);

/** Of what is exported. */
export const whatHash = ({
  project,
  table,
  tables,
  query,
  parameters,
  partitions,
  incremental,
}: BigQueryConfig): string => {
  // A lag says how much is left for later, and not what.
  const { lag: _, ...by } = { lag: undefined, ...incremental };
  return hash([project, table, tables, query, parameters, partitions, by]);
};

/** Of everything that makes the files of an export what they are; how patient and generous one is does not. */
export function howHash(config: BigQueryConfig): string {
  const {
    identity: _,
    wait,
    labels,
    maxBytesBilled,
    priority,
    cache,
    jobTimeout,
    allowFiltered,
    staging,
    ...rest
  } = config;
  return hash([rest, staging?.bucket, staging?.prefix]);
}

/** Options that a paused run may be gone on with when they change. */
export const TUNING = [
  'wait',
  'labels',
  'maxBytesBilled',
  'priority',
  'cache',
  'jobTimeout',
  'allowFiltered',
  'staging.keep',
];

/** Of the text of a query, for the manifest. */
export const queryHash = (sql: string): string => createHash('sha256').update(sql).digest('hex');
