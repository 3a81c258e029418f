import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

/** Third-party servers, pinned; built by the Go toolchain into an ignored folder. */
const SERVERS = {
  // AWS's own; its versions have no tags.
  'aws-lambda-rie':
    'github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie@v0.0.0-20261030222936-bef5c4ba774d',
  minio: 'github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c',
  'fake-gcs-server': 'github.com/fsouza/fake-gcs-server@v1.56.1',
} as const;

/** The runtime client of Node.js functions, which the emulator starts; it builds a native part. */
const RUNTIME_CLIENT = 'aws-lambda-ric@4.0.2';
/** The last line of releases that translates SAM templates before it looks at them. */
const CFN_LINT = 'cfn-lint==1.53.3';
/** Other implementations of Parquet and Avro than those that the local BigQuery writes with. */
const READERS = ['pyarrow==26.0.1', 'fastavro==1.13.1', 'cramjam==2.14.0'];

/** The interpreter of state machines that is in it is LocalStack's. */
const STEP_FUNCTIONS = ['moto[server]==5.2.1'];

export type ServerName = keyof typeof SERVERS;

const root = join(import.meta.dirname, '../..');
const START_MS = 60_000;

/** Installs what is missing of these, by default of all. @returns the path of each program. */
export function install(names = Object.keys(SERVERS) as readonly ServerName[]): Record<ServerName, string> {
  const paths = {} as Record<ServerName, string>;
  for (const name of names) {
    const module: string = SERVERS[name];
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

/** Installs the runtime client. @returns the path of its module. */
export function installRuntimeClient(): string {
  const folder = join(root, '.compat', RUNTIME_CLIENT.replace(/[^\w.-]+/g, '_'));
  const path = join(folder, 'node_modules/aws-lambda-ric/index.mjs');
  if (existsSync(join(folder, 'node_modules/aws-lambda-ric/rapid-client.node'))) return path;
  mkdirSync(folder, { recursive: true });
  process.stdout.write(`building ${RUNTIME_CLIENT}\n`);
  const args = ['install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', '--silent', RUNTIME_CLIENT];
  const built = spawnSync('npm', args, { stdio: 'inherit' });
  if (built.status !== 0)
    throw new Error(
      `${RUNTIME_CLIENT} could not be built: it needs make, cmake, a C++ compiler, Python and the headers of Node.js`,
    );
  return path;
}

/** Installs packages of Python. @returns the path of a program of theirs. */
function installPython(packages: readonly string[], program: string): string {
  const folder = join(root, '.compat', packages.join('_').replace(/[^\w.-]+/g, '_'));
  const path = join(folder, 'bin', program);
  if (existsSync(join(folder, 'installed'))) return path;
  process.stdout.write(`installing ${packages.join(', ')}\n`);
  const made = spawnSync('python3', ['-m', 'venv', folder], { stdio: 'inherit' });
  const installed = spawnSync(join(folder, 'bin/pip'), ['install', '--quiet', ...packages], { stdio: 'inherit' });
  if (made.status !== 0 || installed.status !== 0)
    throw new Error(`${packages.join(', ')} could not be installed: they need Python 3`);
  writeFileSync(join(folder, 'installed'), '');
  return path;
}

/** @returns the path of cfn-lint. */
export const installCfnLint = (): string => installPython([CFN_LINT], 'cfn-lint');

/** @returns the path of a Python that reads Parquet and Avro. */
export const installReaders = (): string => installPython(READERS, 'python');

/** @returns the path of a Python that has moto. */
export const installStepFunctions = (): string => installPython(STEP_FUNCTIONS, 'python');

/** A program that ended before it answered. */
export class EndedEarly extends Error {}

const MOST_STARTS = 5;
const LOOK_MS = 2000;

/**
 * Starts a program on ports that are free, and again on others when it ends at once: a port that was free a moment ago
 * may be somebody else's, since other tests open connections meanwhile.
 */
export async function started<T>(start: () => Promise<T>): Promise<T> {
  for (let starts = 1; ; starts++) {
    try {
      return await start();
    } catch (thrown) {
      if (starts === MOST_STARTS || !(thrown instanceof EndedEarly)) throw thrown;
    }
  }
}

/** Starts a program on loopback and waits until it answers on its port. */
export async function startServer(
  path: string,
  args: (port: number) => readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly url: string } & AsyncDisposable> {
  return await started(async () => {
    const port = await freePort();
    const child: ChildProcess = spawn(path, args(port), { env: { ...process.env, ...env }, stdio: 'ignore' });
    const close = async (): Promise<void> => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    };
    const url = `http://127.0.0.1:${port}`;
    await answering(child, url, () => path).catch(async (error: unknown) => {
      await close();
      throw error;
    });
    return { url, [Symbol.asyncDispose]: close };
  });
}

/**
 * Waits until a program answers, which must be itself and not somebody who has its port.
 *
 * @param told what it has written, for the error.
 */
export async function answering(child: ChildProcess, url: string, told: () => string): Promise<void> {
  const deadline = Date.now() + START_MS;
  for (;;) {
    const answered = await fetch(url, { signal: AbortSignal.timeout(LOOK_MS) }).then(
      (response) => response.body?.cancel().then(() => true) ?? true,
      () => false,
    );
    if (child.exitCode !== null) throw new EndedEarly(`it ended before it answered: ${told()}`);
    if (answered) return;
    if (Date.now() > deadline) throw new Error(`it does not answer: ${told()}`);
    await sleep(50);
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
