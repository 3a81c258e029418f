import { formatBytes, formatDuration, visible } from '../api/text.ts';
import { type PastRun, pastRuns } from '../engine/history.ts';
import type { JobFactory } from '../runtime/job.ts';
import { opened } from './opened.ts';
import { EXIT, type Output, table } from './output.ts';
import type { RunFlags } from './run.ts';

/** `isthmus history`: the last runs of a pipeline, as its state remembers them. */
export async function historyCommand(file: string, flags: RunFlags, jobs: JobFactory, output: Output): Promise<number> {
  await using looked = await opened(file, flags, jobs, output);
  const { job, signal } = looked;
  const { pipeline } = looked.open;
  const runs = await pastRuns(job.state, job.pipeline, signal);
  if (flags.json === true) output.out(JSON.stringify({ pipeline: job.pipeline, runs }));
  else if (pipeline.state === undefined) output.out('without `state` nothing is remembered');
  else if (runs.length === 0) output.out('no run has come to its end yet');
  else
    for (const line of table([['ENDED', 'OUTCOME', 'ITEMS', 'BYTES', 'TOOK', 'RUN'], ...runs.map(row)]))
      output.out(line);
  return EXIT.complete;
}

function row({ endedAt, outcome, runId, ...told }: PastRun): string[] {
  const {
    items = {},
    bytes = 0,
    durationMs = 0,
  } = told as {
    readonly items?: Readonly<Record<string, number>>;
    readonly bytes?: number;
    readonly durationMs?: number;
  };
  const counts = Object.entries(items).filter(([, count]) => count > 0);
  const shown = counts.map(([name, count]) => `${count} ${name}`).join(', ') || 'none';
  return [
    visible(endedAt),
    visible(outcome),
    visible(shown),
    formatBytes(bytes),
    formatDuration(durationMs),
    visible(runId),
  ];
}
