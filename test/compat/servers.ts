import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

/** Third-party servers, pinned; built by the Go toolchain into an ignored folder. */
const SERVERS = {
  minio: 'github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c',
  'fake-gcs-server': 'github.com/fsouza/fake-gcs-server@v1.56.1',
} as const;

export type ServerName = keyof typeof SERVERS;

const root = join(import.meta.dirname, '../..');
const START_MS = 60_000;

/** Installs what is missing. @returns the path of each program. */
export function install(): Record<ServerName, string> {
  const paths = {} as Record<ServerName, string>;
  for (const [name, module] of Object.entries(SERVERS) as [ServerName, string][]) {
    const folder = join(root, '.compat', module.replace(/[^\w.-]+/g, '_'));
    paths[name] = join(folder, name);
    if (existsSync(paths[name])) continue;
    mkdirSync(folder, { recursive: true });
    process.stdout.write(`building ${module}\n`);
    const built = spawnSync('go', ['install', module], {
      env: { ...process.env, GOBIN: folder, GOFLAGS: '-mod=mod' },
      stdio: 'inherit',
    });
    if (built.error !== undefined)
      throw new Error('the compat tests need the Go toolchain (https://go.dev/dl): go was not found');
    if (built.status !== 0) throw new Error(`${module} could not be built`);
  }
  return paths;
}

/** Starts a program on loopback and waits until it answers on its port. */
export async function startServer(
  path: string,
  args: (port: number) => readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly url: string } & AsyncDisposable> {
  const port = await freePort();
  const child: ChildProcess = spawn(path, args(port), { env: { ...process.env, ...env }, stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}`;
  const deadline = Date.now() + START_MS;
  while (!(await answers(url))) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${path} did not start`);
    await sleep(100);
  }
  return {
    url,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}

async function answers(url: string): Promise<boolean> {
  try {
    await (await fetch(url)).body?.cancel();
    return true;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
