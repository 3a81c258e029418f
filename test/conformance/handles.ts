import process from 'node:process';
import { setImmediate } from 'node:timers/promises';

/** What keeps a process alive and is opened by plugins: sockets, servers, files, timers. */
const OPENED = /^(TCP|TLS|Pipe|FSReq|FSEvent|Timeout|Immediate|DNS|Worker|MessagePort|Process)/;

/** By kind, how many there are. */
export function openHandles(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo())
    if (OPENED.test(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

/** What there is more of than before, once what is being closed has had its turn; empty when nothing. */
export async function leftOpen(before: ReadonlyMap<string, number>): Promise<readonly string[]> {
  let left: string[] = [];
  // What was just begun shows after some turns, and what is being closed is gone after some. Who runs the tests has
  // timers of its own now and then, which are over soon; one that is left behind is not.
  for (let turn = 0; turn < (left.some((one) => !one.endsWith('Timeout')) ? 200 : MOST_TURNS); turn++) {
    left = [...openHandles()]
      .filter(([kind, count]) => !TRANSIENT.has(kind) && count > (before.get(kind) ?? 0))
      .map(([kind, count]) => `${count - (before.get(kind) ?? 0)} ${kind}`);
    if (left.length === 0 && turn >= 20) break;
    await setImmediate();
  }
  return left;
}

const MOST_TURNS = 100_000;
/** They come and go by themselves. */
const TRANSIENT = new Set(['Immediate']);
