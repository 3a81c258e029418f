/**
 * `npm run bench`: memory and speed of whole processes. The local cloud runs in a process of its own; each figure is
 * the median of three runs after one that does not count. Peak memory is what the kernel reports of the finished
 * process (ru_maxrss). Loopback, plain HTTP: the figures say what the broker costs, not what a network allows.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { arch, cpus, tmpdir, totalmem, type } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';

const root = join(import.meta.dirname, '../..');
const RUNS = 3;
const probe = join(import.meta.dirname, 'peak-memory.mjs');
const built = join(root, 'dist/config/main-cli.js');
const cli = existsSync(built) ? built : join(root, 'config/main-cli.ts');

interface Case {
  readonly name: string;
  readonly args: (file: string) => readonly string[];
  readonly bucket: string;
  readonly expects: RegExp;
  readonly limit: string;
}

const cases: readonly Case[] = [
  {
    name: 'one object of 1 GiB',
    bucket: 'large-1g',
    args: (file) => ['run', file, '--json'],
    expects: /"complete"/,
    limit: '< 220 MiB',
  },
  {
    name: 'one object of 4 GiB',
    bucket: 'large-4g',
    args: (file) => ['run', file, '--json'],
    expects: /"complete"/,
    limit: '< 220 MiB',
  },
  {
    name: '500 objects of 1 MiB',
    bucket: 'small-500',
    args: (file) => ['run', file, '--json'],
    expects: /"written":500/,
    limit: '< 220 MiB',
  },
  {
    name: '2,000 objects of 1 MiB',
    bucket: 'small-2000',
    args: (file) => ['run', file, '--json'],
    expects: /"written":2000/,
    limit: '< 220 MiB',
  },
  {
    name: 'plan of 1,000,000 names',
    bucket: 'many',
    args: (file) => ['plan', file, '--json'],
    expects: /"create":1000000/,
    limit: '< 256 MiB',
  },
  { name: 'validate', bucket: 'large-1g', args: (file) => ['validate', file], expects: /valid/, limit: '< 300 ms' },
];

interface Measured {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakMiB: number;
}

async function measure(one: Case, folder: string, env: Record<string, string>, run: number): Promise<Measured> {
  const file = join(folder, `${one.bucket}.yaml`);
  const spec = {
    name: 'bench',
    identities: { reader: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } },
    source: { use: 'gcs', with: { bucket: one.bucket, identity: 'reader' } },
    sink: { use: 's3', with: { bucket: 'sink', prefix: `${run}-${Math.random()}/`, region: 'eu-west-1' } },
  };
  await writeFile(file, JSON.stringify(spec));
  const started = performance.now();
  const child = spawn(process.execPath, ['--import', probe, cli, ...one.args(file)], {
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...env },
    stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
  });
  let out = '';
  let usage = '';
  child.stdout?.on('data', (chunk) => {
    out += String(chunk);
  });
  child.stdio[3]?.on('data', (chunk) => {
    usage += String(chunk);
  });
  await once(child, 'close');
  const wallMs = performance.now() - started;
  if (!one.expects.test(out)) throw new Error(`${one.name}: unexpected answer: ${out.slice(0, 500)}`);
  const { cpuMs, peakMiB } = JSON.parse(usage) as { cpuMs: number; peakMiB: number };
  return { wallMs, cpuMs, peakMiB };
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
const all = (values: readonly number[]): string => values.map((value) => Math.round(value)).join(' ');

async function startCloud(): Promise<{ child: ChildProcess; env: Record<string, string> }> {
  const child = spawn(process.execPath, [join(root, 'test/cloud/serve.ts'), '--bench'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.stdout === null) throw new Error('no output');
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { child, env: JSON.parse(line) as Record<string, string> };
}

const folder = await mkdtemp(join(tmpdir(), 'isthmus-bench-'));
const { child, env } = await startCloud();
try {
  process.stdout.write(
    `${type()} ${arch()}, ${cpus().length} x ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, ${cli.endsWith('.ts') ? 'sources' : 'build'}\n\n`,
  );
  process.stdout.write(
    '| what | wall ms | CPU ms | peak RSS MiB | target | runs: wall ms / peak MiB |\n|---|---|---|---|---|---|\n',
  );
  const chosen = process.argv[2];
  for (const one of cases.filter(({ name }) => chosen === undefined || name.includes(chosen))) {
    await measure(one, folder, env, -1);
    const runs: Measured[] = [];
    for (let run = 0; run < RUNS; run++) runs.push(await measure(one, folder, env, run));
    const [wall, cpu, peak] = [runs.map((r) => r.wallMs), runs.map((r) => r.cpuMs), runs.map((r) => r.peakMiB)];
    process.stdout.write(
      `| ${one.name} | ${Math.round(median(wall))} | ${Math.round(median(cpu))} | ${Math.round(median(peak))} | ${one.limit} | ${all(wall)} / ${all(peak)} |\n`,
    );
  }
} finally {
  child.kill('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}
