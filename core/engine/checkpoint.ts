import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../api/error-codes.ts';
import { BrokerError } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import type { Revision, StateStore } from '../api/state.ts';
import { Tally } from './report.ts';

const VERSION = 1;
const count = z.number().int().nonnegative();

const failure = z.strictObject({
  key: z.string(),
  sink: z.string().exactOptional(),
  code: z.custom<ErrorCode>((value) => typeof value === 'string' && Object.hasOwn(ERROR_CODES, value)),
  message: z.string(),
  hint: z.string(),
  id: z.string().exactOptional(),
});

/** A `Tally` as it is saved. */
export const tallySpec = z.strictObject({
  items: z.strictObject({
    written: count,
    unchanged: count,
    skipped: count.default(0),
    deleted: count,
    refused: count,
    failed: count,
  }),
  bytes: count,
  moved: count.default(0),
  notes: z.record(z.string(), count).default({}),
  durationMs: z.number().nonnegative(),
  failures: z.array(failure),
  failuresOmitted: count,
});

const schema = z.strictObject({
  version: z.literal(VERSION),
  pipeline: z.string(),
  /** Of the sources and sinks: a cursor means nothing in another listing. */
  fingerprint: z.string(),
  runId: z.string(),
  /** Everything up to and including this key is finished. */
  cursor: z.string().exactOptional(),
  /**
   * Until when the run that saved it counts as under way, by its own clock, and for how long that was then; absent when
   * it was paused. Milliseconds since the epoch, and milliseconds.
   */
  alive: z.strictObject({ until: z.number(), lease: z.number() }).exactOptional(),
  /** The run was paused, and is to go on; one that failed waits for somebody to look at it. */
  paused: z.literal(true).exactOptional(),
  /** Writes under way that a killed process leaves something of: the sink, by place and location, the key, and since when. */
  begun: z
    .array(
      z.strictObject({
        sink: count,
        at: z.string().exactOptional(),
        key: z.string(),
        since: z.number(),
        left: z.json().exactOptional(),
        bytes: count.exactOptional(),
      }),
    )
    .exactOptional(),
  /** The hash of the last receipt that is durable. */
  receipts: z.string().exactOptional(),
  tally: tallySpec,
});

/** A write that was under way. */
export interface Begun {
  readonly sink: number;
  /** The location of the sink: the pipeline may have another there when the next process comes. */
  readonly at?: string;
  readonly key: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** What the sink has told of how far it is, and how many bytes that are. */
  readonly left?: JsonValue;
  readonly bytes?: number;
}

/** What a paused run needs to go on. */
export interface Checkpoint {
  readonly runId: string;
  readonly cursor: string | undefined;
  readonly begun: readonly Begun[];
  readonly alive: { readonly until: number; readonly lease: number } | undefined;
  readonly paused: boolean;
  readonly receipts?: string | undefined;
  readonly tally: Tally;
}

/** Keeps the checkpoint of one pipeline in a state store. */
export class CheckpointFile {
  readonly #store: StateStore;
  /** Where it is kept: the name of the pipeline, or that of a part of it. */
  readonly #place: string;
  readonly #pipeline: string;
  readonly #fingerprint: string;
  #revision: Revision | undefined;

  constructor(store: StateStore, place: string, pipeline: string, fingerprint: string) {
    this.#store = store;
    this.#place = place;
    this.#pipeline = pipeline;
    this.#fingerprint = fingerprint;
  }

  /**
   * @param single it is about one key: then there is nothing to lose by beginning anew when the pipeline was changed.
   * @throws BrokerError `state_unreadable` when it is not a checkpoint of this very pipeline: it is never guessed at.
   */
  async load(single: boolean, signal: AbortSignal): Promise<Checkpoint | undefined> {
    const saved = await this.#store.load(this.#place, { signal });
    if (saved === undefined) return undefined;
    this.#revision = saved.revision;
    const { version } = z.object({ version: z.number() }).catch({ version: 0 }).parse(saved.value);
    if (version > VERSION) throw unreadable(`it is of version ${version}, this release knows ${VERSION}`);
    const parsed = schema.safeParse(saved.value);
    if (!parsed.success) throw unreadable('it does not have the form of a checkpoint');
    if (parsed.data.pipeline !== this.#pipeline)
      throw unreadable(`it belongs to the pipeline "${parsed.data.pipeline}"`);
    const { runId, cursor, begun = [], alive, paused = false, receipts, tally } = parsed.data;
    const found = { runId, begun, alive, paused, receipts };
    if (single) return { ...found, cursor: undefined, tally: new Tally() };
    // Without a place in a listing there is nothing that would mean something else now.
    if (parsed.data.fingerprint !== this.#fingerprint && cursor !== undefined)
      throw unreadable('the source or the sink of the pipeline was changed since');
    return { ...found, cursor, tally: Object.assign(new Tally(), tally) };
  }

  async save({ runId, cursor, begun, alive, paused, receipts, tally }: Checkpoint, signal: AbortSignal): Promise<void> {
    const value = {
      version: VERSION,
      pipeline: this.#pipeline,
      fingerprint: this.#fingerprint,
      runId,
      ...(cursor === undefined ? {} : { cursor }),
      ...(alive === undefined ? {} : { alive: { ...alive } }),
      ...(paused ? { paused } : {}),
      ...(receipts === undefined ? {} : { receipts }),
      ...(begun.length === 0 ? {} : { begun: begun.map((one) => ({ ...one })) }),
      tally: tally.toJson(),
    };
    this.#revision = await this.#store.save(this.#place, value, this.#revision, { signal });
  }

  /** Forgets what is there, whatever it is. */
  async reset(signal: AbortSignal): Promise<void> {
    await this.#store.reset(this.#place, { signal });
    this.#revision = undefined;
  }

  /** A complete run starts over the next time: a cursor is a place in a listing, not a point in time. */
  async clear(signal: AbortSignal): Promise<void> {
    if (this.#revision !== undefined) await this.#store.delete(this.#place, this.#revision, { signal });
    this.#revision = undefined;
  }
}

const unreadable = (why: string): BrokerError =>
  new BrokerError('state_unreadable', `the saved checkpoint cannot be used: ${why}`);
