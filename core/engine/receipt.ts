import type { ErrorCode } from '../api/error-codes.ts';
import type { BrokerError } from '../api/errors.ts';
import type { Checksums } from '../api/item.ts';
import type { Action } from './plan.ts';

/** `skipped`: left out by a rule of the pipeline, though it may differ. */
export type Outcome = 'written' | 'unchanged' | 'skipped' | 'deleted' | 'refused' | 'failed';

/** What happened to one (item, sink) pair. Plain data. */
export interface Receipt {
  readonly outcome: Outcome;
  readonly key: string;
  /** The item's id at the source. */
  readonly id: string;
  readonly source: number;
  readonly sink: number;
  /** The key that it has in its source, where that is another. */
  readonly from?: string;
  readonly reason: string;
  readonly bytes: number;
  /** The steps that made it on its way: the checksum is that of what they made, and not the source's. */
  readonly made?: string;
  /** How often the transfer was tried. */
  readonly attempts: number;
  readonly durationMs: number;
  readonly location?: string;
  readonly checksums?: Checksums;
  readonly version?: string;
  readonly notes?: readonly string[];
  /** It was proved in every sink, and then deleted in its source. */
  readonly moved?: true;
  readonly failure?: ReceiptFailure;
}

export interface ReceiptFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
  readonly id?: string;
}

/** What a report shows of an error. */
export const failureOf = ({ code, message, hint, id }: BrokerError): ReceiptFailure => ({
  code,
  message,
  hint,
  ...(id === undefined ? {} : { id }),
});

/** The key in the source, for people: of what is put beside an item it is that of the item. */
const sourceName = (from: string): string => from.split('\0', 1)[0] ?? from;

/** The receipt of an action that needs no transfer. */
export function receiptOf(action: Action): Receipt {
  const { item, source, sink, reason, from } = action;
  const named = {
    key: item.key,
    id: item.id,
    source,
    sink,
    reason,
    ...(from === undefined ? {} : { from: sourceName(from) }),
  };
  const made = item.made === undefined ? {} : { made: item.made.by };
  const base = { ...named, ...made, bytes: 0, attempts: 0, durationMs: 0 };
  if (action.action !== 'refuse') return { ...base, outcome: action.left === true ? 'skipped' : 'unchanged' };
  const failure = { code: action.code ?? 'internal', message: reason, hint: action.hint ?? '' };
  return { ...base, outcome: 'refused', failure };
}
