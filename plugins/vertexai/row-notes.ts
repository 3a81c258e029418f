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

const schema = z.strictObject({
  version: z.literal(1),
  what: z.string(),
  run: z.string(),
  /** RFC 3339. */
  startedAt: z.string(),
  /** The version of the file of rows. */
  input: z.string().exactOptional(),
  /** Rows that failed, by the number of their file. */
  failed: z.record(z.string(), z.array(failedRow)),
  /** All that was paid for, also for what had to be asked again. */
  spent: z.record(z.string(), count),
  /** Files up to this time belong to this run; RFC 3339. */
  upTo: z.string().exactOptional(),
  /** Files up to this time were carried by complete runs; RFC 3339. */
  seen: z.string().exactOptional(),
});
export type RowNotes = z.output<typeof schema>;

export const readRowNotes = (run: RunContext, signal: AbortSignal): Promise<RowNotes | undefined> =>
  readNotes(schema, run, signal);
