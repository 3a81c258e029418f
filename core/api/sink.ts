import type { ByteStream, Content, MemoryBudget } from './bytes.ts';
import type { Check } from './check.ts';
import type { Estimate, Item, Refusal, StoredObject, Written } from './item.ts';
import type { JsonValue } from './json.ts';
import type { Pieces } from './pieces.ts';
import type { Slots } from './slots.ts';

export type { Refusal } from './item.ts';

/**
 * What the plan saw under the key. A sink that can makes its write conditional on it and answers a difference with
 * `conflict`; `undefined` means that nobody looked.
 */
export type Expected = 'absent' | StoredObject | undefined;

export interface WriteOptions {
  readonly signal: AbortSignal;
  readonly memory: MemoryBudget;
  /** For parts that are sent at once: the write itself has a slot, and takes more as they are free. */
  readonly slots?: Slots | undefined;
  readonly expected: Expected;
  /**
   * Call it, and wait for it, before beginning what a process that is killed would leave behind under the key, such as
   * a multipart upload: it is on record then, and `tidy` is called before the run goes on.
   */
  readonly begins?: (() => Promise<void>) | undefined;
  /** Present where another process finds what this one leaves. */
  readonly unfinished?: Unfinished | undefined;
}

/**
 * What a write has done so far, on record, so that another process goes on with it. A write that is stopped
 * (`signal`) may leave what it has told; one that fails for another reason leaves nothing.
 */
export interface Unfinished {
  /** What the process before has told last of a write to this key; to be parsed. What is not gone on with is ended. */
  readonly left: JsonValue | undefined;
  /** @param bytes that need not be sent again. */
  tell(left: JsonValue, bytes: number): void;
}

export interface TidyOptions {
  readonly signal: AbortSignal;
  /** When it was begun at the earliest; milliseconds since the epoch, by the clock of the process that died. */
  readonly since: number;
  /** What it has told of it (`Unfinished`), if it came to that. */
  readonly left?: JsonValue | undefined;
}

/**
 * Stores. The engine makes one for a run, may call its methods concurrently, and disposes it at the end.
 */
export interface Sink extends Partial<AsyncDisposable> {
  /** For people and reports: `s3://bucket/prefix`. */
  readonly location: string;
  /** Says by name, and without any request, that an item cannot be held exactly as it is. */
  refuses?(item: Item): Refusal | undefined;
  /** UTF-8 byte order of the keys, each once. Without `list` the engine asks `stat` key by key. */
  list?(options: { readonly signal: AbortSignal; readonly after?: string }): AsyncIterable<StoredObject>;
  /** All that is known of one object, its checksums included; undefined when there is none. */
  stat?(key: string, options: { readonly signal: AbortSignal }): Promise<StoredObject | undefined>;
  /**
   * All or nothing: a reader sees the old object or the new one, never half; a failed or aborted write leaves
   * neither an object nor an upload behind, and has tidied up when its promise settles.
   */
  write(item: Item, content: Content, options: WriteOptions): Promise<Written>;
  /** Present where several processes can write one item together. */
  readonly pieces?: Pieces | undefined;
  /** Reads exactly this revision, or answers `conflict`. */
  read?(object: StoredObject, options: { readonly signal: AbortSignal }): Promise<ByteStream>;
  /** What writing an item takes; touches no network. */
  estimate?(item: Item): Estimate;
  /** Removes what a write of this pipeline that was killed may have left under a key, and nothing else. */
  tidy?(key: string, options: TidyOptions): Promise<void>;
  /** Deletes exactly this revision, or answers `conflict`. */
  delete?(object: StoredObject, options: { readonly signal: AbortSignal }): Promise<void>;
  /**
   * Proves access by doing, for `doctor`: each thing that a run does, as one finding. What is missing is told, not
   * thrown, and nothing is left behind that a reader could see.
   */
  check?(options: { readonly signal: AbortSignal }): Promise<readonly Check[]>;
}
