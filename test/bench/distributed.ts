/**
 * `npm run bench:distributed`: the plan of a distributed run: how fast a listing is compared and written as shards, and in
 * how much memory. The packaged function, in one process of its own; on AWS each range has one of its own.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { arch, cpus, tmpdir, totalmem, type } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { unzipSync } from 'fflate';
import { packageInto } from '../package/packaged.ts';
import { all, measure, median } from './measuring.ts';

const COUNT = Number(process.argv[2] ?? 1_000_000);
const RUNS = Number(process.argv[3] ?? 3);

interface Planned {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakMiB: number;
  readonly shards: number;
  readonly items: number;
  readonly ranges: number;
  readonly times: Readonly<Record<string, number>>;
}

const folder = await mkdtemp(join(tmpdir(), 'isthmus-bench-'));
const rows: string[] = [];
try {
  const pipeline = JSON.stringify({
    name: 'bench',
    identities: { open: { kind: 'anonymous' } },
    source: { use: 'gcs', with: { bucket: 'many', identity: 'open' } },
    sink: { use: 's3', with: { bucket: 'lake', region: 'eu-west-1' } },
    state: { use: 's3', with: { bucket: 'state', region: 'eu-west-1' } },
  });
  const { made } = await packageInto(folder, pipeline, '--distributed');
  for (const [name, bytes] of Object.entries(unzipSync(await readFile(join(made, 'function.zip')))))
    await writeFile(join(folder, name), bytes);
  for (const mode of ['same', 'new']) rows.push(await measured(mode));
  process.stdout.write(`${type()} ${arch()}, ${cpus().length} x ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}

| ${COUNT} objects | objects a second | wall ms | CPU ms | peak RSS MiB | ranges | shards | MiB written | runs: wall ms / peak MiB |
|---|---|---|---|---|---|---|---|---|
${rows.join('\n')}
`);
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function measured(mode: string): Promise<string> {
  const server = spawn(process.execPath, [join(import.meta.dirname, 'listings.ts'), String(COUNT), mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    if (server.stdout === null) throw new Error('no output');
    const [url] = (await once(createInterface(server.stdout), 'line')) as [string];
    const runs: Planned[] = [];
    let bytes = 0;
    for (let run = RUNS > 1 ? -1 : 0; run < RUNS; run++) {
      const planned = await plan(url, `arn:bench:${mode}:${run}`);
      if (planned.items !== (mode === 'new' ? COUNT : 0)) throw new Error(`unexpected: ${JSON.stringify(planned)}`);
      if (run >= 0) runs.push(planned);
      const { bytes: written } = (await (await fetch(`${url}/requests`)).json()) as { bytes: number };
      bytes = written / (run + (RUNS > 1 ? 2 : 1));
    }
    const [last] = runs;
    const [wall, cpu, peak] = [runs.map((r) => r.wallMs), runs.map((r) => r.cpuMs), runs.map((r) => r.peakMiB)];
    const what = mode === 'new' ? 'all new: each is a line of a shard' : 'all unchanged';
    return `| ${what} | ${Math.round((COUNT / median(wall)) * 1000)} | ${Math.round(median(wall))} | ${Math.round(median(cpu))} | ${Math.round(median(peak))} | ${last?.ranges} | ${last?.shards} | ${Math.round(bytes / 2 ** 20)} | ${all(wall)} / ${all(peak)} |`;
  } finally {
    server.kill('SIGTERM');
  }
}

async function plan(url: string, execution: string): Promise<Planned> {
  const script = join(import.meta.dirname, 'handlers/phases.mjs');
  const { out, ...measured } = await measure([script, join(folder, 'index.mjs'), execution], {
    ISTHMUS_ENDPOINTS: JSON.stringify({ gcs: url, s3: url }),
    AWS_ACCESS_KEY_ID: 'bench',
    AWS_SECRET_ACCESS_KEY: 'bench',
    AWS_REGION: 'eu-west-1',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256',
    AWS_EC2_METADATA_DISABLED: 'true',
    ISTHMUS_LOG_LEVEL: 'warn',
  });
  // What the function logs comes before.
  const told = out.trim().split('\n').at(-1) ?? '';
  const answer = JSON.parse(told) as Omit<Planned, 'wallMs' | 'cpuMs' | 'peakMiB'>;
  return { ...answer, ...measured, wallMs: Object.values(answer.times).reduce((sum, ms) => sum + ms, 0) };
}
