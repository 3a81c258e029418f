import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { BrokerError, systemErrorCode } from '../api/errors.ts';
import { visible } from '../api/text.ts';

const failure = z.looseObject({
  key: z.string().default(''),
  sink: z.string().optional(),
  code: z.string(),
  message: z.string(),
  hint: z.string().default(''),
  id: z.string().optional(),
});

/** A report, as `run --json` prints it and the history keeps it. */
const reportSchema = z.looseObject({
  pipeline: z.string(),
  runId: z.string(),
  outcome: z.enum(['complete', 'partial', 'failed', 'paused']),
  items: z.record(z.string(), z.number()),
  bytes: z.number(),
  durationMs: z.number(),
  failures: z.array(failure).default([]),
  failuresOmitted: z.number().optional(),
  error: failure.optional(),
  notes: z.record(z.string(), z.number()).optional(),
  details: z.array(z.looseObject({ source: z.string(), facts: z.record(z.string(), z.unknown()) })).optional(),
  receipts: z.looseObject({ location: z.string(), lines: z.number(), head: z.string().optional() }).optional(),
  endedAt: z.string().optional(),
});

/** A line about an item: of the log (`--log json`), or of receipts. */
const itemSchema = z.looseObject({
  time: z.string(),
  key: z.string(),
  outcome: z.string(),
  bytes: z.number().default(0),
  durationMs: z.number().default(0),
  attempts: z.number().default(0),
  runId: z.string().optional(),
  code: z.string().optional(),
  message: z.string().optional(),
  failure: failure.optional(),
});

const findingSchema = z.looseObject({
  verdict: z.enum(['pass', 'warn', 'fail', 'skip']),
  step: z.string(),
  detail: z.string(),
  about: z.string().optional(),
  fix: z.string().optional(),
  ms: z.number().optional(),
});

export type RunReport = z.output<typeof reportSchema>;
export type ItemLine = z.output<typeof itemSchema>;
export type ChainFinding = z.output<typeof findingSchema>;

/** All that a page is made of. */
export interface Inputs {
  readonly runs: RunReport[];
  readonly items: ItemLine[];
  /** What `isthmus doctor --json` has found. */
  readonly findings: ChainFinding[];
  /** Lines beyond this are not drawn: of so many a drawing shows nothing anyway. */
  itemsOmitted: number;
}

const MOST_ITEMS = 200_000;
const LARGEST = 512 * 2 ** 20;

/** Reads what the commands of Isthmus have printed: what a file is, it says itself. @throws BrokerError `invalid_config` */
export async function readInputs(files: readonly string[]): Promise<Inputs> {
  const inputs: Inputs = { runs: [], items: [], findings: [], itemsOmitted: 0 };
  for (const file of files) {
    const text = await textOf(file);
    const before = inputs.runs.length + inputs.items.length + inputs.findings.length;
    const whole = parsed(text);
    if (whole !== undefined && !isLine(whole)) document(whole, inputs);
    else {
      // Only the first line of a run names it.
      let runId: string | undefined;
      for (const line of text.split('\n')) if (line !== '') runId = lineOf(parsed(line), runId, inputs);
    }
    if (inputs.runs.length + inputs.items.length + inputs.findings.length === before)
      throw refused(file, 'it holds no report, log, receipts, history or findings of doctor');
  }
  // A run that is in the history, too, is one run: that one knows when it ended.
  const byId = new Map<string, RunReport>();
  for (const run of inputs.runs) {
    const before = byId.get(run.runId);
    // The history keeps the first failures only.
    const fuller = before !== undefined && before.failures.length > run.failures.length ? before : run;
    const { failuresOmitted: _, ...both } = { ...before, ...run, failures: fuller.failures };
    const { failuresOmitted } = fuller;
    byId.set(run.runId, { ...both, ...(failuresOmitted === undefined ? {} : { failuresOmitted }) });
  }
  inputs.runs.splice(0, inputs.runs.length, ...byId.values());
  inputs.runs.sort((one, other) => ((one.endedAt ?? '') < (other.endedAt ?? '') ? -1 : 1));
  return inputs;
}

/** One line alone, of a log of one line, is a document too. */
const isLine = (value: unknown): boolean => typeof value === 'object' && value !== null && 'event' in value;

function document(value: unknown, inputs: Inputs): void {
  const report = reportSchema.safeParse(value);
  if (report.success) return void inputs.runs.push(report.data);
  const { runs, findings } = (value ?? {}) as { readonly runs?: unknown; readonly findings?: unknown };
  // `history --json`, without the name in each.
  const { pipeline = '' } = (value ?? {}) as { readonly pipeline?: string };
  for (const run of Array.isArray(runs) ? runs : []) {
    const one = reportSchema.safeParse({ pipeline, ...(run as object) });
    if (one.success) inputs.runs.push(one.data);
  }
  for (const found of Array.isArray(findings) ? findings : Array.isArray(value) ? value : []) {
    const one = findingSchema.safeParse(found);
    if (one.success) inputs.findings.push(one.data);
  }
}

function lineOf(value: unknown, runId: string | undefined, inputs: Inputs): string | undefined {
  if (typeof value !== 'object' || value === null || 'intent' in value) return runId;
  if ('runId' in value && typeof value.runId === 'string' && !('outcome' in value)) return value.runId;
  const item = itemSchema.safeParse(runId === undefined ? value : { runId, ...value });
  if (item.success) {
    if (inputs.items.length < MOST_ITEMS) inputs.items.push(item.data);
    else inputs.itemsOmitted++;
    return runId;
  }
  const report = reportSchema.safeParse(value);
  if (report.success) inputs.runs.push(report.data);
  return runId;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function textOf(file: string): Promise<string> {
  try {
    const text = await readFile(file, 'utf8');
    if (text.length > LARGEST) throw refused(file, 'it is larger than 512 MiB');
    return text;
  } catch (error) {
    if (error instanceof BrokerError) throw error;
    throw refused(file, systemErrorCode(error) === 'ENOENT' ? 'it does not exist' : 'it cannot be read');
  }
}

const refused = (file: string, why: string): BrokerError =>
  new BrokerError('invalid_config', `${visible(file)}: ${why}`, {
    hint: 'Make one: isthmus run pipeline.yaml --json --log json > run.json 2> run.log',
  });
