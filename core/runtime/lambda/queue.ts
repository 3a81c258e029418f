import { asBrokerError } from '../../api/errors.ts';
import type { Runtime } from '../../api/runtime.ts';
import { fixedSlots } from '../../engine/slots.ts';
import { forEachConcurrently } from '../../engine/workers.ts';
import type { Answer } from '../answer.ts';
import type { QueueRecord } from './events.ts';

/** Messages of one batch that are carried at once. */
const AT_ONCE = 8;

/** Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting */
export interface BatchAnswer {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[];
}

/**
 * Carries the messages of a batch and names those that SQS is to keep. Only what is done is taken off the queue: a
 * message that failed, or for which there was no time, comes again. Messages of one FIFO group keep their order, so
 * after the first that fails none of its group is carried.
 */
export async function carryQueue(
  records: readonly QueueRecord[],
  runtime: Runtime,
  carry: (record: QueueRecord) => Promise<readonly Answer[]>,
): Promise<BatchAnswer> {
  const failed = new Set<string>();
  const groups = Object.values(
    Object.groupBy(records, ({ group, id }) => (group === undefined ? `message ${id}` : `group ${group}`)),
  );
  await forEachConcurrently(sequence(groups), fixedSlots(AT_ONCE), async (group = []) => {
    for (const [index, record] of group.entries()) {
      if (!(await isDone(record, runtime, carry))) {
        for (const { id } of group.slice(index)) failed.add(id);
        return;
      }
    }
  });
  return { batchItemFailures: records.filter(({ id }) => failed.has(id)).map(({ id }) => ({ itemIdentifier: id })) };
}

async function isDone(
  record: QueueRecord,
  runtime: Runtime,
  carry: (record: QueueRecord) => Promise<readonly Answer[]>,
): Promise<boolean> {
  if (runtime.stop.aborted) return false;
  try {
    const answers = await carry(record);
    const wrong = answers.find(({ outcome }) => outcome !== 'complete' && outcome !== 'ignored');
    if (wrong === undefined) return true;
    runtime.log.warn('message failed', { messageId: record.id, outcome: wrong.outcome, message: wrong.message });
  } catch (thrown) {
    const { code, message } = asBrokerError(thrown);
    runtime.log.warn('message failed', { messageId: record.id, code, message });
  }
  return false;
}

async function* sequence<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}
