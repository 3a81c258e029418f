import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BrokerError } from '../api/errors.ts';
import type { Sink } from '../api/sink.ts';
import type { PlanFile } from '../engine/apply.ts';
import type { Job } from '../engine/job.ts';
import { RECEIPTS } from '../engine/ledger.ts';
import { fileReason } from '../pipeline/read-file.ts';

export const isUrl = (plan: string): boolean => /^[a-z0-9]+:\/\//.test(plan);

/** Receipts may lie beside dead letters. */
const isPlan = (name: string): boolean => name.endsWith('.jsonl') && !name.endsWith(RECEIPTS);

export async function localFiles(path: string): Promise<PlanFile[]> {
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

/** A file, or all files of a folder, where the pipeline keeps what was not carried, or its state. */
export async function keptFiles(url: string, { deadLetters, state }: Job, signal: AbortSignal): Promise<PlanFile[]> {
  const places = [deadLetters, state.files].filter((one) => one !== undefined);
  const sink = places.find(({ read, stat: look, location }) => read && look && url.startsWith(location));
  if (sink === undefined)
    throw new BrokerError('invalid_config', `${url} is not below deadLetters or the state of the pipeline`, {
      hint: `Copy it to this machine, or name one below ${places.map(({ location }) => location).join(' or ') || 'a place that deadLetters names'}.`,
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
