import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { arch, cpus, tmpdir, totalmem, type } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT } from '../cloud/local-cloud.ts';
import { packageInto } from '../package/packaged.ts';
import { all, cli, type Measured, measure, median, startCloud } from './measuring.ts';

const RUNS = Number(process.env.BENCH_RUNS ?? 3);
const PROCESSES = Number(process.env.BENCH_COLD ?? 5);

const identities = {
  reader: {
    kind: 'gcp',
    audience: LOCAL_AUDIENCE,
    serviceAccount: LOCAL_SERVICE_ACCOUNT,
    expect: { awsAccountId: '111122223333', roleName: 'exports' },
  },
};
const bigquery = (more: object): object => ({
  use: 'bigquery',
  with: { identity: 'reader', project: 'acme-data', ...more },
});
const vertex = (more: object): object => ({
  use: 'vertexai',
  with: { identity: 'reader', project: 'acme-ml', location: 'europe-west4', ...more },
});
const BATCH = { batch: { job: '1' } };

const pipeline = (source: object, prefix: string): string =>
  JSON.stringify({
    name: 'bench',
    identities,
    source,
    sink: { use: 's3', with: { bucket: 'sink', prefix, region: 'eu-west-1' } },
  });

async function runs(
  name: string,
  source: object,
  expects: RegExp,
  folder: string,
  env: Record<string, string>,
): Promise<Measured[]> {
  const file = join(folder, 'bench.yaml');
  const measured: Measured[] = [];
  for (let run = -1; run < RUNS; run++) {
    await writeFile(file, pipeline(source, `${name}-${run}/`));
    const one = await measure([cli, 'run', file, '--json', '--no-progress'], env);
    if (!expects.test(one.out)) throw new Error(`${name}: unexpected answer: ${one.out.slice(0, 800)}`);
    if (run >= 0) measured.push(one);
  }
  return measured;
}

/** Imports a bundle and, if asked, looks at a job with its client. */
const coldScript = (bundle: string, call: boolean): string => `
const started = performance.now();
const { handler } = await import(${JSON.stringify(bundle)});
const imported = performance.now() - started;
let told = '';
if (${call}) {
  const context = { awsRequestId: '1', invokedFunctionArn: 'arn:aws:lambda:eu-west-1:1:function:f', getRemainingTimeInMillis: () => 60000 };
  told = await handler({}, context).then(() => 'complete', (error) => error.message);
}
console.log('\\n#' + JSON.stringify({ imported, called: performance.now() - started, told }));
process.exit(0);
`;

const folder = await mkdtemp(join(tmpdir(), 'isthmus-bench-'));
const { child, env } = await startCloud();
const print = (line: string): void => void process.stdout.write(`${line}\n`);
try {
  print(
    `${type()} ${arch()}, ${cpus().length} x ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, ${cli.endsWith('.ts') ? 'sources' : 'build'}\n`,
  );
  print('| what | wall ms | CPU ms | peak RSS MiB | runs: wall ms / peak MiB |\n|---|---|---|---|---|');
  const staged = await runs(
    'extract',
    bigquery({ table: 'bench.shards', staging: { bucket: 'staging' } }),
    /"written":201/,
    folder,
    env,
  );
  const plain = await runs(
    'plain',
    { use: 'gcs', with: { bucket: 'shards-200', identity: 'reader' } },
    /"written":200/,
    folder,
    env,
  );
  const json = await runs('json', bigquery({ table: 'bench.rows', format: 'json' }), /"written":2/, folder, env);
  const csv = await runs('csv', bigquery({ table: 'bench.rows', format: 'csv' }), /"written":2/, folder, env);
  for (const [name, measured] of [
    ['2 GiB in 200 files, extract job', staged],
    ['2 GiB in 200 objects, plain copy', plain],
    ['1,000,000 rows read, json', json],
    ['1,000,000 rows read, csv', csv],
  ] as const) {
    const [wall, cpu, peak] = [
      measured.map((r) => r.wallMs),
      measured.map((r) => r.cpuMs),
      measured.map((r) => r.peakMiB),
    ];
    print(
      `| ${name} | ${Math.round(median(wall))} | ${Math.round(median(cpu))} | ${Math.round(median(peak))} | ${all(wall)} / ${all(peak)} |`,
    );
  }
  const rate = (measured: readonly Measured[]): number => Math.round(1e9 / median(measured.map((r) => r.wallMs)));
  print(
    `\nrows a second, the start of the process included: json ${rate(json)}, csv ${rate(csv)} (target 150,000; < 256 MiB)`,
  );
  print(
    `peak of the export to that of the plain copy: ${(median(staged.map((r) => r.peakMiB)) / median(plain.map((r) => r.peakMiB))).toFixed(2)}\n`,
  );

  const endpoints = JSON.parse(env.ISTHMUS_ENDPOINTS ?? '{}') as Record<string, string>;
  // The same service at another address; both answer that there is no such job.
  const overGrpc = { ...env, ISTHMUS_ENDPOINTS: JSON.stringify({ ...endpoints, vertexai: env.BENCH_VERTEX_GRPC }) };
  print('| bundle | bytes | gzip | import ms | first answer ms | peak RSS MiB |\n|---|---|---|---|---|---|');
  for (const [name, source, call] of [
    ['gcs', { use: 'gcs', with: { bucket: 'shards-200', identity: 'reader' } }, false],
    ['bigquery, looks at a table', bigquery({ table: 'bench.nothing' }), true],
    ['vertexai batch, rest', vertex(BATCH), true],
    ['vertexai batch, grpc', vertex({ transport: 'grpc', ...BATCH }), true],
    ['vertexai generate', vertex({ generate: { model: 'gemini', prompt: 'x', rows: [1] } }), true],
  ] as const) {
    const place = join(folder, name.replace(/\W+/g, '-'));
    await mkdir(place);
    const { made } = await packageInto(place, pipeline(source, 'cold/'));
    const code = await readFile(join(made, 'index.mjs'));
    const script = join(place, 'cold.mjs');
    await writeFile(script, coldScript(pathToFileURL(join(made, 'index.mjs')).href, call));
    const cold: { imported: number; called: number; peak: number }[] = [];
    for (let run = 0; run < PROCESSES; run++) {
      const { out, peakMiB } = await measure([script], name.endsWith('grpc') ? overGrpc : env);
      const { imported, called } = JSON.parse(out.slice(out.lastIndexOf('\n#') + 2)) as {
        imported: number;
        called: number;
      };
      cold.push({ imported, called, peak: peakMiB });
    }
    const middle = (pick: (one: (typeof cold)[number]) => number): number => Math.round(median(cold.map(pick)));
    print(
      `| ${name} | ${code.length} | ${gzipSync(code).length} | ${middle((one) => one.imported)} | ${call ? middle((one) => one.called) : ''} | ${middle((one) => one.peak)} |`,
    );
  }
} finally {
  child.kill('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}
