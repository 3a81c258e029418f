import type { Check } from './check.ts';
import type { JsonValue } from './json.ts';
import type { Sink } from './sink.ts';

/** Names one saved value; changes with every save. */
export type Revision = string & { readonly __brand: 'Revision' };

export interface Saved {
  readonly value: JsonValue;
  readonly revision: Revision;
}

/**
 * Keeps what must outlive a process. Every save is compare-and-swap: of two writers that saw the same revision one
 * wins, and the other gets `state_conflict`. A saved value is durable when the promise resolves.
 */
export interface StateStore extends Partial<AsyncDisposable> {
  /** Where it keeps what it keeps, as sinks tell it; each key follows it. Absent where no sink could write. */
  readonly location?: string;
  /** For what is too large for a value, in the same place: the manifests and receipts of a distributed run. */
  readonly files?: Sink | undefined;
  /** @throws BrokerError `state_unreadable` when something is there that this store did not write whole. */
  load(key: string, options: { readonly signal: AbortSignal }): Promise<Saved | undefined>;
  /** @param expected the revision that was loaded, or undefined when nothing was there. */
  save(
    key: string,
    value: JsonValue,
    expected: Revision | undefined,
    options: { readonly signal: AbortSignal },
  ): Promise<Revision>;
  /** Removes whatever is there, also what `load` cannot read. */
  reset(key: string, options: { readonly signal: AbortSignal }): Promise<void>;
  delete(key: string, expected: Revision, options: { readonly signal: AbortSignal }): Promise<void>;
  /** For `doctor`: saves, loads and deletes something of its own; nothing is thrown, and nothing left. */
  check?(options: { readonly signal: AbortSignal }): Promise<readonly Check[]>;
}
