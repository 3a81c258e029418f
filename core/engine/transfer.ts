import type { Content, MemoryBudget } from '../api/bytes.ts';
import { asBrokerError, BrokerError } from '../api/errors.ts';
import type { Written } from '../api/item.ts';
import { type RetryPolicy, retry } from '../api/retry.ts';
import type { Logger } from '../api/runtime.ts';
import type { Expected, Sink, Unfinished } from '../api/sink.ts';
import type { Slots } from '../api/slots.ts';
import type { Source } from '../api/source.ts';
import type { Compare } from './compare.ts';
import { contentOf } from './content.ts';
import type { Crc32cPool } from './crc32c.ts';
import type { Action } from './plan.ts';
import { failureOf, type Receipt, receiptOf } from './receipt.ts';

export interface TransferOptions {
  readonly sources: readonly Source[];
  readonly sinks: readonly Sink[];
  readonly signal: AbortSignal;
  readonly memory: MemoryBudget;
  readonly slots: Slots;
  readonly hashers: Crc32cPool;
  readonly retry: RetryPolicy;
  readonly log: Logger;
  readonly missing?: 'fail' | 'skip';
  readonly compare: Compare;
  /** Carry the very version that the action names. */
  readonly exact: boolean;
  readonly now: () => number;
  readonly onBytes: (bytes: number) => void;
  readonly onRetry: (action: Action) => void;
  /** Puts on record that something is begun which a killed process would leave behind. */
  readonly onBegin: (sink: number, key: string) => Promise<void>;
  /** What a write may go on with, and where it tells how far it is; undefined where nobody would find it. */
  readonly unfinished: (sink: number, key: string) => Unfinished | undefined;
}

/**
 * Carries one action out and answers with its receipt; an item that fails is a receipt too.
 *
 * @throws BrokerError only for what ends or pauses the run.
 */
export async function transfer(action: Action, options: TransferOptions): Promise<Receipt> {
  if (action.action === 'skip' || action.action === 'refuse') return receiptOf(action);
  if (action.action === 'delete') return remove(action, options);
  const receipt = await carry(action, options);
  if (receipt.failure?.code === 'source_gone' && options.missing === 'skip') {
    const { failure, ...rest } = receipt;
    return { ...rest, outcome: 'skipped', reason: failure.message };
  }
  // By its time alone nobody would ever see that it was replaced while it was written.
  const unseen = options.compare === 'modified' && receipt.outcome === 'written';
  const newer = unseen || receipt.failure?.code === 'source_changed' ? await replaced(action, options) : undefined;
  if (newer === undefined) return receipt;
  options.log.info('the item was replaced after it was listed', { key: action.item.key, id: newer.item.id });
  if (!unseen) return carry(newer, options);
  try {
    const stored = await options.sinks[action.sink]?.stat?.(action.item.key, { signal: options.signal });
    return await carry(stored === undefined ? newer : { ...newer, stored, looked: true }, options);
  } catch (thrown) {
    const error = options.signal.aborted ? new BrokerError('stopped', 'the run was stopped') : asBrokerError(thrown);
    if (error.next === 'run' || error.next === 'wait') throw error;
    return { ...receipt, outcome: 'failed', failure: failureOf(error) };
  }
}

/** The action for what has taken the place of an item. Where its key hangs on its version, the next run must name it. */
async function replaced(action: Action, { sources, signal, exact }: TransferOptions): Promise<Action | undefined> {
  if (exact || action.from !== undefined || action.item.exact === true) return undefined;
  const now = await sources[action.source]?.stat?.(action.item, { signal }).catch(() => undefined);
  return now === undefined || now.id === action.item.id || now.problem !== undefined
    ? undefined
    : { ...action, item: now, reason: `${action.reason}; replaced by ${now.id}` };
}

async function carry(action: Action, options: TransferOptions): Promise<Receipt> {
  const source = options.sources[action.source];
  const sink = options.sinks[action.sink];
  if (source === undefined || sink === undefined)
    throw new BrokerError('internal', 'the action names no such endpoint');
  const started = options.now();
  let attempts = 0;
  const unfinished = options.unfinished(action.sink, action.item.key);
  const base = { ...receiptOf({ ...action, action: 'skip' }), durationMs: 0 };
  const closing = (): { attempts: number; durationMs: number } => ({
    attempts,
    durationMs: Math.max(0, options.now() - started),
  });
  try {
    const written = await retry(
      (attempt) => {
        attempts = attempt;
        // What was left is used up, or gone, with the first try.
        const left = attempt === 1 ? unfinished : unfinished && { ...unfinished, left: undefined };
        return write(source, sink, action, left, options);
      },
      { policy: options.retry, signal: options.signal, onRetry: logRetry(action, options) },
    );
    return { ...base, ...proof(written), ...closing(), outcome: 'written', bytes: written.size };
  } catch (thrown) {
    const error = options.signal.aborted ? new BrokerError('stopped', 'the run was stopped') : asBrokerError(thrown);
    if (error.next === 'run' || error.next === 'wait') throw error;
    const failure = failureOf(error);
    return { ...base, ...closing(), outcome: 'failed', failure };
  }
}

/** Deletes exactly what the plan saw. */
async function remove(action: Action, options: TransferOptions): Promise<Receipt> {
  const { sinks, signal, retry: policy } = options;
  const { stored, sink } = action;
  const base = receiptOf({ ...action, action: 'skip' });
  try {
    if (stored === undefined) throw new BrokerError('internal', 'it is not known what is to be deleted');
    await retry(async () => sinks[sink]?.delete?.(stored, { signal }), {
      policy,
      signal,
      onRetry: logRetry(action, options),
    });
    return { ...base, attempts: 1, outcome: 'deleted', location: action.item.id };
  } catch (thrown) {
    const error = signal.aborted ? new BrokerError('stopped', 'the run was stopped') : asBrokerError(thrown);
    if (error.next === 'run' || error.next === 'wait') throw error;
    return { ...base, outcome: 'failed', failure: failureOf(error) };
  }
}

const logRetry =
  (action: Action, { log, onRetry }: TransferOptions) =>
  (error: BrokerError, attempt: number, delayMs: number): void => {
    onRetry(action);
    log.info('retry', {
      key: action.item.key,
      code: error.code,
      message: error.message,
      attempt,
      delayMs: Math.round(delayMs),
    });
  };

async function write(
  source: Source,
  sink: Sink,
  action: Action,
  unfinished: Unfinished | undefined,
  options: TransferOptions,
): Promise<Written> {
  let delivered = 0;
  const content: Content = contentOf(source, action.item, {
    signal: options.signal,
    hashers: options.hashers,
    onBytes: (bytes) => {
      delivered += bytes;
      options.onBytes(bytes);
    },
  });
  try {
    const expected = expectation(action);
    const begins = (): Promise<void> => options.onBegin(action.sink, action.item.key);
    const { signal, memory, slots } = options;
    return await sink.write(action.item, content, { signal, memory, slots, expected, begins, unfinished });
  } catch (error) {
    // Bytes of a try that failed are not progress.
    options.onBytes(-delivered);
    throw error;
  }
}

const expectation = (action: Action): Expected => (action.looked ? (action.stored ?? 'absent') : undefined);

const proof = ({ location, checksums, version, notes }: Written) => ({
  location,
  ...(checksums === undefined ? {} : { checksums }),
  ...(version === undefined ? {} : { version }),
  ...(notes === undefined || notes.length === 0 ? {} : { notes }),
});
