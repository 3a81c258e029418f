/** `npm run bench:state`: what the record of a run (lease, checkpoint, history) adds to it; both sides in one run. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { arch, cpus, tmpdir, totalmem, type } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { all, cli, type Measured, measure, median, startCloud } from './measuring.ts';

const RUNS = 5;
const CASES = [
  ['one object of 4 GiB', 'large-4g', 1],
  ['2,000 objects of 1 MiB', 'small-2000', 2000],
] as const;

const folder = await mkdtemp(join(tmpdir(), 'isthmus-bench-'));
const { child, env } = await startCloud();

async function carry(bucket: string, written: number, state: boolean): Promise<Measured> {
  const file = join(folder, 'pipeline.yaml');
  const place = { bucket: 'sink', region: 'eu-west-1', prefix: `${Math.random()}/` };
  const spec = {
    name: 'bench',
    identities: { reader: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } },
    source: { use: 'gcs', with: { bucket, identity: 'reader' } },
    sink: { use: 's3', with: place },
    ...(state
      ? { state: { use: 's3', with: { bucket: 'acme-lake', region: 'eu-west-1', prefix: place.prefix } } }
      : {}),
  };
  await writeFile(file, JSON.stringify(spec));
  const measured = await measure([cli, 'run', file, '--json'], env);
  if (!measured.out.includes(`"written":${written}`))
    throw new Error(`unexpected answer: ${measured.out.slice(0, 300)}`);
  return measured;
}

try {
  const machine = `${type()} ${arch()}, ${cpus().length} x ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
  process.stdout.write(
    `${machine}\n\n| what | without state: wall ms, CPU ms | state in S3: wall ms, CPU ms | CPU more | runs: wall ms |\n|---|---|---|---|---|\n`,
  );
  for (const [name, bucket, written] of CASES) {
    const runs: [Measured[], Measured[]] = [[], []];
    for (let run = -1; run < RUNS; run++)
      for (const [side, list] of runs.entries()) {
        const measured = await carry(bucket, written, side === 1);
        if (run >= 0) list.push(measured);
      }
    const [without, with_] = runs.map((list) => ({
      wall: median(list.map(({ wallMs }) => wallMs)),
      cpu: median(list.map(({ cpuMs }) => cpuMs)),
    }));
    if (without === undefined || with_ === undefined) continue;
    const more = (((with_.cpu - without.cpu) / without.cpu) * 100).toFixed(1);
    const raw = runs.map((list) => all(list.map(({ wallMs }) => wallMs))).join(' / ');
    process.stdout.write(
      `| ${name} | ${Math.round(without.wall)}, ${Math.round(without.cpu)} | ${Math.round(with_.wall)}, ${Math.round(with_.cpu)} | ${more} % | ${raw} |\n`,
    );
  }
} finally {
  child.kill('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}
