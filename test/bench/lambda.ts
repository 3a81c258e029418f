/**
 * `npm run bench:lambda`: the packaged function beside what people write instead, in one run. The local cloud runs in a
 * process of its own; cold figures are medians of ten processes, each new. Plain HTTP on loopback: they say what the
 * programs cost, not what a network allows. Ours also federates (signs, exchanges and impersonates); the others read a
 * public bucket, which favours them.
 *
 * Needs Python 3 and, for the emulator, what `npm run test:compat` needs.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { arch, cpus, tmpdir, totalmem, type } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { build } from 'esbuild';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { startEmulator } from '../compat/emulator.ts';
import { install, installRuntimeClient } from '../compat/servers.ts';
import { packageInto } from '../package/packaged.ts';
import { median, startCloud } from './measuring.ts';

const root = join(import.meta.dirname, '../..');
const handlers = join(import.meta.dirname, 'handlers');
const COLD = Number(process.env.BENCH_COLD ?? 10);
const WARM = 80;
const PYTHON = ['boto3==1.44.8', 'google-cloud-storage==3.17.1'];

interface Measured {
  readonly importMs: number;
  /** From the start of the process, as whoever starts it sees it. */
  readonly firstMs: number;
  readonly cpuMs: readonly number[];
  readonly totalCpuMs: number;
  readonly peakMiB: number;
  readonly wallMs: number;
}

