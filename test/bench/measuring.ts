import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';

const root = join(import.meta.dirname, '../..');
const probe = join(import.meta.dirname, 'peak-memory.mjs');
const built = join(root, 'dist/config/main-cli.js');
/** The build, if there is one. */
export const cli = existsSync(built) ? built : join(root, 'config/main-cli.ts');

export interface Measured {
  readonly wallMs: number;
  readonly cpuMs: number;
  /** What the kernel reports of the finished process (ru_maxrss). */
  readonly peakMiB: number;
  readonly out: string;
}

/** Runs a script to its end, in a process of its own. */
export async function measure(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Measured> {
  const started = performance.now();
  const child = spawn(process.execPath, ['--import', probe, ...args], {
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...env },
    stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
  });
  let [out, usage] = ['', ''];
  child.stdout?.on('data', (chunk) => {
    out += String(chunk);
  });
  child.stdio[3]?.on('data', (chunk) => {
    usage += String(chunk);
  });
  await once(child, 'close');
  const wallMs = performance.now() - started;
  const { cpuMs, peakMiB } = JSON.parse(usage) as { cpuMs: number; peakMiB: number };
  return { wallMs, cpuMs, peakMiB, out };
}

/** The local cloud in a process of its own, and the environment that leads to it. */
export async function startCloud(): Promise<{ child: ChildProcess; env: Record<string, string> }> {
  const child = spawn(process.execPath, [join(root, 'test/cloud/serve.ts'), '--bench'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.stdout === null) throw new Error('no output');
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { child, env: JSON.parse(line) as Record<string, string> };
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return ((sorted[(sorted.length - 1) >> 1] ?? 0) + (sorted[sorted.length >> 1] ?? 0)) / 2;
};
export const all = (values: readonly number[]): string => values.map((value) => Math.round(value)).join(' ');
