import { randomUUID } from 'node:crypto';
import type { RunContext } from '../api/source.ts';
import { formatBytes, visible } from '../api/text.ts';
import { type Action, plan } from '../engine/plan.ts';
import { contextsOf, detailsOf } from '../engine/run.ts';
import type { JobFactory } from '../runtime/job.ts';
import { processRuntime } from '../runtime/process.ts';
import { detailLines, EXIT, type Output } from './output.ts';
import { loggerFor, type RunFlags } from './run.ts';

type Counts = Record<Action['action'], number>;

/** `isthmus plan`: what a run would do, with reasons and bytes; writes nothing. */
export async function planCommand(file: string, flags: RunFlags, jobs: JobFactory, output: Output): Promise<number> {
  const log = loggerFor(flags, output);
  using runtime = processRuntime(log);
  await using open = await jobs.open(file, { log, now: runtime.now });
  const { job } = open;
  open.credentials.warm();
  const signal = AbortSignal.any([runtime.signal, runtime.stop]);
  const counts: Counts = { create: 0, update: 0, skip: 0, refuse: 0 };
  let bytes = 0;
  const contexts = contextsOf(job, { runId: randomUUID(), purpose: 'plan', begins: async () => {} });
  const run = (source: number): RunContext => contexts[source] as RunContext;
  for await (const actions of plan({ ...job, run, signal })) {
    for (const action of actions) {
      counts[action.action]++;
      if (action.action === 'create' || action.action === 'update') bytes += action.item.size ?? 0;
      if (flags.json !== true)
        output.out(line(action, job.sinks.length > 1 ? (job.sinks[action.sink]?.location ?? '') : ''));
    }
  }
  const details = detailsOf(job.sources);
  if (flags.json === true) output.out(JSON.stringify({ pipeline: job.pipeline, actions: counts, bytes, ...details }));
  else {
    for (const one of detailLines(details.details)) output.out(one);
    output.out(
      `${counts.create} to create, ${counts.update} to update, ${counts.skip} unchanged, ${counts.refuse} refused; ${formatBytes(bytes)} to carry`,
    );
  }
  return counts.refuse > 0 ? EXIT.partial : EXIT.complete;
}

const line = ({ action, item, reason }: Action, sink: string): string => {
  const size = item.size === undefined ? '?' : formatBytes(item.size);
  const where = sink === '' ? '' : ` → ${visible(sink)}`;
  return `${action.padEnd(7)} ${size.padStart(10)}  ${visible(item.key)}${where}  (${visible(reason)})`;
};
