import { type MemoryBudget, streamOf } from '../api/bytes.ts';
import type { Item, Written } from '../api/item.ts';
import { type RetryPolicy, retry } from '../api/retry.ts';
import type { Expected, Sink } from '../api/sink.ts';
import { contentOf } from './content.ts';
import type { Crc32cPool } from './crc32c.ts';

export interface KeepOptions {
  readonly memory: MemoryBudget;
  readonly hashers: Crc32cPool;
  readonly retry: RetryPolicy;
  readonly signal: AbortSignal;
  /** By default whatever is there is replaced. */
  readonly expected?: Expected;
  readonly contentType?: string;
}

/** What is in memory, or comes from somewhere each time that it is asked for. */
export type Kept = Buffer | (() => AsyncIterable<Uint8Array>);

/** Writes one file of a sink: whole, or not at all. */
export async function keepFile(sink: Sink, key: string, what: Kept, options: KeepOptions): Promise<Written> {
  const { memory, hashers, signal, retry: policy, expected, contentType = 'application/x-ndjson' } = options;
  const size = Buffer.isBuffer(what) ? { size: what.length } : {};
  const item: Item = { id: key, key, ...size, headers: { contentType }, ref: null };
  const open = async () => (Buffer.isBuffer(what) ? streamOf(what) : what());
  const source = { location: '', ranges: true, async *list() {}, open };
  const write = async (): Promise<Written> => {
    const content = contentOf(source, item, { signal, hashers, onBytes: () => {} });
    // In one stream: a range of it would be the whole.
    return await sink.write(item, { ...content, ranges: false }, { signal, memory, expected });
  };
  return await retry(write, { policy, signal });
}
