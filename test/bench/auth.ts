/**
 * `npm run bench:auth`: what the keyless chain costs. A warm call, a thousand callers at once, the steps of a cold
 * chain beside the round trips that it cannot do without, and the size of its code in a bundle.
 */
import { cpus } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { keyless } from '../../config/auth.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from '../cloud/local-cloud.ts';
import { median } from './measuring.ts';

const root = join(import.meta.dirname, '../..');
const LATENCY_MS = 50;
const request = { scopes: ['https://www.googleapis.com/auth/devstorage.read_only'] };
const say = (line: string): void => void process.stdout.write(`${line}\n`);

say(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}, loopback, plain HTTP\n`);

const direct = { kind: 'gcp', audience: LOCAL_AUDIENCE };
const impersonated = { ...direct, serviceAccount: LOCAL_SERVICE_ACCOUNT };
const checked = { ...impersonated, expect: { awsAccountId: '111122223333', roleName: 'exports' } };
const writer = { kind: 'aws', roleArn: 'arn:aws:iam::111122223333:role/lake-writer' };
const made = (cloud: LocalCloud, identities: Record<string, object>) =>
  keyless({ identities, environment: cloud.environment });

async function warmCall(): Promise<void> {
  await using cloud = await localCloud();
  const provider = made(cloud, { reader: impersonated }).gcp('reader', request);
  await provider?.get();
  const runs: number[] = [];
  for (let run = 0; run < 6; run++) {
    const started = performance.now();
    for (let call = 0; call < 100_000; call++) await provider?.get();
    runs.push(((performance.now() - started) / 100_000) * 1000);
  }
  const [, ...counted] = runs;
  const shown = counted.map((value) => value.toFixed(2)).join(' ');
  say(
    `warm call: ${median(counted).toFixed(2)} us (target < 50), requests made: ${cloud.googleSts.requests.length} (runs: ${shown})`,
  );
}

async function manyCallers(): Promise<void> {
  await using cloud = await localCloud();
  const provider = made(cloud, { reader: impersonated }).gcp('reader', request);
  const started = performance.now();
  await Promise.all(Array.from({ length: 1000 }, () => provider?.get()));
  const took = performance.now() - started;
  say(`1,000 callers at once: ${cloud.googleSts.requests.length} exchange, ${took.toFixed(0)} ms for all`);
}

/** Cold, with 50 ms added to each answer, beside the sum of the answers that have to be waited for one after another. */
async function cold(name: string, identities: Record<string, object>, trips: number): Promise<void> {
  await using cloud = await localCloud();
  cloud.awsSts.assumable.set('lake-writer', undefined);
  for (const server of [cloud.awsSts, cloud.googleSts, cloud.iamCredentials])
    server.faults.add(/./, { kind: 'delay', ms: LATENCY_MS }, Number.POSITIVE_INFINITY);
  const runs: number[] = [];
  for (let run = 0; run < 6; run++) {
    const broker = made(cloud, identities);
    const started = performance.now();
    const providers = Object.entries(identities).map(([one, { kind }]: [string, { kind?: string }]) =>
      kind === 'aws' ? broker.aws(one) : broker.gcp(one, request),
    );
    await Promise.all(providers.map((provider) => provider?.get()));
    runs.push(performance.now() - started);
  }
  const [, ...counted] = runs;
  const over = median(counted) - trips * LATENCY_MS;
  say(
    `cold, ${name}: ${median(counted).toFixed(0)} ms; ${trips} round trip${trips === 1 ? '' : 's'} of ${LATENCY_MS} ms make ${trips * LATENCY_MS}, so ${over.toFixed(0)} ms more (runs: ${counted.map((value) => value.toFixed(0)).join(' ')})`,
  );
}

async function bundle(): Promise<void> {
  const { outputFiles, metafile } = await build({
    entryPoints: [join(root, 'config/auth.ts')],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node22',
    splitting: true,
    outdir: join(root, 'dist/bench'),
    write: false,
    metafile: true,
  });
  const size = (paths: readonly string[]): string => {
    const files = outputFiles.filter(({ path }) => paths.some((one) => path.endsWith(one)));
    const bytes = files.reduce((sum, { contents }) => sum + contents.byteLength, 0);
    const packed = files.reduce((sum, { contents }) => sum + gzipSync(contents).byteLength, 0);
    return `${(bytes / 1024).toFixed(0)} KiB minified, ${(packed / 1024).toFixed(0)} KiB gzipped`;
  };
  // What is loaded at the start: the entry, and all that it imports statically.
  const outputs = Object.entries(metafile.outputs);
  const entry = outputs.find(([, { entryPoint }]) => entryPoint?.endsWith('config/auth.ts') === true)?.[0] ?? '';
  const eager = new Set<string>();
  const follow = (path: string): void => {
    if (eager.has(path)) return;
    eager.add(path);
    for (const one of metafile.outputs[path]?.imports ?? [])
      if (one.kind === 'import-statement' && one.external !== true) follow(one.path);
  };
  follow(entry);
  const names = (paths: Iterable<string>): string[] => [...paths].map((path) => path.split('/').at(-1) ?? '');
  const inputs = Object.entries(
    Object.fromEntries([...eager].flatMap((path) => Object.entries(metafile.outputs[path]?.inputs ?? {}))),
  );
  const of = (pattern: RegExp): string =>
    `${(inputs.filter(([path]) => pattern.test(path)).reduce((sum, [, { bytesInOutput }]) => sum + bytesInOutput, 0) / 1024).toFixed(0)} KiB`;
  say(
    `\nbundle, loaded at the start: ${size(names(eager))} (ours ${of(/^(?:core|config)\//)}, zod ${of(/node_modules\/zod/)})`,
  );
  const lazy = outputs.map(([path]) => path).filter((path) => !eager.has(path) && path.endsWith('.js'));
  say(`bundle, loaded only where credentials are not in variables (AWS SDK chain): ${size(names(lazy))}`);
}

await warmCall();
await manyCallers();
await cold('direct', { reader: direct }, 1);
await cold('impersonated', { reader: impersonated }, 2);
await cold('impersonated, with `expect`', { reader: checked }, 3);
await cold('impersonated, and an assumed role beside it', { reader: impersonated, writer }, 2);
await bundle();
