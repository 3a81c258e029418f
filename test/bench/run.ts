import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { arch, cpus, tmpdir, totalmem, type } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { all, cli, type Measured, measure, median, startCloud } from './measuring.ts';

const RUNS = 3;

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

async function carry(one: Case, folder: string, env: Record<string, string>, run: number): Promise<Measured> {
  const file = join(folder, `${one.bucket}.yaml`);
  const spec = {
    name: 'bench',
    identities: { reader: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } },
    source: { use: 'gcs', with: { bucket: one.bucket, identity: 'reader' } },
    sink: { use: 's3', with: { bucket: 'sink', prefix: `${run}-${Math.random()}/`, region: 'eu-west-1' } },
  };
  await writeFile(file, JSON.stringify(spec));
  const measured = await measure([cli, ...one.args(file)], env);
  if (!one.expects.test(measured.out)) throw new Error(`${one.name}: unexpected answer: ${measured.out.slice(0, 500)}`);
  return measured;
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
    await carry(one, folder, env, -1);
    const runs: Measured[] = [];
    for (let run = 0; run < RUNS; run++) runs.push(await carry(one, folder, env, run));
    const [wall, cpu, peak] = [runs.map((r) => r.wallMs), runs.map((r) => r.cpuMs), runs.map((r) => r.peakMiB)];
    process.stdout.write(
      `| ${one.name} | ${Math.round(median(wall))} | ${Math.round(median(cpu))} | ${Math.round(median(peak))} | ${one.limit} | ${all(wall)} / ${all(peak)} |\n`,
    );
  }
} finally {
  child.kill('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}
