import type { ByteRange, ByteStream } from './bytes.ts';
import type { Check } from './check.ts';
import type { Item } from './item.ts';

/** What a listing is for. A source whose listing costs money or starts a job answers `survey` with nothing. */
export type Purpose = 'run' | 'plan' | 'survey';

export interface RunContext {
  readonly pipeline: string;
  /** Survives pauses and retries. */
  readonly runId: string;
  readonly purpose: Purpose;
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

/**
 * Lists and reads. The engine makes one for a run, may call its methods concurrently, and disposes it at the end.
 * A source does not retry whole items, does not log per item and does not read the environment.
 */
export interface Source extends Partial<AsyncDisposable> {
  /** For people and reports: `gs://bucket/prefix`. */
  readonly location: string;
  /**
   * Lists lazily in UTF-8 byte order of the keys, each key once; asks for a page only when the engine wants more.
   * May throw a BrokerError `pending` while a job still runs: the run pauses.
   */
  list(options: ListOptions): AsyncIterable<Item>;
  /**
   * Opens the bytes of the very version that was listed, or fails with `source_changed` or `source_gone`. May be
   * called again and, where `ranges` is true, for ranges in parallel. A broken connection is resumed inside.
   */
  open(item: Item, options: { readonly signal: AbortSignal; readonly range?: ByteRange }): Promise<ByteStream>;
  readonly ranges?: boolean;
  /**
   * The key that the object at this URL (`gs://bucket/name`) has in this source, whether it exists or not; undefined
   * when it lies elsewhere. Without it a source takes no notifications of objects. Touches no network.
   */
  keyOf?(url: string): string | undefined;
  /** Proves access without reading data, for `doctor`: one finding for each thing that a run does; nothing is thrown. */
  check?(options: { readonly signal: AbortSignal }): Promise<readonly Check[]>;
  /** Called once after a run of the whole source whose data is durable: delete staging, move bookmarks. */
  finish?(options: {
    readonly outcome: 'complete' | 'partial' | 'failed';
    readonly run: RunContext;
    readonly signal: AbortSignal;
  }): Promise<void>;
}
