import type { ByteRange, ByteStream } from './bytes.ts';
import type { Check } from './check.ts';
import type { Estimate, Item, Refusal } from './item.ts';
import type { JsonValue } from './json.ts';

/** What a listing is for. A source whose listing costs money or starts a job answers `survey` with nothing. */
export type Purpose = 'run' | 'plan' | 'survey';

/**
 * What a source keeps from run to run, in the state of the pipeline: a bookmark, the job that it waits for. Without
 * `state` in the pipeline it lasts as long as the process.
 */
export interface Notes {
  /** What was written last; to be parsed, since an older release may have written it. */
  read(options: { readonly signal: AbortSignal }): Promise<JsonValue | undefined>;
  /** Durable when it resolves. @throws BrokerError `state_conflict` when another run wrote meanwhile. */
  write(value: JsonValue, options: { readonly signal: AbortSignal }): Promise<void>;
}

export interface RunContext {
  readonly pipeline: string;
  /** Survives pauses and retries. */
  readonly runId: string;
  readonly purpose: Purpose;
  readonly notes: Notes;
  /**
   * Call it, and wait for it, before beginning what outlives this process, such as a job: the run is on record then,
   * keeps its id whatever happens, and no second one begins beside it.
   */
  readonly begins: () => Promise<void>;
  /** Who finds the notes and the record of the run again: nobody after this process, this machine, or every process. */
  readonly lasts: 'process' | 'machine' | 'anywhere';
  /** Begin anew: what the notes say of progress is void; what they say of things to tidy up is not. */
  readonly reset: boolean;
}

/** A part of what a source holds: one key, or all keys that begin with a text. */
export type Selection = { readonly key: string } | { readonly prefix: string };

export interface ListOptions {
  readonly signal: AbortSignal;
  /** Only items whose key sorts after this one, in UTF-8 byte order. */
  readonly after?: string;
  /** Nothing else is wanted; what is listed besides costs time and is left out by the engine. */
  readonly only?: Selection;
  readonly run: RunContext;
}

export interface SourceFailure extends Refusal {
  /** For people: where it is, `part-000000000000.jsonl row 7`. */
  readonly key: string;
}

/** By name; shown to people and put into reports, so no secret, and nothing of an item's content. */
export type Facts = Readonly<Record<string, JsonValue>>;

export interface OpenOptions {
  readonly signal: AbortSignal;
  readonly range?: ByteRange;
  /** Memory that a stream which is pumped may use: the opener's, who touches it only when the stream has ended. */
  readonly scratch?: Buffer | undefined;
}

/**
 * Lists and reads. The engine makes one for a run, may call its methods concurrently, and disposes it at the end.
 * A source does not retry whole items, does not log per item and does not read the environment.
 */
export interface Source extends Partial<AsyncDisposable> {
  /** What it lists is made by each run, and lists nothing in a survey: there is nothing to compare a sink with. */
  readonly transient?: true;
  /** For people and reports: `gs://bucket/prefix`. */
  readonly location: string;
  /**
   * Lists lazily in UTF-8 byte order of the keys, each key once; asks for a page only when the engine wants more.
   * May throw a BrokerError `pending` while a job still runs: the run pauses.
   */
  list(options: ListOptions): AsyncIterable<Item>;
  /** Its items can be opened by any process, from what `ref` says: they need not be listed there first. */
  readonly portable?: boolean;
  /** Beginning a listing at `after` costs no more than at the start: a long one may be cut into ranges of keys. */
  readonly seeks?: boolean;
  /**
   * Opens the bytes of the very version that was listed, or fails with `source_changed` or `source_gone`. May be
   * called again and, where `ranges` is true, for ranges in parallel. A broken connection is resumed inside.
   */
  open(item: Item, options: OpenOptions): Promise<ByteStream>;
  readonly ranges?: boolean;
  /**
   * Whether an object with this key would be listed if it was there; by default any would. What is not selected is
   * never deleted in a sink for not being there. Touches no network.
   */
  selects?(key: string): boolean;
  /** The item as it is now: the same id while nobody has replaced it; undefined when it is gone. */
  stat?(item: Item, options: { readonly signal: AbortSignal }): Promise<Item | undefined>;
  /** Deletes exactly this version; one that is gone is no error. @throws BrokerError `source_changed` when it was replaced. */
  remove?(item: Item, options: { readonly signal: AbortSignal }): Promise<void>;
  /** What opening an item so often takes; touches no network. */
  estimate?(item: Item, reads: number): Estimate;
  /**
   * Items that are written only when every item of every source is in every sink: a manifest, a marker of success.
   * Listed in key order; a run that is stopped meanwhile lists them anew.
   */
  last?(options: ListOptions): AsyncIterable<Item>;
  /**
   * What of the contents of its items was not carried, asked for when all items are: rows that a model refused. Each is
   * a failure in the report, and the run is partial.
   */
  failures?(): readonly SourceFailure[];
  /** What there is to tell of a run or a plan besides its items: jobs, bytes billed, tokens. Goes to the report. */
  facts?(): Facts | undefined;
  /**
   * The key that the object at this URL (`gs://bucket/name`) has in this source, whether it exists or not; undefined
   * when it lies elsewhere. Without it a source takes no notifications of objects. Touches no network.
   */
  keyOf?(url: string): string | undefined;
  /** Proves access without reading data, for `doctor`: one finding for each thing that a run does; nothing is thrown. */
  check?(options: { readonly signal: AbortSignal }): Promise<readonly Check[]>;
  /**
   * Called after a run of the whole source, before it is off the record: delete staging, move bookmarks. A process that
   * dies meanwhile leaves the run on record: its next invocation lists, finds all in the sinks, and calls it again.
   */
  finish?(options: {
    readonly outcome: 'complete' | 'partial' | 'failed';
    readonly run: RunContext;
    readonly signal: AbortSignal;
  }): Promise<void>;
}
