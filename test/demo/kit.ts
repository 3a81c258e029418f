/**
 * `npm run demo:kit`: a plugin of one's own from nothing to a function: scaffold, edit, test, package, run under AWS's
 * Lambda Runtime Interface Emulator, each step timed. Builds the emulator at the first start (needs Go and a C++ compiler).
 */
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { unzipSync } from 'fflate';
import { localCloud } from '../cloud/local-cloud.ts';
import { startEmulator } from '../compat/emulator.ts';
import { install, installRuntimeClient } from '../compat/servers.ts';

const root = join(import.meta.dirname, '../..');
const say = (text = ''): void => void process.stdout.write(`${text}\n`);
const times: [string, number][] = [];

/** A command in a folder; what it says is shown when it fails. */
function run(what: string, cwd: string, command: string, ...args: string[]): string {
  say(`\n$ ${[command, ...args].map((word) => word.replace(root, '…')).join(' ')}`);
  const began = performance.now();
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  });
  if (what !== '') times.push([what, performance.now() - began]);
  if (status !== 0) {
    say(stdout + stderr);
    throw new Error(`${what}: ${command} ended with ${status}`);
  }
  for (const line of stdout.trim().split('\n').slice(-4)) say(`  ${line}`);
  return stdout;
}

const programs = { emulator: install(['aws-lambda-rie'])['aws-lambda-rie'], runtimeClient: installRuntimeClient() };
const folder = await mkdtemp(join(tmpdir(), 'isthmus-kit-'));
try {
  run('', root, 'npm', 'pack', '--silent', '--pack-destination', folder);
  const [tarball = ''] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'));
  const cli = [process.execPath, join(root, 'config/main-cli.ts')] as const;

  run(
    'scaffold',
    folder,
    ...cli,
    'plugin',
    'new',
    'reports',
    '--kind',
    'source',
    '--isthmus',
    `file:${join(folder, tarball)}`,
  );
  const made = join(folder, 'isthmus-reports');
  run('npm install', made, 'npm', 'install', '--silent', '--no-audit', '--no-fund');
  run('npm test', made, 'npm', 'test', '--silent');

  // The edit: an option more, and what it does.
  const began = performance.now();
  const file = join(made, 'src/index.ts');
  const edited = (await readFile(file, 'utf8'))
    .replace(
      "describe('Where the API is: https://files.example.com') })",
      "describe('Where the API is: https://files.example.com'), suffix: z.string().default('').describe('Only names that end so.') })",
    )
    .replace(
      'create: ({ url }, context) => new FilesSource(url, context.transport())',
      'create: ({ url, suffix }, context) => new FilesSource(url, suffix, context.transport())',
    )
    .replace(
      'constructor(url: string, transport: Transport) {',
      'constructor(url: string, suffix: string, transport: Transport) {\n    this.#suffix = suffix;',
    )
    .replace('readonly #url: string;', 'readonly #url: string;\n  readonly #suffix: string;')
    .replace('        yield { id, key', '        if (key.endsWith(this.#suffix)) yield { id, key');
  await writeFile(file, edited);
  times.push(['edit (an option more)', performance.now() - began]);
  run('npm test again', made, 'npm', 'test', '--silent');
  run('', made, 'npm', 'run', '--silent', 'check');

  const pipeline = `name: reports
plugins: [./src/index.ts]
source:
  use: reports
  with: { url: "\${STORE_URL}", suffix: .csv }
sink:
  use: s3
  with: { bucket: lake, prefix: reports/, region: eu-west-1 }
`;
  await writeFile(join(made, 'pipeline.yaml'), pipeline);
  const { startStore } = (await import(pathToFileURL(join(made, 'test/store.ts')).href)) as {
    startStore(objects: Record<string, Buffer>): Promise<{ url: string; close(): Promise<void> }>;
  };
  const objects = {
    'a.csv': Buffer.from('x,y\n1,2\n'),
    'b/large.csv': Buffer.alloc(20 * 2 ** 20, 'report '),
    'c.txt': Buffer.from('not'),
  };
  const store = await startStore(objects);
  await using cloud = await localCloud();
  const lake = cloud.s3.bucket('lake');
  process.env.STORE_URL = store.url;
  run('package', made, 'npx', 'isthmus', 'package', 'pipeline.yaml');

  const code = join(folder, 'function');
  const zip = await readFile(join(made, 'dist/reports/function.zip'));
  await mkdir(code);
  for (const [name, bytes] of Object.entries(unzipSync(zip))) await writeFile(join(code, name), bytes);
  const environment = { ...cloud.environment, STORE_URL: store.url };
  const started = performance.now();
  await using emulator = await startEmulator({ ...programs, folder: code, environment });
  say('\n$ aws lambda invoke …');
  const { text } = await emulator.invoke({});
  times.push(['run under the emulator, started cold', performance.now() - started]);
  const answer = JSON.parse(text) as { outcome?: string; items?: { written?: number } };
  say(`  ${text.slice(0, 300)}`);
  await store.close();

  const same = Object.entries(objects).every(([key, bytes]) =>
    key.endsWith('.csv')
      ? lake.bytes(`reports/${key}`)?.equals(bytes) === true
      : lake.bytes(`reports/${key}`) === undefined,
  );
  say('\nFrom nothing to a function:');
  for (const [what, ms] of times) say(`  ${what.padEnd(40)} ${(ms / 1000).toFixed(1).padStart(6)} s`);
  say(`  ${'together'.padEnd(40)} ${(times.reduce((sum, [, ms]) => sum + ms, 0) / 1000).toFixed(1).padStart(6)} s`);
  const right = answer.outcome === 'complete' && answer.items?.written === 2 && same;
  say(
    right
      ? '\nS3 holds the same bytes, and only what the new option selects.'
      : '\nThe demo did not do what it promises.',
  );
  if (!right) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
