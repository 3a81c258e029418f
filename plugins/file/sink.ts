import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, mkdir, open, realpath, rename, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import {
  BrokerError,
  type ByteStream,
  type Content,
  encodeCrc32c,
  type Item,
  type Refusal,
  type Sink,
  type StoredObject,
  systemErrorCode,
  type WriteOptions,
  type Written,
} from '../../core/api/index.ts';
import { pathRefusal, TEMPORARY } from './paths.ts';
import { lookAt, walk } from './walk.ts';

const CHUNK = 256 * 1024;

/** Files below a folder, each replaced whole. */
export class FileSink implements Sink {
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
    await this.#makeRoot();
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
      const refused = pathRefusal(item.key);
      if (refused !== undefined) throw new BrokerError(refused.code, refused.message);
      await this.#makeRoot();
      await this.#makeFolder(dirname(item.key));
      return await this.#replace(path, item, content, expected, signal);
    } catch (error) {
      throw fileFailure(error, path);
    }
  }

  async read(object: StoredObject): Promise<ByteStream> {
    const now = await lookAt(this.#root, object.key);
    const path = join(this.#root, object.key);
    if (now?.revision !== object.revision) throw new BrokerError('conflict', `${path} was changed after it was listed`);
    return createReadStream(path, { highWaterMark: CHUNK });
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
      if (now?.folder === true) throw new BrokerError('key_refused', `${path}: a folder has this name`);
      const unexpected =
        expected === 'absent' ? now !== undefined : expected !== undefined && now?.revision !== expected.revision;
      if (unexpected) throw new BrokerError('conflict', `${path} was changed after it was looked at`);
      await (expected === 'absent' ? create(temporary, path) : rename(temporary, path));
      return { location: `file://${path}`, size, checksums: { crc32c }, notes: lost(item) };
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** Made when it is missing, but not its parents: a typing error in a path should not build a tree. */
  async #makeRoot(): Promise<void> {
    try {
      await mkdir(this.#root);
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === 'EEXIST' && (await stat(this.#root)).isDirectory()) return;
      const why = code === 'EEXIST' ? 'it is a file' : code === 'ENOENT' ? 'its parent folder does not exist' : code;
      throw new BrokerError('bucket_missing', `the folder ${this.#root} cannot be made: ${why}`, {
        hint: `Correct path, or make the folder ${this.#root}.`,
      });
    }
  }

  /** Folder by folder, so that none is made behind a link that leads out. */
  async #makeFolder(below: string): Promise<void> {
    let folder = this.#root;
    for (const part of below === '.' ? [] : below.split('/')) {
      folder = join(folder, part);
      await mkdir(folder).catch((error: unknown) => {
        if (systemErrorCode(error) !== 'EEXIST') throw error;
      });
      await this.#insideRoot(folder);
    }
  }

  async #insideRoot(folder: string): Promise<void> {
    const [root, real] = await Promise.all([realpath(this.#root), realpath(folder)]);
    if (real === root || real.startsWith(root + sep)) return;
    throw new BrokerError('key_refused', `${folder} leads out of ${this.#root}`);
  }
}

/** Where there must be nothing: of two at once one is refused. File systems without links have the look before alone. */
async function create(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
    await rm(temporary, { force: true });
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'EEXIST') throw new BrokerError('conflict', `${path} was changed after it was looked at`);
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS') throw error;
    await rename(temporary, path);
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
  const hasher = await (await import('./hasher.ts')).newHasher();
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
  if (['ENOENT', 'ENAMETOOLONG', 'ELOOP'].includes(code)) return new BrokerError('bucket_missing', `${path}: ${code}`);
  if (['EEXIST', 'ENOTDIR', 'EISDIR', 'ENOTEMPTY'].includes(code)) {
    return new BrokerError('key_refused', `${path}: a file and a folder would have the same name`);
  }
  return error;
}
