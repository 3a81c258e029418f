/**
 * `npm run bench`: Isthmus beside what else does its job, in one run: over TLS, against a Cloud Storage and an S3 in a
 * process and on a core of their own, which compare every byte. Prints a table and keeps the raw figures.
 *
 * `--smoke` only sees that it runs; `--only REGEX` takes the classes with such names, `--against REGEX` the contenders;
 * `--runs N`. Needs Go for the clouds; what else is missing is left out and named.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, get } from 'node:https';
import { arch, cpus, tmpdir, totalmem, type } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { chart } from './chart.ts';
import { type Contender, type Endpoints, isthmus, obvious, python, rclones, type Task } from './contenders.ts';
import { median } from './measuring.ts';

const { values: flags } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    against: { type: 'string', default: '' },
    runs: { type: 'string', default: '3' },
    json: { type: 'string' },
    svg: { type: 'string' },
  },
});
const runs = flags.smoke ? 1 : Number(flags.runs);

interface Class {
  readonly name: string;
  readonly objects: number;
  readonly size: number | 'mixed';
  readonly latencyMs?: number;
  readonly lanes?: number;
  /** Cores that the client has; the servers have the second one. */
  readonly cores?: '0' | '0,1';
}

const KIB = 1024;
const GIB = 2 ** 30;
const small = flags.smoke;
const CLASSES: readonly Class[] = [
  { name: '4 GiB × 1', objects: 1, size: small ? 70 * KIB * KIB : 4 * GIB },
  { name: '1 MiB × 2,000', objects: small ? 20 : 2000, size: KIB * KIB },
  { name: '4 KiB × 20,000', objects: small ? 200 : 20_000, size: 4 * KIB },
  { name: 'mixed × 2,000', objects: small ? 50 : 2000, size: 'mixed' },
  { name: '1 GiB × 1, two cores', objects: 1, size: small ? 70 * KIB * KIB : GIB, cores: '0,1' },
  { name: '4 KiB × 20,000, two cores', objects: small ? 200 : 20_000, size: 4 * KIB, cores: '0,1' },
  { name: '1 GiB × 1, 20 ms', objects: 1, size: small ? 70 * KIB * KIB : GIB, latencyMs: 20 },
  { name: '1 MiB × 2,000, 20 ms', objects: small ? 20 : 2000, size: KIB * KIB, latencyMs: 20 },
  { name: '4 KiB × 4,000, 20 ms', objects: small ? 200 : 4000, size: 4 * KIB, latencyMs: 20 },
  { name: '4 KiB × 4,000, 25 ms, 64 lanes', objects: small ? 200 : 4000, size: 4 * KIB, latencyMs: 25, lanes: 64 },
  { name: '4 KiB × 10,000, 25 ms, 256 lanes', objects: small ? 200 : 10_000, size: 4 * KIB, latencyMs: 25, lanes: 256 },
];
/** With these only the fast ones are worth waiting for. */
const isForAll = ({ latencyMs = 0, cores = '0' }: Class): boolean => latencyMs === 0 && cores === '0';

interface Run {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakMiB: number;
}

export interface Result {
  readonly class: string;
  readonly contender: string;
  readonly objects: number;
  readonly bytes: number;
  readonly runs: readonly Run[];
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakMiB: number;
}

const folder = await mkdtemp(join(tmpdir(), 'isthmus-bench-'));
const cloud = join(folder, 'cloud');
const built = spawnSync('go', ['build', '-o', cloud, '.'], {
  cwd: join(import.meta.dirname, 'cloud'),
  stdio: 'inherit',
});
if (built.status !== 0) throw new Error('the clouds of the benchmark need the Go toolchain (https://go.dev/dl)');
/** Where a process may be told its core. */
const pins = spawnSync('taskset', ['-c', '0,1', 'true']).status === 0;
const pinned = (core: string, command: readonly string[]): readonly string[] =>
  pins ? ['taskset', '-c', core, ...command] : command;

async function start(latencyMs: number): Promise<{ child: ChildProcess; endpoints: Endpoints }> {
  const ca = join(folder, 'ca.pem');
  const [program = '', ...args] = pinned('1', [cloud, '-pem', ca, '-latency', `${latencyMs}ms`]);
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { child, endpoints: { ...(JSON.parse(line) as { gcs: string; s3: string }), ca } };
}

/** Whoever asks the clouds how it went trusts them. */
const agent = new Agent({ rejectUnauthorized: false });

