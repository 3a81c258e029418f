import { asBrokerError, BrokerError } from '../api/errors.ts';
import { retry } from '../api/retry.ts';
import { contentOf } from '../engine/content.ts';
import { Crc32cPool } from '../engine/crc32c.ts';
import { FairMemoryBudget } from '../engine/memory.ts';
import { failureOf } from '../engine/receipt.ts';
import { type RunOutcome, Tally } from '../engine/report.ts';
import { AdaptiveSlots } from '../engine/slots.ts';
import type { Phase } from './context.ts';
import type { Head } from './head.ts';
import type { Shard } from './manifest.ts';
import { beginUpload, largeItem, piecesOf, type Upload } from './uploads.ts';

export interface CarriedPiece {
  readonly outcome: RunOutcome;
  /** Its failures only: the item counts when it is made of all its pieces. */
  readonly tally: Tally;
  /** Bytes of it that are there. */
  readonly bytes: number;
}

/** Carries one range of an item that several children carry. What was sent of it is not sent again. */
export async function carryPiece(
  phase: Phase,
  head: Head,
  shard: Shard,
  { start, end }: { readonly start: number; readonly end: number },
): Promise<CarriedPiece> {
  const { job, runtime, observer } = phase;
  const { signal } = runtime;
  const action = await largeItem(phase, head, shard);
  const { item } = action;
  const source = job.sources[action.source];
  if (source === undefined) throw new BrokerError('internal', 'the shard names no such source');
  const pieces = piecesOf(phase, action);
  const memory = new FairMemoryBudget(job.memory);
  const { throttled, adapts = false } = job;
  const slots = new AdaptiveSlots({
    most: job.concurrency,
    adapts,
    ...(throttled === undefined ? {} : { throttled }),
    now: () => performance.now(),
  });
  using _slot = await slots.take(signal);
  const content = contentOf(source, item, {
    signal,
    hashers: new Crc32cPool(),
    onBytes: (count) => {
      slots.passed(count);
      observer.bytes?.(count);
    },
  });
  let bytes = 0;
  const tell = (_: unknown, there: number): void => {
    bytes = there;
  };
  const unfinished = { left: undefined, tell };
  let gone: Upload | undefined;
  const write = async (): Promise<void> => {
    const upload = await beginUpload(phase, head, shard, action, gone);
    const options = { signal, memory, slots, expected: undefined, unfinished };
    await pieces.write(item, content, upload.begun, { start, end }, options).catch(async (thrown: unknown) => {
      if (asBrokerError(thrown).code !== 'superseded') throw thrown;
      // It was ended by somebody else: a lifecycle rule, perhaps. What was sent of the other pieces went with it.
      gone = upload;
      throw new BrokerError('write_conflict', `${item.id}: its upload is not there any more`);
    });
  };
  const tally = new Tally();
  try {
    await retry(write, {
      policy: job.retry,
      signal,
      onRetry: (error, tries) => {
        observer.retried?.(action);
        runtime.log.info('retry', { key: item.key, code: error.code, message: error.message, attempt: tries });
      },
    });
    return { outcome: 'complete', tally, bytes: end - start };
  } catch (thrown) {
    if (signal.aborted) return { outcome: 'paused', tally, bytes };
    const error = asBrokerError(thrown);
    if (error.next === 'run' || error.next === 'wait') throw error;
    tally.failures.push({ key: item.key, ...failureOf(error) });
    return { outcome: 'failed', tally, bytes };
  }
}
