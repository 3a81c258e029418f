import { hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { BrokerError } from '../api/errors.ts';
import type { Sink } from '../api/sink.ts';
import { appliedPlan, type PlanFile, planHeaderOf } from '../engine/apply.ts';
import { RECEIPTS } from '../engine/ledger.ts';
import type { RunOptions } from '../engine/run-options.ts';
import type { Environment } from '../pipeline/interpolate.ts';
import { fileReason } from '../pipeline/read-file.ts';
import type { JobFactory, OpenJob } from '../runtime/job.ts';
import { processRuntime } from '../runtime/process.ts';
import type { Output } from './output.ts';
import { carryCommand, loggerFor, type RunFlags } from './run.ts';

export interface ApplyFlags extends RunFlags {
  readonly pipeline?: string;
}

/** `isthmus apply`: carries out a plan that was saved, or what a run could not carry. */
export async function applyCommand(
  plan: string,
  flags: ApplyFlags,
  jobs: JobFactory,
  environment: Environment,
  output: Output,
): Promise<number> {
  const log = loggerFor(flags, output);
  using runtime = processRuntime(log);
  const isUrl = /^[a-z0-9]+:\/\//.test(plan);
  const local = isUrl ? undefined : await localFiles(plan);
  const pipeline = flags.pipeline ?? (local && (await pipelineOf(plan, local, runtime.signal)));
  if (pipeline === undefined)
    throw new BrokerError(
      'invalid_config',
      `${plan} does not say of which pipeline it is, or that is not where it was`,
      {
        hint: 'Name the pipeline file: --pipeline FILE.',
      },
    );
  const parts = { jobs, environment, output, runtime };
  return await carryCommand(pipeline, flags, parts, async (open): Promise<Partial<RunOptions>> => {
    const files = local ?? (await deadLetters(plan, open, runtime.signal));
    const { job } = open;
    const name = hash('sha256', JSON.stringify([plan, files.map((file) => file.name)]));
    return { made: appliedPlan(`apply ${name}`, job, files) };
  });
}

/** Receipts may lie beside dead letters. */
const isPlan = (name: string): boolean => name.endsWith('.jsonl') && !name.endsWith(RECEIPTS);

async function localFiles(path: string): Promise<PlanFile[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [localFile(path)];
    const names = (await readdir(path, { recursive: true })).filter(isPlan).sort();
    if (names.length > 0) return names.map((name) => localFile(join(path, name)));
  } catch (error) {
    throw new BrokerError('invalid_config', `${path}: ${fileReason(error)}`, {
      hint: 'Name a plan, or a folder of dead letters.',
    });
  }
  throw new BrokerError('invalid_config', `${path} holds no file that ends in .jsonl`, {
    hint: 'Name another folder.',
  });
}

const localFile = (path: string): PlanFile => ({
  name: path,
  open: async () => createReadStream(path, { highWaterMark: 2 ** 18 }),
});

/** As it stands in the plan, from its folder on. */
async function pipelineOf(
  plan: string,
  [first]: readonly PlanFile[],
  signal: AbortSignal,
): Promise<string | undefined> {
  const header = first && (await planHeaderOf(first, signal));
  if (header?.file === undefined) return undefined;
  const path = resolve(dirname(plan), header.file);
  // A plan may have been brought here from elsewhere.
  return await stat(path).then(
    () => path,
    () => undefined,
  );
}

/** A file, or all files of a run, where the pipeline keeps what was not carried. */
async function deadLetters(url: string, { job }: OpenJob, signal: AbortSignal): Promise<PlanFile[]> {
  const sink = job.deadLetters;
  if (sink?.read === undefined || sink.stat === undefined || !url.startsWith(sink.location))
    throw new BrokerError('invalid_config', `${url} is not below deadLetters of the pipeline`, {
      hint: `Copy it to this machine, or name one below ${sink?.location ?? 'a place that deadLetters names'}.`,
    });
  const wanted = url.slice(sink.location.length);
  const keys: string[] = [];
  if (wanted.endsWith('.jsonl')) keys.push(wanted);
  else {
    const folder = wanted === '' || wanted.endsWith('/') ? wanted : `${wanted}/`;
    for await (const { key } of sink.list?.({ signal, ...(folder === '' ? {} : { after: folder }) }) ?? []) {
      if (!key.startsWith(folder)) break;
      if (isPlan(key)) keys.push(key);
    }
  }
  if (keys.length === 0) throw new BrokerError('invalid_config', `${url} is empty`, { hint: 'Name another run.' });
  return keys.map((key) => remoteFile(key, sink));
}

const remoteFile = (key: string, sink: Sink): PlanFile => ({
  name: sink.location + key,
  open: async (signal) => {
    const object = await sink.stat?.(key, { signal });
    if (object === undefined || sink.read === undefined)
      throw new BrokerError('invalid_config', `${sink.location}${key} does not exist`, { hint: 'Name another file.' });
    return sink.read(object, { signal });
  },
});
