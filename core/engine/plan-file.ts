import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../api/error-codes.ts';
import { BrokerError } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import type { Job } from './job.ts';
import type { Action } from './plan.ts';

/** The first line of a file of actions. `dead-letters`: what a run did not carry, to be looked at anew. */
export type PlanKind = 'plan' | 'dead-letters';

const VERSION = 1;

const header = z.object({
  isthmus: z.enum(['plan', 'dead-letters']),
  version: z.number(),
  pipeline: z.string(),
  /** Of the sources, the sinks and the rules: a plan is of no use to another pipeline. */
  fingerprint: z.string(),
  createdAt: z.string(),
  /** Of the pipeline, as it was named when the plan was made. */
  file: z.string().optional(),
  sources: z.array(z.string()),
  sinks: z.array(z.string()),
  /** Under which it was made: what it says would be something else under others. */
  rules: z.strictObject({ overwrite: z.string(), move: z.boolean() }),
});
export type PlanHeader = z.output<typeof header>;

const count = z.number().int().nonnegative();
const end = z.object({
  end: count,
  /** Of a plan that deletes: for each sink, how many objects are extra, and of how many. */
  extras: z.array(z.object({ found: count, of: count })).optional(),
});
export type PlanEnd = z.output<typeof end>;

const checksums = z.strictObject({ crc32c: z.string().exactOptional(), md5: z.string().exactOptional() });
const text = z.string().exactOptional();
const code = z.custom<ErrorCode>((value) => typeof value === 'string' && Object.hasOwn(ERROR_CODES, value));
const item = z.strictObject({
  id: z.string(),
  key: z.string(),
  size: count.exactOptional(),
  checksums: checksums.exactOptional(),
  modifiedAt: text,
  headers: z
    .strictObject({
      contentType: text,
      contentEncoding: text,
      cacheControl: text,
      contentDisposition: text,
      contentLanguage: text,
    })
    .exactOptional(),
  metadata: z.record(z.string(), z.string()).exactOptional(),
  storageClass: text,
  uncarried: z.array(z.string()).exactOptional(),
  problem: z.strictObject({ code, message: z.string(), hint: z.string() }).exactOptional(),
  whole: z.literal(true).exactOptional(),
  exact: z.literal(true).exactOptional(),
  made: z.strictObject({ by: z.string(), origin: z.string(), once: z.literal(true).exactOptional() }).exactOptional(),
  ref: z.json(),
});
const stored = z.strictObject({
  key: z.string(),
  size: count,
  checksums: checksums.exactOptional(),
  complete: z.boolean().exactOptional(),
  revision: text,
  modifiedAt: text,
  origin: text,
});
const action = z.object({
  action: z.enum(['create', 'update', 'skip', 'refuse', 'delete']),
  reason: z.string(),
  item,
  from: text,
  source: z.number().int().min(-1),
  sink: count,
  stored: stored.exactOptional(),
  looked: z.boolean(),
  unproved: z.literal(true).exactOptional(),
  left: z.literal(true).exactOptional(),
  code: code.exactOptional(),
  hint: text,
});

/** The rules that the lines of a plan take for granted, and that are not in its fingerprint. */
export const planRules = ({ overwrite = 'different', move = false }: Pick<Job, 'overwrite' | 'move'>) => ({
  overwrite,
  move,
});

export function planHeader(
  job: Pick<Job, 'pipeline' | 'fingerprint' | 'sources' | 'sinks' | 'overwrite' | 'move'>,
  kind: PlanKind,
  now: number,
) {
  const { pipeline, fingerprint } = job;
  const [sources, sinks] = [job.sources, job.sinks].map((all) => all.map(({ location }) => location));
  const createdAt = new Date(now).toISOString();
  return {
    isthmus: kind,
    version: VERSION,
    pipeline,
    fingerprint,
    createdAt,
    sources: sources ?? [],
    sinks: sinks ?? [],
    rules: planRules(job),
  };
}

/** An action is plain data; what JSON cannot hold is not in it. */
export const actionLine = (one: Action): { readonly [name: string]: JsonValue } =>
  one as unknown as { readonly [name: string]: JsonValue };

/** Reads the lines of a plan. Each method throws a BrokerError `invalid_plan` with the line when it is none. */
export class PlanReader {
  readonly #name: string;

  /** @param name of the file, for messages. */
  constructor(name: string) {
    this.#name = name;
  }

  header(line: string, number: number): PlanHeader {
    const value = this.#json(line, number);
    const { isthmus, version } = z.looseObject({}).catch({}).parse(value);
    if (isthmus === undefined) throw this.#wrong(number, 'a plan begins with a line {"isthmus":"plan",…}');
    if (typeof version === 'number' && version > VERSION)
      throw this.#wrong(number, `version ${version} is newer than this release (supports ${VERSION})`);
    return this.#parse(header, value, number);
  }

  /** The action of a line, or the end. */
  next(line: string, number: number): Action | PlanEnd {
    const value = this.#json(line, number);
    if (typeof value === 'object' && value !== null && Object.hasOwn(value, 'end'))
      return this.#parse(end, value, number);
    return this.#parse(action, value, number);
  }

  #json(line: string, number: number): unknown {
    try {
      return JSON.parse(line);
    } catch {
      throw this.#wrong(number, 'not JSON');
    }
  }

  #parse<Schema extends z.ZodType>(schema: Schema, value: unknown, number: number): z.output<Schema> {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw this.#wrong(number, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not a line of a plan'}`);
  }

  #wrong(number: number, why: string): BrokerError {
    return new BrokerError('invalid_plan', `${this.#name}:${number}: ${why}`);
  }
}

export const isEnd = (line: Action | PlanEnd): line is PlanEnd => 'end' in line;
