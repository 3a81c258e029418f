import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, realpath, rename, rm, unlink } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import {
  BrokerError,
  type Content,
  defineSink,
  defineSource,
  encodeCrc32c,
  type Item,
  type ListOptions,
  type Refusal,
  type Sink,
  type Source,
  type StoredObject,
  systemErrorCode,
  type WriteOptions,
  type Written,
  z,
} from '../../core/api/index.ts';
import { pathRefusal, TEMPORARY } from './paths.ts';
import { lookAt, walk } from './walk.ts';

const CHUNK = 256 * 1024;
const CASTAGNOLI = 0x82f63b78;
const refSchema = z.object({ revision: z.string().optional(), refused: z.string().optional() });

class FileSource implements Source {
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

class FileSink implements Sink {
  readonly location: string;
  readonly #root: string;

  constructor(root: string) {
    this.location = `file://${root}/`;
    this.#root = root;
  }

  refuses(item: Item): Refusal | undefined {
    return pathRefusal(item.key);
  }

  async *list({ after, signal }: { signal: AbortSignal; after?: string }): AsyncGenerator<StoredObject> {
    await mkdir(this.#root, { recursive: true });
    for await (const found of walk(this.#root, after, signal)) {
      if (found.refused === undefined) yield stored(found);
    }
  }

  async stat(key: string): Promise<StoredObject | undefined> {
    const found = await lookAt(this.#root, key);
    return (
      found && { ...stored(found), checksums: { crc32c: await checksumOf(join(this.#root, key)) }, complete: true }
    );
  }

  async write(item: Item, content: Content, { signal, expected }: WriteOptions): Promise<Written> {
    const path = join(this.#root, item.key);
    try {
      await mkdir(dirname(path), { recursive: true });
      await this.#insideRoot(dirname(path));
      return await this.#replace(path, item, content, expected, signal);
    } catch (error) {
      throw fileFailure(error, path);
    }
  }

  async delete(object: StoredObject): Promise<void> {
    const path = join(this.#root, object.key);
    const now = await lookAt(this.#root, object.key);
    if (now?.revision !== object.revision) throw new BrokerError('conflict', `${path} was changed after it was listed`);
    await unlink(path);
  }

  /** Temporary file in the same folder, fsync, rename: a reader sees the old file or the new one. */
  async #replace(
    path: string,
    item: Item,
    content: Content,
    expected: WriteOptions['expected'],
    signal: AbortSignal,
  ): Promise<Written> {
    const temporary = join(dirname(path), `${randomUUID()}${TEMPORARY}`);
    try {
      const { size, crc32c } = await copy(temporary, content, signal);
      const now = await lookAt(this.#root, item.key);
      const unexpected =
        expected === 'absent' ? now !== undefined : expected !== undefined && now?.revision !== expected.revision;
      if (unexpected) throw new BrokerError('conflict', `${path} was changed after it was looked at`);
      await rename(temporary, path);
      return { location: `file://${path}`, size, checksums: { crc32c }, notes: lost(item) };
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** A link inside the folder must not lead a write out of it. */
  async #insideRoot(folder: string): Promise<void> {
    const [root, real] = await Promise.all([realpath(this.#root), realpath(folder)]);
    if (real === root || real.startsWith(root + sep)) return;
    throw new BrokerError('key_refused', `${folder} leads out of ${this.#root}`);
  }
}

async function copy(path: string, content: Content, signal: AbortSignal): Promise<{ size: number; crc32c: string }> {
  await using file = await open(path, 'wx');
  const stream = await content.open();
  let size = 0;
  for await (const chunk of stream) {
    signal.throwIfAborted();
    for (let at = 0; at < chunk.byteLength; ) at += (await file.write(chunk, at)).bytesWritten;
    size += chunk.byteLength;
  }
  await file.sync();
  return { size, crc32c: stream.crc32c() };
}

/** A folder keeps no checksums, so a file that must be compared is read. */
async function checksumOf(path: string): Promise<string> {
  const { createCRC32 } = await import('hash-wasm');
  const hasher = await createCRC32(CASTAGNOLI);
  hasher.init();
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK })) hasher.update(chunk as Buffer);
  return encodeCrc32c(Number.parseInt(hasher.digest('hex'), 16));
}

const lost = (item: Item): string[] =>
  item.headers !== undefined || item.metadata !== undefined ? ['a file keeps no content headers or metadata'] : [];

const stored = ({
  key,
  size,
  modifiedMs,
  revision,
}: {
  key: string;
  size: number;
  modifiedMs: number;
  revision: string;
}): StoredObject => ({
  key,
  size,
  revision,
  modifiedAt: new Date(modifiedMs).toISOString(),
});

function fileFailure(error: unknown, path: string): unknown {
  const code = systemErrorCode(error);
  if (error instanceof BrokerError || code === undefined) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') return new BrokerError('disk_full', `${path}: ${code}`);
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new BrokerError('permission_denied', `${path}: ${code}`);
  if (['EEXIST', 'ENOTDIR', 'EISDIR', 'ENOTEMPTY'].includes(code)) {
    return new BrokerError('key_refused', `${path}: a file and a folder would have the same name`);
  }
  return error;
}

const config = z.strictObject({
  path: z.string().min(1).describe('The folder, relative to the pipeline file.'),
});

export const fileSource = defineSource({
  name: 'file',
  summary: 'Files below a folder of this machine.',
  config,
  create: ({ path }, context) => new FileSource(resolve(context.baseDir, path)),
});

export const fileSink = defineSink({
  name: 'file',
  summary:
    'Files below a folder of this machine, each replaced whole. Files that may be unchanged are read to compare them.',
  config,
  create: ({ path }, context) => new FileSink(resolve(context.baseDir, path)),
});
