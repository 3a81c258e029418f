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
}

/**
 * Walks a folder in UTF-8 byte order of the keys, one folder in memory at a time. Symbolic links and what is neither
 * file nor folder are not followed; `skipped` is told of them.
 */
export async function* walk(
  root: string,
  after: string | undefined,
  signal: AbortSignal,
  skipped: (key: string) => void,
): AsyncGenerator<FoundFile> {
  yield* folder(root, '', after, signal, skipped);
}

async function* folder(
  root: string,
  prefix: string,
  after: string | undefined,
  signal: AbortSignal,
  skipped: (key: string) => void,
): AsyncGenerator<FoundFile> {
  // "a/" sorts before "a0" but after "a-": folders take part in the order with their slash.
  const names: string[] = [];
  try {
    for await (const entry of await opendir(join(root, prefix))) {
      if (entry.name.endsWith(TEMPORARY)) continue;
      if (entry.isDirectory()) names.push(`${entry.name}/`);
      else if (entry.isFile()) names.push(entry.name);
      else skipped(prefix + entry.name);
    }
  } catch (error) {
    if (prefix !== '') throw new BrokerError('permission_denied', `${join(root, prefix)}: ${systemErrorCode(error)}`);
    throw new BrokerError('bucket_missing', `${root}: ${systemErrorCode(error)}`, {
      hint: `Correct path, or create the folder ${root}.`,
    });
  }
  for (const name of names.sort(compareKeys)) {
    signal.throwIfAborted();
    const key = prefix + name;
    if (name.endsWith('/')) {
      if (after === undefined || compareKeys(`${key}\u{10ffff}`, after) > 0)
        yield* folder(root, key, after, signal, skipped);
    } else if (after === undefined || compareKeys(key, after) > 0) {
      const found = await lookAt(root, key);
      if (found !== undefined) yield found;
    }
  }
}

/** The file under a key; undefined when there is none. */
export async function lookAt(root: string, key: string): Promise<FoundFile | undefined> {
  try {
    const { size, mtimeMs, mtimeNs, ino } = await stat(join(root, key), { bigint: true }).then((stats) => ({
      size: Number(stats.size),
      mtimeMs: Number(stats.mtimeMs),
      mtimeNs: stats.mtimeNs,
      ino: stats.ino,
    }));
    return { key, size, modifiedMs: mtimeMs, revision: `${ino}-${mtimeNs}-${size}` };
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw new BrokerError('permission_denied', `${join(root, key)}: ${systemErrorCode(error)}`);
  }
}
