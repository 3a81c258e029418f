import { type RunContext, z } from '../../core/api/index.ts';
import { readNotes } from './batch-notes.ts';

const count = z.number().nonnegative();

const failedRow = z.strictObject({
  /** From 0, in the whole of the input. */
  row: count,
  /** Where it is in the file; absent for rows that are listed in the pipeline. */
  start: count.exactOptional(),
  end: count.exactOptional(),
  reason: z.string(),
});
export type FailedRow = z.output<typeof failedRow>;

const spent = z.record(z.string(), count);

const schema = z.strictObject({
  version: z.literal(1),
  what: z.string(),
  run: z.string(),
  /** RFC 3339. */
  startedAt: z.string(),
  /** Of the file of rows. */
  input: z.unknown().optional(),
  /** Rows that failed, by the number of their file. */
  failed: z.record(z.string(), z.array(failedRow)),
  /** By the number of the file: how many rows it has. */
  rows: z.record(z.string(), count),
  /** All that was paid for, also for what had to be asked again. */
  spent,
});
export type RowNotes = z.output<typeof schema>;

export const readRowNotes = (run: RunContext, signal: AbortSignal): Promise<RowNotes | undefined> =>
  readNotes(schema, run, signal);
