import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  BrokerError,
  type Check,
  checked,
  type Item,
  type ListOptions,
  refusalOf,
  type Source,
  z,
} from '../../core/api/index.ts';
import { pathRefusal } from './paths.ts';
import { type FoundFile, lookAt, walk } from './walk.ts';

const CHUNK = 256 * 1024;
const refSchema = z.object({ name: z.string(), revision: z.string() });

/** The name of the file of an item. A plan or a dead letter may come from anywhere: it names nothing outside of the folder. */
function nameOf({ id, ref }: Item): string {
  const { name } = refSchema.parse(ref);
  const refused = pathRefusal(name);
  if (refused !== undefined) throw new BrokerError(refused.code, `${id}: ${refused.message}`);
  return name;
}

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
    for await (const found of walk(this.#root, after, signal))
      yield found.refused === undefined ? this.#item(found) : this.#refused(found.key, found.refused);
  }

  async stat(item: Item): Promise<Item | undefined> {
    const now = await lookAt(this.#root, nameOf(item));
    return now && this.#item(now);
  }

  async check({ signal }: { readonly signal: AbortSignal }): Promise<readonly Check[]> {
    const list = async (): Promise<string> => {
      for await (const _ of walk(this.#root, undefined, signal)) break;
      return this.location;
    };
    return [await checked('list', list)];
  }

  async remove(item: Item): Promise<void> {
    const now = await this.stat(item);
    if (now !== undefined && now.id !== item.id) throw changed(item);
    await rm(join(this.#root, nameOf(item)), { force: true });
  }

  async open(item: Item, { range, signal }: Parameters<Source['open']>[1]): ReturnType<Source['open']> {
    const problem = async (): Promise<BrokerError | undefined> => {
      const now = await this.stat(item);
      if (now === undefined) return new BrokerError('source_gone', `${item.id} was deleted after it was listed`);
      return now.id === item.id ? undefined : changed(item);
    };
    const found = await problem();
    if (found !== undefined) throw found;
    const path = join(this.#root, nameOf(item));
    return readFileRange(path, range?.start ?? 0, range?.end ?? item.size ?? 0, signal, problem);
  }

  #item({ key, size, modifiedMs, revision }: FoundFile): Item {
    const modifiedAt = new Date(modifiedMs).toISOString();
    return { id: `${this.location}${key}#${revision}`, key, size, modifiedAt, ref: { name: key, revision } };
  }

  #refused(key: string, why: string): Item {
    const error = new BrokerError('key_refused', `${this.location}${key} cannot be carried: ${why}`, {
      hint: 'Replace it by a regular file with a valid name, or move it out of the folder.',
    });
    return { id: `${this.location}${key}`, key, problem: refusalOf(error), ref: null };
  }
}

const changed = (item: Item): BrokerError =>
  new BrokerError('source_changed', `${item.id} was written to after it was listed`);

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
