import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { z } from 'zod';
import { BrokerError, systemErrorCode } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import { defineState } from '../api/plugin.ts';
import { pause } from '../api/retry.ts';
import type { Revision, Saved, StateStore } from '../api/state.ts';

const LOCK_TRIES = 100;
const LOCK_PAUSE_MS = 20;
/** A lock this old was left by a process that died: holding one takes milliseconds. */
const LOCK_STALE_MS = 30_000;
/** One that names nobody: its process died between making it and writing to it, which takes microseconds. */
const LOCK_UNNAMED_MS = 1000;

/** One file for each key. Replaced whole (temporary file, fsync, rename), so a crash leaves the old or the new. */
export class FileState implements StateStore {
  readonly location: string;
  readonly #folder: string;
  readonly #now: () => number;

  constructor(folder: string, now: () => number = Date.now) {
    this.#folder = folder;
    this.location = `file://${folder}/`;
    this.#now = now;
  }

  async load(key: string): Promise<Saved | undefined> {
    let text: string;
    try {
      text = await readFile(this.#path(key), 'utf8');
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined;
      throw unreadable(this.#path(key), systemErrorCode(error) ?? 'it cannot be read');
    }
    try {
      const { savedBy, value } = envelope.parse(JSON.parse(text));
      return { value, revision: savedBy as Revision };
    } catch {
      throw unreadable(this.#path(key), 'it is not JSON; it may have been cut off');
    }
  }

  save(
    key: string,
    value: JsonValue,
    expected: Revision | undefined,
    options: { signal: AbortSignal },
  ): Promise<Revision> {
    const revision = randomUUID() as Revision;
    return this.#locked(key, expected, options.signal, async () => {
      const temporary = `${this.#path(key)}.${randomUUID()}.tmp`;
      try {
        await using handle = await open(temporary, 'wx', 0o600);
        await handle.writeFile(`${JSON.stringify({ savedBy: revision, value })}\n`);
        await handle.sync();
        await rename(temporary, this.#path(key));
      } catch (error) {
        await rm(temporary, { force: true });
        const code = systemErrorCode(error) ?? '';
        throw FULL.has(code) ? full(this.#path(key), code) : error;
      }
      return revision;
    });
  }

  async delete(key: string, expected: Revision, options: { signal: AbortSignal }): Promise<void> {
    await this.#locked(key, expected, options.signal, () => rm(this.#path(key)));
  }

  async reset(key: string, { signal }: { signal: AbortSignal }): Promise<void> {
    await this.#alone(key, signal, () => rm(this.#path(key), { force: true }));
  }

  #locked<T>(key: string, expected: Revision | undefined, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
    return this.#alone(key, signal, async () => {
      const found = await this.load(key);
      if (found?.revision !== expected) {
        throw new BrokerError('state_conflict', `${this.#path(key)} was saved by another run`);
      }
      return act();
    });
  }

  /** Compare and act are one step for every process: the lock is a file that only one of them can create. */
  async #alone<T>(key: string, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const lock = `${this.#path(key)}.lock`;
    // Its process is named, so that others see when it is dead.
    const owner = `${hostname()} ${process.pid} ${randomUUID()}`;
    for (let attempt = 1; !(await this.#acquire(lock, owner)); attempt++) {
      if (attempt >= LOCK_TRIES) throw new BrokerError('state_conflict', `${lock} is held by another run`);
      await pause(LOCK_PAUSE_MS, signal);
    }
    try {
      return await act();
    } finally {
      // Not ours any more when it was taken over for being stale.
      if ((await contentOf(lock)) === owner) await rm(lock, { force: true });
    }
  }

  async #acquire(lock: string, owner: string): Promise<boolean> {
    try {
      await writeFile(lock, owner, { flag: 'wx', mode: 0o600 });
      return true;
    } catch (error) {
      const code = systemErrorCode(error) ?? 'it cannot be created';
      if (code !== 'EEXIST') {
        // Made, and not written: nobody holds it.
        if (FULL.has(code)) await rm(lock, { force: true });
        throw FULL.has(code) ? full(lock, code) : unreadable(lock, code);
      }
    }
    const holder = await contentOf(lock);
    const touched = (await stat(lock).catch(() => undefined))?.mtimeMs ?? this.#now();
    const staleAfter = isDead(holder) ? 0 : holder === '' ? LOCK_UNNAMED_MS : LOCK_STALE_MS;
    if (this.#now() - touched > staleAfter) await removeStale(lock, holder);
    return false;
  }

  #path(key: string): string {
    return join(this.#folder, `${encodeURIComponent(key)}.json`);
  }
}

/** Each save has its own revision, though it may save the same value. */
const envelope = z.strictObject({ savedBy: z.string(), value: z.json() });

/** Whether a lock was left by a process of this very machine that is no more. */
function isDead(holder: string | undefined): boolean {
  const [host, pid] = holder?.split(' ') ?? [];
  if (host !== hostname() || pid === undefined || !/^\d+$/.test(pid)) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return systemErrorCode(error) === 'ESRCH';
  }
}

const contentOf = (path: string): Promise<string | undefined> => readFile(path, 'utf8').catch(() => undefined);

/** Moves the lock aside first: of several processes only one gets it, and a fresh lock is put back. */
async function removeStale(lock: string, holder: string | undefined): Promise<void> {
  const aside = `${lock}.${randomUUID()}`;
  try {
    await rename(lock, aside);
  } catch {
    return; // another process was faster
  }
  if ((await contentOf(aside)) !== holder) await link(aside, lock).catch(() => undefined);
  await rm(aside, { force: true });
}

const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);
const full = (path: string, code: string): BrokerError => new BrokerError('state_full', `${path}: ${code}`);

const unreadable = (path: string, why: string): BrokerError => new BrokerError('state_unreadable', `${path}: ${why}`);

export const fileState = defineState({
  name: 'file',
  summary: 'Keeps the checkpoint in a folder of this machine, so a stopped or killed run goes on where it was.',
  stability: 'stable',
  lasts: 'machine',
  config: z.strictObject({
    path: z.string().min(1).describe('The folder, relative to the pipeline file. Made when missing.'),
  }),
  create: ({ path }, { baseDir, now }) => new FileState(resolve(baseDir, path), now),
});
