import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BrokerError, compareKeys, systemErrorCode } from '../../core/api/index.ts';
import { TEMPORARY } from './paths.ts';

export interface FoundFile {
  readonly key: string;
  readonly size: number;
  readonly modifiedMs: number;
  /** Changes when the file is replaced or written to. */
  readonly revision: string;
  /** Why it cannot be carried, of what is not a regular file. It is listed all the same: nothing is skipped silently. */
  readonly refused?: string;
  readonly folder?: boolean;
}

/** Walks a folder in UTF-8 byte order of the keys, one folder in memory at a time. Links are not followed. */
export async function* walk(root: string, after: string | undefined, signal: AbortSignal): AsyncGenerator<FoundFile> {
  yield* folder(root, '', after, signal);
}

interface Entry {
  /** Folders with a slash: "a/" sorts before "a0" but after "a-". */
  readonly name: string;
  readonly refused?: string;
}

async function* folder(
  root: string,
  prefix: string,
  after: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<FoundFile> {
  for (const { name, refused } of await entries(root, prefix)) {
    signal.throwIfAborted();
    const key = prefix + name;
    if (refused === undefined && name.endsWith('/')) {
      if (after === undefined || compareKeys(`${key}\u{10ffff}`, after) > 0) yield* folder(root, key, after, signal);
    } else if (after === undefined || compareKeys(key, after) > 0) {
      const found =
        refused === undefined ? await lookAt(root, key) : { key, size: 0, modifiedMs: 0, revision: '', refused };
      if (found !== undefined) yield found;
    }
  }
}

async function entries(root: string, prefix: string): Promise<Entry[]> {
  const found: Entry[] = [];
  try {
    // As bytes: a name that is not UTF-8 would otherwise become another name, which does not exist.
    for await (const entry of await opendir(join(root, prefix), { encoding: 'buffer' as BufferEncoding })) {
      const bytes = entry.name as unknown as Buffer;
      const name = bytes.toString('utf8');
      if (name.endsWith(TEMPORARY)) continue;
      if (!Buffer.from(name).equals(bytes)) found.push({ name, refused: 'its name is not valid UTF-8' });
      else if (entry.isDirectory()) found.push({ name: `${name}/` });
      else if (entry.isFile()) found.push({ name });
      else found.push({ name, refused: entry.isSymbolicLink() ? 'it is a symbolic link' : 'it is not a regular file' });
    }
  } catch (error) {
    if (prefix !== '') throw new BrokerError('permission_denied', `${join(root, prefix)}: ${systemErrorCode(error)}`);
    throw new BrokerError('bucket_missing', `${root}: ${systemErrorCode(error)}`, {
      hint: `Correct path, or create the folder ${root}.`,
    });
  }
  return found.sort((a, b) => compareKeys(a.name, b.name));
}

/** The file under a key; undefined when there is none. */
export async function lookAt(root: string, key: string): Promise<FoundFile | undefined> {
  try {
    const { size, mtimeMs, mtimeNs, ino, folder } = await stat(join(root, key), { bigint: true }).then((stats) => ({
      size: Number(stats.size),
      mtimeMs: Number(stats.mtimeMs),
      mtimeNs: stats.mtimeNs,
      ino: stats.ino,
      folder: stats.isDirectory(),
    }));
    return { key, size, modifiedMs: mtimeMs, revision: `${ino}-${mtimeNs}-${size}`, folder };
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw new BrokerError('permission_denied', `${join(root, key)}: ${systemErrorCode(error)}`);
  }
}
