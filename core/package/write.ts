import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { BrokerError, systemErrorCode } from '../api/errors.ts';
import { visible } from '../api/text.ts';

/** What was written, so that an edited file is known. */
const RECORD = '.isthmus-package.json';

const recordSpec = z.object({
  /** Which file was packaged, and for what. */
  from: z.string().optional(),
  target: z.string().optional(),
  hashes: z.record(z.string(), z.string()).default({}),
});
type Record_ = z.output<typeof recordSpec>;

export interface Written {
  readonly path: string;
  readonly bytes: number;
  /** It had been edited: what it would be is in this file beside it. */
  readonly edited?: true;
}

const digest = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex');

/**
 * Writes files into a folder. What was built is replaced; a file for people that somebody has edited since is left as
 * it is, and its new form is written beside it as `NAME.new`.
 */
export async function writeFiles(
  folder: string,
  built: Readonly<Record<string, Uint8Array>>,
  forPeople: Readonly<Record<string, string>>,
  { from, target }: { readonly from: string; readonly target: string },
): Promise<{ readonly written: readonly Written[]; readonly before: Omit<Record_, 'hashes'> }> {
  const { hashes: record, ...before } = await readRecord(folder);
  const written: Written[] = [];
  for (const [name, content] of Object.entries(built)) written.push(await write(folder, name, content));
  for (const [name, text] of Object.entries(forPeople)) {
    const content = Buffer.from(text);
    const there = await readFile(join(folder, name)).catch(() => undefined);
    const edited = there !== undefined && digest(there) !== record[name] && !content.equals(there);
    if (edited) written.push({ ...(await write(folder, `${name}.new`, content)), edited });
    else {
      written.push(await write(folder, name, content));
      record[name] = digest(content);
    }
  }
  await write(folder, RECORD, Buffer.from(`${JSON.stringify({ from, target, hashes: record }, null, 2)}\n`));
  return { written, before };
}

async function readRecord(folder: string): Promise<Record_> {
  const text = await readFile(join(folder, RECORD), 'utf8').catch(() => '{}');
  try {
    return recordSpec.parse(JSON.parse(text));
  } catch {
    // Then every file counts as edited, and none is lost.
    return { hashes: {} };
  }
}

/** Step by step: where nobody can make a folder, as below /proc, Node's own `recursive` never comes back. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeFolder(dirname(path));
    await mkdir(path);
  }
}

async function write(folder: string, name: string, content: Uint8Array): Promise<Written> {
  const path = join(folder, name);
  try {
    await makeFolder(dirname(path));
    await writeFile(path, content);
  } catch (error) {
    throw new BrokerError('invalid_config', `${visible(path)}: ${systemErrorCode(error) ?? 'cannot be written'}`, {
      hint: 'Name another folder with --out.',
    });
  }
  return { path, bytes: content.byteLength };
}