async function ask(url: string): Promise<string> {
  const [response] = (await once(get(url, { agent }), 'response')) as [AsyncIterable<Buffer>];
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

async function measure(
  one: Contender,
  task: Task,
  cores: string,
  endpoints: Endpoints,
): Promise<Run & { bytes: number }> {
  await ask(`${endpoints.s3}/-/clear`);
  const command = await one.command(task, endpoints);
  const [program = '', ...args] = pinned(cores, [cloud, 'measure', ...command]);
  const child = spawn(program, args, {
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...one.environment(endpoints) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk) => {
    out += String(chunk);
  });
  child.stderr.on('data', (chunk) => {
    err = (err + String(chunk)).slice(-4000);
  });
  await once(child, 'close');
  const { code, ...run } = JSON.parse(out) as Run & { code: number };
  const state = JSON.parse(await ask(`${endpoints.s3}/-/state`)) as Record<string, number>;
  // Every object is there, every byte of it was compared, and nothing is left over.
  if (code !== 0 || state.objects !== task.objects || state.wrong !== 0 || state.uploads !== 0)
    throw new Error(`${one.name}: exit ${code}, ${JSON.stringify(state)} for ${JSON.stringify(task)}\n${err}`);
  return { ...run, bytes: state.bytes ?? 0 };
}

const rawOf = (results: readonly Result[]): string => `${JSON.stringify({ machine, runs, results }, null, 1)}\n`;

async function contenders(): Promise<readonly Contender[]> {
  const own = [await isthmus(folder), await isthmus(folder, 'https')];
  if (flags.smoke) return own;
  const others = [...(await rclones(folder)), await obvious(folder), python()].filter((one) => one !== undefined);
  return [...own, ...others].filter(({ name }) => name === 'Isthmus' || new RegExp(flags.against).test(name));
}

async function bench(): Promise<readonly Result[]> {
  const all = await contenders();
  const results: Result[] = [];
  for (const one of CLASSES.filter(({ name }) => new RegExp(flags.only).test(name))) {
    const { child, endpoints } = await start(one.latencyMs ?? 0);
    try {
      for (const contender of all) {
        if (contender.isSlow === true && !isForAll(one) && one.lanes === undefined) continue;
        if (contender.name.startsWith('Python') && !isForAll(one)) continue;
        const isFewer = contender.isSlow === true && one.objects > 5000;
        const objects = isFewer ? one.objects / 10 : one.objects;
        const bucket = one.size === 'mixed' ? `mixed-${one.objects}` : `of-${objects}-${one.size}`;
        await ask(`${endpoints.gcs}/storage/v1/b/${bucket}/o?maxResults=1000`);
        const task = { bucket, objects, ...(one.lanes === undefined ? {} : { lanes: one.lanes }) };
        const measured: (Run & { bytes: number })[] = [];
        // The first does not count, but where one takes minutes.
        for (let time = contender.isSlow === true || flags.smoke ? 1 : 0; time <= runs; time++) {
          const run = await measure(contender, task, one.cores ?? '0', endpoints);
          if (time > 0) measured.push(run);
        }
        const middle = (of: (run: Run) => number): number => median(measured.map(of));
        const result: Result = {
          class: one.name,
          contender: contender.name,
          objects,
          bytes: measured[0]?.bytes ?? 0,
          runs: measured.map(({ bytes: _, ...run }) => run),
          wallMs: middle(({ wallMs }) => wallMs),
          cpuMs: middle(({ cpuMs }) => cpuMs),
          peakMiB: middle(({ peakMiB }) => peakMiB),
        };
        results.push(result);
        // Whoever ends it early keeps what there is.
        if (flags.json !== undefined) await writeFile(flags.json, rawOf(results));
        process.stderr.write(`${one.name}: ${contender.name}: ${(result.wallMs / 1000).toFixed(1)} s\n`);
      }
    } finally {
      child.stdin?.end();
      child.kill();
    }
  }
  return results;
}

const perObject = (result: Result): boolean => result.objects >= 1000 && result.bytes / result.objects < 100 * KIB;

function row(result: Result, ours: Result | undefined): string {
  const { contender, wallMs, cpuMs, peakMiB, bytes, objects } = result;
  const cost = perObject(result)
    ? `${(cpuMs / objects).toFixed(3)} ms an object`
    : `${(cpuMs / 1000 / (bytes / GIB)).toFixed(2)} s a GiB`;
  const speed = perObject(result)
    ? `${Math.round(objects / (wallMs / 1000))} objects/s`
    : `${Math.round(bytes / 1e6 / (wallMs / 1000))} MB/s`;
  const times = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} ×`;
  const unit = (of: Result): number => of.cpuMs / (perObject(of) ? of.objects : of.bytes);
  const rate = (of: Result): number => (perObject(of) ? of.objects : of.bytes) / of.wallMs;
  const ratios =
    ours === undefined || ours === result
      ? ['', '']
      : [times(unit(result) / unit(ours)), times(rate(ours) / rate(result))];
  const raw = result.runs.map((run) => `${(run.wallMs / 1000).toFixed(2)}/${(run.cpuMs / 1000).toFixed(2)}`).join(' ');
  return `| ${[contender, speed, cost, ...ratios, Math.round(peakMiB), raw].join(' | ')} |`;
}

const machine = `${type()} ${arch()}, ${cpus().length} x ${cpus()[0]?.model}, ${Math.round(totalmem() / GIB)} GiB, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`;
try {
  const results = await bench();
  const lines = [machine, ''];
  for (const name of new Set(results.map((result) => result.class))) {
    const of = results.filter((result) => result.class === name);
    const ours = of.find(({ contender }) => contender === 'Isthmus');
    lines.push(
      `**${name}**`,
      '',
      '| | speed | CPU | CPU, times ours | ours is faster | peak MiB | runs: wall s/CPU s |',
      '|---|---|---|---|---|---|---|',
      ...of.map((result) => row(result, ours)),
      '',
    );
  }
  process.stdout.write(`${lines.join('\n')}\n`);
  if (flags.svg !== undefined) await writeFile(flags.svg, chart(results));
} finally {
  agent.destroy();
  await rm(folder, { recursive: true, force: true });
}