interface Contender {
  readonly name: string;
  readonly command: (bucket: string, prefix: string, warm: number) => readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

async function measure(
  one: Contender,
  env: Record<string, string>,
  bucket: string,
  prefix: string,
  warm: number,
): Promise<Measured> {
  const [program = '', ...args] = one.command(bucket, prefix, warm);
  const started = performance.now();
  const child = spawn(program, args, {
    cwd: handlers,
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...env, ...one.environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (chunk) => {
    out += String(chunk);
  });
  const [code] = (await once(child, 'close')) as [number];
  const wallMs = performance.now() - started;
  const last = out.trim().split('\n').at(-1) ?? '';
  if (code !== 0) throw new Error(`${one.name}: ${out}`);
  return { ...(JSON.parse(last) as Omit<Measured, 'wallMs' | 'firstMs'>), firstMs: wallMs, wallMs };
}

const row = (...cells: readonly (string | number)[]): void => void process.stdout.write(`| ${cells.join(' | ')} |\n`);
const shown = (value: number, digits = 0): string => value.toFixed(digits);
const raw = (values: readonly number[]): string => values.map((value) => Math.round(value)).join(' ');

function python(): string {
  const folder = join(root, '.compat/python-bench');
  const path = join(folder, 'bin/python');
  if (!existsSync(path)) {
    spawnSync('python3', ['-m', 'venv', folder], { stdio: 'inherit' });
    const made = spawnSync(join(folder, 'bin/pip'), ['install', '--quiet', ...PYTHON], { stdio: 'inherit' });
    if (made.status !== 0) throw new Error('the packages for Python could not be installed');
  }
  return path;
}

/** The packaged pipeline for one bucket. */
async function ours(folder: string, bucket: string, compare: 'checksum' | 'always'): Promise<string> {
  const place = join(folder, bucket);
  await mkdir(place);
  const pipeline = {
    name: 'bench',
    // A large object is carried anew each time, as the others do.
    compare,
    identities: { reader: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } },
    source: { use: 'gcs', with: { bucket, identity: 'reader' } },
    sink: { use: 's3', with: { bucket: 'sink', prefix: `ours/${bucket}/`, region: 'eu-west-1' } },
  };
  return (await packageInto(place, JSON.stringify(pipeline))).made;
}

const folder = await mkdtemp(join(tmpdir(), 'isthmus-bench-'));
const { child, env } = await startCloud();
const quiet = { ISTHMUS_LOG_LEVEL: 'warn', AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256', POWERTOOLS_DEV: 'false' };
try {
  const py = python();
  const [small, one, four] = [
    await ours(folder, 'small-4k', 'checksum'),
    await ours(folder, 'open-1g', 'always'),
    await ours(folder, 'large-4g', 'always'),
  ];
  const obvious = join(folder, 'obvious.mjs');
  await build({
    entryPoints: [join(handlers, 'obvious.mjs')],
    outfile: obvious,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    banner: { js: "import{createRequire as __r}from'node:module';const require=__r(import.meta.url);" },
    logLevel: 'error',
  });
  const node = (file: string) => (bucket: string, prefix: string, warm: number) => [
    process.execPath,
    join(handlers, 'drive.mjs'),
    file,
    bucket,
    prefix,
    String(warm),
  ];
  // The event of a packaged function names only the object: the bucket is that of its pipeline.
  const bundleOf = (made: string) => join(made, 'index.mjs');
  const wrapper = async (made: string): Promise<string> => {
    const path = join(made, 'bench.mjs');
    const lines = [
      `import { handler as own } from ${JSON.stringify(bundleOf(made))};`,
      'export const handler = ({ object }, context) => own({ object }, context);',
    ];
    await writeFile(path, lines.join('\n'));
    return path;
  };
  const files: Record<string, string> = {
    'small-4k': await wrapper(small),
    'open-1g': await wrapper(one),
    'large-4g': await wrapper(four),
  };
  const contenders: readonly Contender[] = [
    {
      name: 'Isthmus',
      command: (bucket, prefix, warm) => node(files[bucket] ?? '')(bucket, prefix, warm),
      environment: quiet,
    },
    { name: 'Node.js, the obvious way', command: node(obvious) },
    {
      name: 'Python, by hand',
      command: (bucket, prefix, warm) => [py, join(handlers, 'drive.py'), bucket, prefix, String(warm)],
    },
  ];

  const pythonVersion = spawnSync(py, ['--version'], { encoding: 'utf8' }).stdout.trim();
  process.stdout.write(
    `${type()} ${arch()}, ${cpus().length} x ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, ${pythonVersion}, ${PYTHON.join(', ')}\n\n`,
  );
  const bytes = async (path: string): Promise<string> => `${((await stat(path)).size / 1e6).toFixed(2)} MB`;
  const packages = spawnSync('du', ['-sm', join(root, '.compat/python-bench/lib')], { encoding: 'utf8' }).stdout.split(
    '\t',
  )[0];
  const modules = (await readdir(small)).filter((name) => name.endsWith('.mjs') && name !== 'bench.mjs');
  const all = await Promise.all(modules.map(async (name) => (await stat(join(small, name))).size));
  const sizes = [
    `${(all.reduce((sum, one) => sum + one, 0) / 1e6).toFixed(2)} MB in chunks`,
    await bytes(obvious),
    `${packages} MB of packages`,
  ];

  row(
    'cold, one object of 4 KiB',
    'size',
    'import ms',
    'start to first object ms',
    'warm: CPU ms an object',
    'peak MiB',
    'start to first object, all',
  );
  row('---', '---', '---', '---', '---', '---', '---');
  for (const [index, contender] of contenders.entries()) {
    await measure(contender, env, 'small-4k', 's', 0);
    const cold: Measured[] = [];
    for (let time = 0; time < COLD; time++) cold.push(await measure(contender, env, 'small-4k', 's', 0));
    const warm: number[] = [];
    let peak = 0;
    for (let time = 0; time < 3; time++) {
      const { cpuMs, peakMiB } = await measure(contender, env, 'small-4k', 's', WARM);
      warm.push(median(cpuMs.slice(20)));
      peak = Math.max(peak, peakMiB);
    }
    const first = cold.map(({ firstMs }) => firstMs);
    row(
      contender.name,
      sizes[index] ?? '',
      shown(median(cold.map(({ importMs }) => importMs))),
      shown(median(first)),
      shown(median(warm), 1),
      shown(peak),
      raw(first),
    );
  }

  process.stdout.write('\n');
  row('one large object', 'wall s', 'CPU s', 'peak MiB', 'wall s, all');
  row('---', '---', '---', '---', '---');
  const large = async (name: string, contender: Contender, bucket: string, times: number): Promise<void> => {
    const runs: Measured[] = [];
    for (let time = 0; time < times; time++) runs.push(await measure(contender, env, bucket, 'object', 0));
    const walls = runs.map(({ wallMs }) => wallMs / 1000);
    row(
      name,
      shown(median(walls), 1),
      shown(median(runs.map(({ totalCpuMs }) => totalCpuMs / 1000)), 1),
      shown(median(runs.map(({ peakMiB }) => peakMiB))),
      walls.map((wall) => wall.toFixed(1)).join(' '),
    );
  };
  for (const contender of contenders) await large(`${contender.name}, 1 GiB`, contender, 'open-1g', 3);
  const [mine] = contenders;
  if (mine !== undefined) {
    await large('Isthmus, 4 GiB, in the memory of a 256 MB function', mine, 'large-4g', 3);
    const least = { ...mine, environment: { ...quiet, AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '128' } };
    await large('Isthmus, 1 GiB, in the memory of a 128 MB function', least, 'open-1g', 3);
  }

  process.stdout.write('\n');
  row('under the Lambda Runtime Interface Emulator, 4 KiB', 'first invocation ms', 'warm invocation ms', 'first, all');
  row('---', '---', '---', '---');
  const first: number[] = [];
  const warm: number[] = [];
  const programs = { emulator: install(['aws-lambda-rie'])['aws-lambda-rie'], runtimeClient: installRuntimeClient() };
  for (let time = 0; time <= COLD; time++) {
    await using emulator = await startEmulator({
      ...programs,
      folder: small,
      environment: { ...env, ISTHMUS_LOG_LEVEL: 'warn' },
    });
    for (let number = 0; number < 12; number++) {
      const begun = performance.now();
      const { text } = await emulator.invoke({ object: `s/${String(90_000 + time * 20 + number).padStart(9, '0')}` });
      const took = performance.now() - begun;
      if (!text.includes('"complete"')) throw new Error(text);
      // The first process does not count.
      if (time === 0) continue;
      if (number === 0) first.push(took);
      else if (number > 4) warm.push(took);
    }
  }
  row('Isthmus', shown(median(first)), shown(median(warm), 1), raw(first));
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  process.stdout.write(`\nIsthmus ${version}\n`);
} finally {
  child.kill('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}
