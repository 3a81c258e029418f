/**
 * `npm run bench:limit`: one object of 4 GiB (or the size that is given, in GiB) carried by the packaged pipeline in a
 * real limit of 128 MiB: a cgroup, which kills what takes more. Prints how its memory went. Needs Linux, and the right to
 * make a cgroup.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { isthmus } from './contenders.ts';

const MIB = 2 ** 20;
const [sizes = '1,4,64', limitMiB = '128'] = process.argv.slice(2);
const limit = Number(limitMiB) * MIB;

/** A cgroup of either version. */
function makeGroup(): { readonly path: string; read(name: 'usage' | 'peak' | 'failures'): number } {
  const isTwo = existsSync('/sys/fs/cgroup/cgroup.controllers');
  const path = isTwo ? `/sys/fs/cgroup/isthmus-${process.pid}` : `/sys/fs/cgroup/memory/isthmus-${process.pid}`;
  mkdirSync(path);
  writeFileSync(join(path, isTwo ? 'memory.max' : 'memory.limit_in_bytes'), String(limit));
  const names = isTwo
    ? { usage: 'memory.current', peak: 'memory.peak', failures: 'memory.events' }
    : { usage: 'memory.usage_in_bytes', peak: 'memory.max_usage_in_bytes', failures: 'memory.failcnt' };
  const read = (name: keyof typeof names): number => {
    const text = readFileSync(join(path, names[name]), 'utf8');
    return Number(/oom_kill (\d+)/.exec(text)?.[1] ?? Number.parseInt(text, 10));
  };
  return { path, read };
}

const rssOf = (pid: number): number => {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
};

const folder = await mkdtemp(join(tmpdir(), 'isthmus-limit-'));
const cloud = join(folder, 'cloud');
spawnSync('go', ['build', '-o', cloud, '.'], { cwd: join(import.meta.dirname, 'cloud'), stdio: 'inherit' });
const ca = join(folder, 'ca.pem');
const servers: ChildProcess = spawn(cloud, ['-pem', ca], { stdio: ['pipe', 'pipe', 'inherit'] });
try {
  if (servers.stdout === null) throw new Error('no output');
  const [line] = (await once(createInterface(servers.stdout), 'line')) as [string];
  const endpoints = { ...(JSON.parse(line) as { gcs: string; s3: string }), ca };
  const contender = await isthmus(folder);
  for (const gib of sizes.split(',').map(Number)) {
    const task = { bucket: `of-1-${gib * 2 ** 30}`, objects: 1 };
    const [program = '', ...args] = await contender.command(task, endpoints);
    const group = makeGroup();
    // The shell joins the group and becomes the program: nothing of it runs outside.
    const child = spawn('sh', ['-c', `echo $$ > ${group.path}/cgroup.procs && exec "$0" "$@"`, program, ...args], {
      env: { PATH: process.env.PATH ?? '', ...contender.environment(endpoints), ISTHMUS_MEMORY_SIZE: limitMiB },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += String(chunk);
    });
    const samples: number[] = [];
    const timer = setInterval(() => void samples.push(rssOf(child.pid ?? 0)), 200);
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    clearInterval(timer);
    const step = Math.max(1, Math.floor(samples.length / 20));
    const shown = samples.filter((_, index) => index % step === 0).map(Math.round);
    const { outcome = signal, used } = JSON.parse(out.trim().split('\n').at(-1) || '{}') as Record<string, unknown>;
    process.stdout.write(
      `${gib} GiB in ${limitMiB} MiB: ${code === 0 ? 'complete' : `FAILED (${String(outcome)})`}, RSS at most ${Math.round(Math.max(...samples))} MiB, buffers ${JSON.stringify(used)}; the group at most ${Math.round(group.read('peak') / MIB)} MiB, ${group.read('failures')} times at its limit\n  RSS over time, MiB: ${shown.join(' ')}\n`,
    );
    rmdirSync(group.path);
  }
} finally {
  servers.kill();
  await rm(folder, { recursive: true, force: true });
}
