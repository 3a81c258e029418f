import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { BrokerError, type Item, type ListOptions, type Source, z } from '../../core/api/index.ts';
import { lookAt, walk } from './walk.ts';

const CHUNK = 256 * 1024;
const refSchema = z.object({ revision: z.string().optional(), refused: z.string().optional() });

/** Files below a folder, each read as the one version that was listed. */
export class FileSource implements Source {
  readonly location: string;
  readonly ranges = true;
  readonly #root: string;

  constructor(root: string) {
    this.location = `file://${root}/`;
    this.#root = root;
  }

  async *list({ after, signal }: ListOptions): AsyncGenerator<Item> {
    for await (const { key, size, modifiedMs, revision, refused } of walk(this.#root, after, signal)) {
      const id = `${this.location}${key}#${revision}`;
      if (refused !== undefined) yield { id, key, ref: { refused } };
      else yield { id, key, size, modifiedAt: new Date(modifiedMs).toISOString(), ref: { revision } };
    }
  }

  async open(item: Item, { range, signal }: Parameters<Source['open']>[1]): ReturnType<Source['open']> {
    const { refused, revision = '' } = refSchema.parse(item.ref);
    if (refused !== undefined) {
      throw new BrokerError('key_refused', `${this.location}${item.key} cannot be carried: ${refused}`, {
        hint: 'Replace it by a regular file with a valid name, or move it out of the folder.',
      });
    }
    const changed = async (): Promise<BrokerError | undefined> => {
      const now = await lookAt(this.#root, item.key);
      if (now === undefined) return new BrokerError('source_gone', `${item.id} was deleted after it was listed`);
      if (now.revision === revision) return undefined;
      return new BrokerError('source_changed', `${item.id} was written to after it was listed`);
    };
    const problem = await changed();
    if (problem !== undefined) throw problem;
    return readFileRange(join(this.#root, item.key), range?.start ?? 0, range?.end ?? item.size ?? 0, signal, changed);
  }
}

/** Looks once more after the last byte: what was written to meanwhile would be a mix of two versions. */
async function* readFileRange(
  path: string,
  start: number,
  end: number,
  signal: AbortSignal,
  changed: () => Promise<BrokerError | undefined>,
): AsyncGenerator<Uint8Array> {
  if (start >= end) return;
  await using file = await open(path, 'r');
  for (let at = start; at < end; ) {
    signal.throwIfAborted();
    const { buffer, bytesRead } = await file.read({
      buffer: Buffer.allocUnsafe(Math.min(CHUNK, end - at)),
      position: at,
    });
    at += bytesRead;
    if (bytesRead === 0 || at >= end) {
      const problem = await changed();
      if (problem !== undefined) throw problem;
    }
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}
