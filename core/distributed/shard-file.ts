import { hash } from 'node:crypto';
import { streamOf } from '../api/bytes.ts';
import { BrokerError } from '../api/errors.ts';
import { linesOf } from '../api/lines.ts';
import { grouped } from '../engine/apply.ts';
import type { Action } from '../engine/plan.ts';
import { isEnd, PlanReader } from '../engine/plan-file.ts';
import { layoutOf, type Phase } from './context.ts';
import type { Head } from './head.ts';
import type { Shard } from './manifest.ts';

/** No shard that was written is larger. */
const MOST_BYTES = 64 * 2 ** 20;

/**
 * The actions of a shard, those of one item together.
 *
 * @throws BrokerError `invalid_plan` unless it is what was written, `not_carried` when it is gone.
 */
export async function actionsIn(
  phase: Phase,
  { runId }: Head,
  { shard, items, sha256 }: Shard,
): Promise<AsyncGenerator<readonly Action[]>> {
  const key = layoutOf(phase, runId).shard(shard);
  const chunks: Buffer[] = [];
  let size = 0;
  // All of it, before anything of it is carried.
  for await (const chunk of await phase.files.stream(key, phase.runtime.signal)) {
    size += chunk.byteLength;
    if (size > MOST_BYTES) throw wrong(shard, 'it is too large');
    chunks.push(Buffer.from(chunk));
  }
  const text = Buffer.concat(chunks);
  if (hash('sha256', text) !== sha256) throw wrong(shard, 'it is not what was planned');
  const reader = new PlanReader(shard);
  return grouped(
    (async function* (): AsyncGenerator<Action> {
      let count = 0;
      for await (const { text: line, number } of linesOf(streamOf(text), { name: shard })) {
        if (number === 1) reader.header(line, number);
        else {
          const next = reader.next(line, number);
          if (!isEnd(next)) yield next;
          else if (next.end !== count) throw wrong(shard, `it holds ${count} actions, and says ${next.end}`);
          count++;
        }
      }
      if (count !== items + 1) throw wrong(shard, `it holds ${count - 1} actions, and the manifest says ${items}`);
    })(),
  );
}

const wrong = (shard: string, why: string): BrokerError =>
  new BrokerError('invalid_plan', `shard ${shard}: ${why}`, {
    hint: 'Start the state machine anew, without an input.',
  });
