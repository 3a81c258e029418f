import { createHash } from 'node:crypto';
import { BrokerError, type JsonValue, type RunContext, z } from '../../core/api/index.ts';

const jobNotes = z.strictObject({
  /** Ours: it is in the label of the job, and in the folder that it writes to. */
  id: z.string(),
  /** The run that carries it. */
  run: z.string(),
  /** Jobs that failed have the numbers below. */
  attempt: z.number(),
  /** The failure of the job with this number is in a report already. */
  told: z.boolean().exactOptional(),
  /** Of a job of ours: below which place it writes, in the folder of the id. */
  output: z.strictObject({ bucket: z.string(), prefix: z.string() }).exactOptional(),
  /** Of the job, once it is known. */
  name: z.string().exactOptional(),
  /** `gs://…`: what it wrote. */
  directory: z.string().exactOptional(),
  /** Of its instances, where the job did not count them itself. */
  counts: z.strictObject({ successfulCount: z.number(), failedCount: z.number() }).exactOptional(),
  /** All that is left to do is to delete its files. */
  durable: z.literal(true).exactOptional(),
});
export type JobNotes = z.output<typeof jobNotes>;

const schema = z.strictObject({
  version: z.literal(1),
  /** Of what is asked for: another job means another. */
  what: z.string(),
  /** The run whose job is carried, and tidied up. */
  done: z.string().exactOptional(),
  job: jobNotes.exactOptional(),
});
export type BatchNotes = z.output<typeof schema>;

/** @throws BrokerError `state_unreadable`, but for a run that begins anew. */
export async function readNotes<Shape extends z.ZodType>(
  shape: Shape,
  run: RunContext,
  signal: AbortSignal,
): Promise<z.output<Shape> | undefined> {
  const kept = await run.notes.read({ signal });
  if (kept === undefined) return undefined;
  const parsed = shape.safeParse(kept);
  if (parsed.success) return parsed.data;
  if (run.reset) return undefined;
  throw new BrokerError('state_unreadable', 'the notes of the vertexai source have not the form of notes');
}

export const readBatchNotes = (run: RunContext, signal: AbortSignal): Promise<BatchNotes | undefined> =>
  readNotes(schema, run, signal);

export const writeNotes = (run: RunContext, notes: object, signal: AbortSignal): Promise<void> =>
  run.notes.write(notes as JsonValue, { signal });

export const hashOf = (value: unknown): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 32);
