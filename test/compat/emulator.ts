import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import process from 'node:process';
import { answering, freePort, started } from './servers.ts';

export interface EmulatorOptions {
  /** The programs: AWS's emulator, and the runtime client that it starts. */
  readonly emulator: string;
  readonly runtimeClient: string;
  /** Of the unpacked zip. */
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly timeoutSeconds?: number;
  readonly memoryMiB?: number;
}

export interface Emulator extends AsyncDisposable {
  /** One at a time: the emulator ends itself when it is asked twice at once. */
  invoke(event: unknown): Promise<{ readonly status: number; readonly text: string }>;
  /** Everything that the function wrote. */
  output(): string;
  /** Kills the process of the function, as Lambda does with one that is out of time or memory. */
  kill(): Promise<void>;
}

/**
 * A function under AWS's Lambda Runtime Interface Emulator with the runtime interface client for Node.js.
 * Source: https://github.com/aws/aws-lambda-runtime-interface-emulator
 */
export async function startEmulator(options: EmulatorOptions): Promise<Emulator> {
  return await started(() => startOnce(options));
}

async function startOnce(options: EmulatorOptions): Promise<Emulator> {
  const [port, api] = [await freePort(), await freePort()];
  const flags = [
    ['--log-level', 'error'],
    ['--runtime-interface-emulator-address', `127.0.0.1:${port}`],
    ['--runtime-api-address', `127.0.0.1:${api}`],
  ];
  const child = spawn(options.emulator, [...flags.flat(), process.execPath, options.runtimeClient, 'index.handler'], {
    cwd: options.folder,
    env: {
      PATH: '/usr/bin:/bin',
      HOME: '/tmp',
      LAMBDA_TASK_ROOT: options.folder,
      AWS_LAMBDA_FUNCTION_NAME: 'isthmus-nightly',
      AWS_LAMBDA_FUNCTION_TIMEOUT: String(options.timeoutSeconds ?? 60),
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(options.memoryMiB ?? 256),
      ...options.environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk) => {
      output += String(chunk);
    });
  const url = `http://127.0.0.1:${port}/2015-03-31/functions/function/invocations`;
  const close = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  };
  // Another path than that of a function: it must not start yet.
  await answering(child, `http://127.0.0.1:${port}/`, () => output).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  return {
    async invoke(event) {
      const response = await fetch(url, { method: 'POST', body: JSON.stringify(event) });
      return { status: response.status, text: await response.text() };
    },
    output: () => output,
    async kill() {
      for (const pid of await childrenOf(child.pid ?? 0)) process.kill(pid, 'SIGKILL');
    },
    [Symbol.asyncDispose]: close,
  };
}

/** From the kernel, as no program for it is everywhere. */
async function childrenOf(parent: number): Promise<number[]> {
  const found: number[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const status = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '');
    if (Number(status.slice(status.lastIndexOf(')') + 2).split(' ')[1]) === parent) found.push(Number(entry));
  }
  return found;
}
