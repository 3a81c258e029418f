import type {
  ByteStream,
  Check,
  Facts,
  Item,
  ListOptions,
  RunContext,
  Source,
  SourceFailure,
} from '../../core/api/index.ts';

/** One of the things that the source can be asked for. */
export interface Mode {
  readonly location: string;
  list(options: ListOptions): AsyncIterable<Item>;
  last?(options: ListOptions): AsyncIterable<Item>;
  open(item: Item, options: Parameters<Source['open']>[1]): Promise<ByteStream>;
  finish?(options: Parameters<NonNullable<Source['finish']>>[0]): Promise<void>;
  failures?(): readonly SourceFailure[];
  facts(): Facts | undefined;
  check(signal: AbortSignal): Promise<readonly Check[]>;
  /** A process ends; what no one can go on with is ended too. */
  close(lasts: RunContext['lasts'], signal: AbortSignal): Promise<void>;
}
