import type { Facts, Item } from '../../core/api/index.ts';
import { hashOf } from './batch-notes.ts';
import { isErrors } from './failures.ts';
import { folderUrl, type Storage } from './storage.ts';

export interface FilesOptions {
  /** Below which the files come in the sink. */
  readonly folder: string;
  readonly copyErrors: boolean;
  /** Predictions are joined with their rows: what they will be is not known before. */
  readonly joined: boolean;
}

/** What a job wrote, as items; and how many files of errors are left where they are. */
export async function filesOf(
  storage: Storage,
  directory: string,
  { folder, copyErrors, joined }: FilesOptions,
  signal: AbortSignal,
): Promise<{ readonly items: readonly Item[]; readonly left: number }> {
  const found = await Array.fromAsync(storage.at(folderUrl(directory)).list('', signal));
  const isWanted = ({ key, size }: Item): boolean =>
    !key.endsWith('/') && (!isErrors(key) || (copyErrors && size !== 0));
  const left = copyErrors ? 0 : found.filter(({ key, size }) => isErrors(key) && size !== 0).length;
  const items = found.filter(isWanted).map((item): Item => {
    const key = `${folder}/${item.key}`;
    if (!joined || isErrors(item.key)) return { ...item, key, ref: { staged: item.ref } };
    const { size = 0, checksums: _, ...rest } = item;
    return { ...rest, key, ref: { staged: item.ref, joined: size } };
  });
  return { items, left };
}

/** What there is to know of a job, as an item of its own: its numbers, and its files with their checksums. */
export function jobItem(key: string, facts: Facts, directory: string, files: readonly Item[]): Item {
  const listed = files.map(({ key: file, size = null, checksums }) => ({
    key: file,
    bytes: size,
    crc32c: checksums?.crc32c ?? null,
  }));
  const text = `${JSON.stringify({ ...facts, directory, files: listed }, undefined, 2)}\n`;
  const headers = { contentType: 'application/json' };
  return { id: `job:${hashOf(text)}`, key, size: Buffer.byteLength(text), headers, ref: { text } };
}
