/** `npm run bench:plan`: how fast an unchanged bucket is compared, and in how much memory and how many requests. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { arch, cpus, tmpdir, totalmem, type } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { all, cli, type Measured, measure, median } from './measuring.ts';

const COUNT = Number(process.argv[2] ?? 1_000_000);
const RUNS = 3;

const folder = await mkdtemp(join(tmpdir(), 'isthmus-bench-'));
const server = spawn(process.execPath, [join(import.meta.dirname, 'listings.ts'), String(COUNT)], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
try {
  if (server.stdout === null) throw new Error('no output');
  const [url] = (await once(createInterface(server.stdout), 'line')) as [string];
  const file = join(folder, 'plan.yaml');
  const spec = {
    name: 'bench',
    identities: { open: { kind: 'anonymous' } },
    source: { use: 'gcs', with: { bucket: 'many', identity: 'open' } },
    sink: { use: 's3', with: { bucket: 'lake', region: 'eu-west-1' } },
  };
  await writeFile(file, JSON.stringify(spec));
  const env = {
    ISTHMUS_ENDPOINTS: JSON.stringify({ gcs: url, s3: url }),
    AWS_ACCESS_KEY_ID: 'bench',
    AWS_SECRET_ACCESS_KEY: 'bench',
    AWS_REGION: 'eu-west-1',
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  const runs: Measured[] = [];
  for (let run = -1; run < RUNS; run++) {
    const measured = await measure([cli, 'plan', file, '--json'], env);
    if (!measured.out.includes(`"skip":${COUNT}`)) throw new Error(`unexpected answer: ${measured.out.slice(0, 300)}`);
    if (run >= 0) runs.push(measured);
  }
  const requests = (await (await fetch(`${url}/requests`)).json()) as { gcs: number; s3: number };
  const [wall, cpu, peak] = [runs.map((r) => r.wallMs), runs.map((r) => r.cpuMs), runs.map((r) => r.peakMiB)];
  const each = (count: number): number => count / (RUNS + 1);
  process.stdout.write(`${type()} ${arch()}, ${cpus().length} x ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, ${cli.endsWith('.ts') ? 'sources' : 'build'}

| unchanged objects | objects a second | wall ms | CPU ms | peak RSS MiB | list requests | runs: wall ms / peak MiB |
|---|---|---|---|---|---|---|
| ${COUNT} | ${Math.round((COUNT / median(wall)) * 1000)} | ${Math.round(median(wall))} | ${Math.round(median(cpu))} | ${Math.round(median(peak))} | ${each(requests.gcs)} + ${each(requests.s3)} | ${all(wall)} / ${all(peak)} |
`);
} finally {
  server.kill('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}
