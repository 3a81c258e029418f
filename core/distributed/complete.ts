import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Item, Written } from '../api/item.ts';
import type { Sink, WriteOptions } from '../api/sink.ts';
import type { Step } from '../engine/plan.ts';
import type { Receipt } from '../engine/receipt.ts';
import { type Report, Tally } from '../engine/report.ts';
import { run } from '../engine/run.ts';
import type { Phase } from './context.ts';
import { type AllDone, addDone, tellDone, whatBecame } from './done.ts';
import type { Head } from './head.ts';
import type { Shard } from './manifest.ts';
import { forgetUpload, largeItem, uploadOf } from './uploads.ts';

/** An item that was carried in pieces. */
export interface LargeItem {
  /** The first of its pieces. */
  readonly shard: Shard;
  readonly pieces: number;
  /** Of them. */
  readonly there: number;
}

/**
 * Makes items of their pieces as a run writes items: tried again, conditional on what the plan saw, with a receipt each.
 *
 * @param items those that were not made before.
 */
export async function completeItems(
  phase: Phase,
  head: Head,
  items: readonly LargeItem[],
  done: AllDone,
): Promise<Report> {
  const { runtime, observer, leaseMs, job } = phase;
  const places = new Map<string, LargeItem>();
  const made = {
    name: `complete ${head.runId} ${head.attempt}`,
    kind: 'saved' as const,
    folder: `${job.pipeline}/${head.runId}/large.${head.attempt}/`,
    async *steps(): AsyncGenerator<Step> {
      for (const large of items) {
        const action = await largeItem(phase, head, large.shard);
        places.set(placeOf(action.sink, action.item.id), large);
        yield { key: action.from ?? action.item.key, actions: [action] };
      }
    },
    async *deletes(): AsyncGenerator<Step> {},
  };
  const sinks = job.sinks.map((sink, number): Sink => {
    const write = async (item: Item, _: unknown, options: WriteOptions): Promise<Written> => {
      const large = places.get(placeOf(number, item.id));
      if (large === undefined) throw new BrokerError('internal', `${item.id} has no pieces`);
      return await complete(phase, head, { sink, item, large }, options);
    };
    return { location: sink.location, write };
  });
  const finished: { readonly receipt: Receipt; readonly large: LargeItem }[] = [];
  const report = await run(
    { ...job, sinks, deletes: undefined, missing: 'fail' },
    {
      runtime,
      made,
      leaseMs,
      observer: {
        ...observer,
        receipt: (receipt, action) => {
          observer.receipt?.(receipt, action);
          const large = places.get(placeOf(action.sink, action.item.id));
          if (receipt.outcome === 'written' && large !== undefined) finished.push({ receipt, large });
        },
      },
    },
  );
  // Their receipts are durable now.
  for (const { receipt, large } of finished) {
    const tally = new Tally();
    tally.add(receipt, undefined);
    const { shard } = large;
    addDone(done, shard.shard, await tellDone(phase, head, shard.shard, { outcome: 'complete', tally }));
    await forgetUpload(phase, head, shard);
  }
  return report;
}

interface Completion {
  readonly sink: Sink;
  readonly item: Item;
  readonly large: LargeItem;
}

async function complete(
  phase: Phase,
  head: Head,
  { sink, item, large: { shard, pieces, there } }: Completion,
  { signal, expected }: WriteOptions,
): Promise<Written> {
  const missing = (why: string): BrokerError => new BrokerError('not_carried', `${item.id}: ${why}`);
  // Another one that finishes the same run has made it meanwhile, as S3 has proved.
  const isMade = async (): Promise<boolean> => (await whatBecame(phase, head, shard.shard))?.outcome === 'complete';
  const made = (): Written => ({
    location: sink.location + item.key,
    size: item.size ?? 0,
    ...(item.checksums === undefined ? {} : { checksums: item.checksums }),
  });
  if (there < pieces) throw missing(`${there} of ${pieces} pieces are there`);
  const upload = await uploadOf(phase, head, shard);
  if (upload === undefined || sink.pieces === undefined) {
    if (await isMade()) return made();
    throw missing('nothing is on record of its pieces');
  }
  try {
    return await sink.pieces.complete(item, upload.begun, { signal, expected });
  } catch (thrown) {
    const error = asBrokerError(thrown);
    if (await isMade()) return made();
    if (error.code === 'conflict' || error.code === 'source_changed')
      throw new BrokerError(error.code, error.message, { hint: ANEW });
    if (error.code === 'truncated') throw missing(error.message);
    if (error.code !== 'checksum_mismatch') throw thrown;
    // What was sent is not what the source has: nothing of it is of any use.
    await sink.pieces.abandon(item, upload.begun, { signal });
    await forgetUpload(phase, head, shard);
    throw missing(error.message);
  }
}

const ANEW = 'Start the state machine without an input: it compares everything anew.';

const placeOf = (sink: number, id: string): string => `${sink} ${id}`;
