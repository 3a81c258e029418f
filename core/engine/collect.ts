import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Measured: half as often costs a tenth more memory, twice as often is not cheaper (docs/performance.md). */
const EVERY = 2 * 2 ** 20;

type Collect = (options: { readonly type: 'minor' }) => void;

let passed = 0;
let collect: Collect | undefined;

/**
 * To be told of bytes that passed through. V8 sees the small handles of their buffers and not the memory behind them,
 * and so lets dead ones pile up by the hundred; now and then the young generation is collected, which takes well under
 * a millisecond. It costs less than it saves: what is freed early is used again while it is still in the cache.
 */
export function bytesPassed(count: number): void {
  passed += count;
  if (passed < EVERY) return;
  passed = 0;
  collect ??= collector();
  collect({ type: 'minor' });
}

/** What `node --expose-gc` gives, without the flag. */
function collector(): Collect {
  setFlagsFromString('--expose-gc');
  const gc: unknown = runInNewContext('globalThis.gc');
  // Other contexts and workers of the process shall not have it.
  setFlagsFromString('--no-expose-gc');
  return typeof gc === 'function' ? (gc as Collect) : () => {};
}
