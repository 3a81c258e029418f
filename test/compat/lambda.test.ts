import { execFile, spawnSync } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { unzipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { patternBody } from '../cloud/body.ts';
import { LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from '../cloud/local-cloud.ts';
import { pipelineData } from '../lambda/function.ts';
import { packageInto } from '../package/packaged.ts';
import { PIPELINES } from '../package/pipelines.ts';
import { temporaryFolder } from '../support.ts';
import { type Emulator, startEmulator } from './emulator.ts';
import { credentials, gcsUrl, needed, newGcsBucket, newS3Bucket, s3Url } from './fixtures.ts';

const MIB = 2 ** 20;
const programs = { emulator: needed('COMPAT_RIE'), runtimeClient: needed('COMPAT_RIC') };

interface Deployed extends AsyncDisposable {
  readonly emulator: Emulator;
}

/** Packages a pipeline, unpacks the zip into an empty folder, and runs it there. */
async function deploy(
  data: unknown,
  environment: Readonly<Record<string, string>>,
  more: { timeoutSeconds?: number; memoryMiB?: number } = {},
): Promise<Deployed> {
  const folder = await temporaryFolder();
  const { code, err, made } = await packageInto(folder.path, stringify(data));
  if (code !== 0) throw new Error(err);
  const task = join(folder.path, 'task');
  await mkdir(task);
  for (const [name, bytes] of Object.entries(unzipSync(await readFile(join(made, 'function.zip')))))
    await writeFile(join(task, name), bytes);
  const emulator = await startEmulator({ ...programs, folder: task, environment, ...more });
  return {
    emulator,
    async [Symbol.asyncDispose]() {
      await emulator[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function buckets(cloud: LocalCloud) {
  const source = cloud.gcs.bucket('exports', [LOCAL_SERVICE_ACCOUNT]);
  const sink = cloud.s3.bucket('lake');
  cloud.s3.bucket('state');
  return { source, sink };
}

const json = ({ text }: { readonly text: string }): Record<string, unknown> => JSON.parse(text);

describe('the packaged function under the Lambda Runtime Interface Emulator', () => {
  it('carries the pipeline, stays warm, logs one JSON line an event and metrics in the embedded format', async () => {
    await using cloud = await localCloud();
    const { source, sink } = buckets(cloud);
    source.put('2026/a.txt', 'one', { contentType: 'text/plain' });
    source.put('2026/large', patternBody(20 * MIB));
    await using deployed = await deploy(pipelineData(), cloud.environment);
    const { emulator } = deployed;
    expect(json(await emulator.invoke({}))).toMatchObject({ outcome: 'complete', items: { written: 2 } });
    expect(sink.objects.get('raw/large')?.checksums.crc32c).toBe(source.get('2026/large')?.crc32c);
    source.put('2026/a.txt', 'changed');
    expect(json(await emulator.invoke({ object: '2026/a.txt' }))).toMatchObject({ bytes_transferred: 7 });
    expect(cloud.googleSts.requests).toHaveLength(1);
    const lines = emulator
      .output()
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.filter(({ event }) => event === 'run finished')).toHaveLength(2);
    const [metrics] = lines.filter((line) => '_aws' in line);
    expect(metrics).toMatchObject({
      service: 'exports',
      RunsComplete: 1,
      ObjectsWritten: 2,
      requestId: expect.any(String),
    });
  });

  it('makes a failed run a failed invocation', async () => {
    await using cloud = await localCloud();
    buckets(cloud).source.put('2026/a.txt', 'one');
    cloud.s3.buckets.delete('lake');
    await using deployed = await deploy(pipelineData(), cloud.environment);
    expect(json(await deployed.emulator.invoke({}))).toMatchObject({
      errorType: 'Isthmus.bucket_missing',
      errorMessage: expect.stringContaining('Correct bucket: lake'),
    });
    expect(json(await deployed.emulator.invoke({ object: 'gs://other/x' }))).toMatchObject({
      errorType: 'Isthmus.outside_pipeline',
    });
  });

  it('stops before its time is up, and goes on with the answer that it gave', async () => {
    await using cloud = await localCloud();
    const { source, sink } = buckets(cloud);
    for (let n = 0; n < 60; n++) source.put(`2026/${n}`, `value ${n}`);
    cloud.s3.faults.add('PUT /lake', { kind: 'delay', ms: 120 }, Number.POSITIVE_INFINITY);
    await using deployed = await deploy(pipelineData({ concurrency: 1 }), cloud.environment, { timeoutSeconds: 4 });
    let answer = json(await deployed.emulator.invoke({}));
    expect(answer).toMatchObject({ outcome: 'paused' });
    for (let hop = 0; answer.outcome === 'paused' && hop < 20; hop++)
      answer = json(await deployed.emulator.invoke(answer));
    expect(answer).toMatchObject({ outcome: 'complete', items: { written: 60 } });
    expect(sink.objects.size).toBe(60);
    expect(deployed.emulator.output()).not.toContain('Task timed out');
  });

  it('gets on with 128 MB: it lowers its memory limit by itself', async () => {
    await using cloud = await localCloud();
    const { source, sink } = buckets(cloud);
    source.put('2026/large', patternBody(100 * MIB));
    sink.keep = false;
    await using deployed = await deploy(pipelineData(), cloud.environment, { memoryMiB: 128 });
    expect(json(await deployed.emulator.invoke({}))).toMatchObject({ outcome: 'complete' });
    expect(sink.objects.get('raw/large')?.checksums.crc32c).toBe(source.get('2026/large')?.crc32c);
  });

  it('killed at ten random moments, loses nothing and leaves no upload behind', async () => {
    await using cloud = await localCloud();
    const { source, sink } = buckets(cloud);
    const names = Array.from({ length: 160 }, (_, n) => `2026/${String(n).padStart(3, '0')}`);
    for (const [n, name] of names.entries()) source.put(name, patternBody(n % 4 === 0 ? 17 * MIB : 1000 + n));
    sink.keep = false;
    // Slow enough that every kill comes in the middle.
    cloud.s3.faults.add('PUT /lake', { kind: 'delay', ms: 60 }, Number.POSITIVE_INFINITY);
    const environment = { ...cloud.environment, ISTHMUS_LEASE: '1' };
    await using deployed = await deploy(pipelineData({ concurrency: 4 }), environment);
    const { emulator } = deployed;
    let seed = 20_261_125;
    const random = (): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed / 2 ** 31;
    };
    const log: string[] = [];
    for (let kill = 1; kill <= 10; kill++) {
      const after = Math.round(150 + random() * 500);
      // Whoever comes too early is told that the killed run may still be under way.
      let answering = emulator.invoke({});
      for (let tries = 0; tries < 30; tries++) {
        const early = await Promise.race([answering, sleep(after).then(() => undefined)]);
        if (early?.text.includes('Isthmus.busy') !== true) break;
        await sleep(100);
        answering = emulator.invoke({});
      }
      await emulator.kill();
      const { text } = await answering;
      log.push(
        `kill ${kill} after ${after} ms: ${sink.objects.size} of 160 there, ${cloud.s3.pendingUploads()} uploads left; ${text.slice(0, 60)}`,
      );
    }
    expect(sink.objects.size).toBeLessThan(160);
    cloud.s3.faults.clear();
    await sleep(1100);
    let answer = json(await emulator.invoke({}));
    // The last kill may have hit a runtime that had just answered: the emulator tells that death to whoever calls next.
    if (String(answer.errorMessage).includes('signal: killed')) answer = json(await emulator.invoke({}));
    log.push(
      `rerun: ${answer.message ?? answer.errorMessage}; ${sink.objects.size} of 160 there, ${cloud.s3.pendingUploads()} uploads left`,
    );
    process.stdout.write(`${log.join('\n')}\n`);
    expect(answer).toMatchObject({ outcome: 'complete' });
    const { written, unchanged } = answer.items as Record<'written' | 'unchanged', number>;
    expect(written + unchanged).toBe(160);
    const different = names.filter(
      (name) => sink.objects.get(name.replace('2026/', 'raw/'))?.checksums.crc32c !== source.get(name)?.crc32c,
    );
    expect(different).toEqual([]);
    expect(cloud.s3.pendingUploads()).toBe(0);
  }, 120_000);

  it('carries from fake-gcs-server to MinIO', async () => {
    const [from, to] = [await newGcsBucket(), await newS3Bucket()];
    const body = Buffer.alloc(9 * MIB, 'isthmus');
    await from.put('2026/a b/ü.bin', body);
    const data = {
      name: 'compat',
      identities: { nobody: { kind: 'anonymous' } },
      source: { use: 'gcs', with: { bucket: from.name, prefix: '2026/', identity: 'nobody', endpoint: gcsUrl } },
      sink: { use: 's3', with: { bucket: to.name, region: 'us-east-1', endpoint: s3Url, partSize: '5MiB' } },
    };
    const environment = {
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_REGION: 'us-east-1',
    };
    await using deployed = await deploy(data, environment);
    expect(json(await deployed.emulator.invoke({ object: '2026/a b/ü.bin' }))).toMatchObject({
      bytes_transferred: body.length,
    });
    expect((await to.read('a b/ü.bin'))?.equals(body)).toBe(true);
  });
});

describe('the SAM template', () => {
  it.each(Object.keys(PIPELINES))('of a pipeline that is %s passes cfn-lint', async (name) => {
    await using folder = await temporaryFolder();
    const { made } = await packageInto(folder.path, PIPELINES[name] ?? '');
    const { status, stdout, stderr } = spawnSync(needed('COMPAT_CFN_LINT'), [join(made, 'template.yaml')], {
      encoding: 'utf8',
    });
    expect(`${stdout}${stderr}`).toBe('');
    expect(status).toBe(0);
  });

  it('with a state machine passes cfn-lint', async () => {
    await using folder = await temporaryFolder();
    const { made } = await packageInto(folder.path, PIPELINES.full ?? '', '--distributed');
    const linted = spawnSync(needed('COMPAT_CFN_LINT'), [join(made, 'template.yaml')], { encoding: 'utf8' });
    expect(`${linted.stdout}${linted.stderr}`).toBe('');
    expect(linted.status).toBe(0);
  });

  it('with a mistake in it does not', async () => {
    await using folder = await temporaryFolder();
    const { made } = await packageInto(folder.path, PIPELINES.plain ?? '');
    const template = parse(await readFile(join(made, 'template.yaml'), 'utf8'));
    template.Resources.Function.Properties.Runtime = 'nodejs99.x';
    await writeFile(join(made, 'template.yaml'), stringify(template, { version: '1.1' }));
    expect(spawnSync(needed('COMPAT_CFN_LINT'), [join(made, 'template.yaml')]).status).not.toBe(0);
  });
});

describe('the container', () => {
  it.skipIf(process.getuid?.() !== 0)(
    'runs as an unprivileged user, from a folder that it cannot write to (skipped where the test is not root)',
    async () => {
      await using cloud = await localCloud();
      const { source, sink } = buckets(cloud);
      source.put('2026/a.txt', 'one');
      await using folder = await temporaryFolder();
      const { made } = await packageInto(folder.path, stringify(pipelineData()), '--target', 'container');
      const app = join(folder.path, 'app');
      await mkdir(app, { mode: 0o755 });
      for (const name of (await readdir(made)).filter((one) => /^(?:.*\.mjs|pipeline\.yaml)$/.test(one)))
        await writeFile(join(app, name), await readFile(join(made, name)));
      // Where the node of the tests lies, only root may look.
      const node = join(app, 'node');
      await writeFile(node, await readFile(process.execPath), { mode: 0o755 });
      spawnSync('chmod', ['-R', 'a+rX', folder.path]);
      const { stdout } = await promisify(execFile)(node, [join(app, 'index.mjs')], {
        cwd: app,
        uid: 65_532,
        gid: 65_532,
        env: { ...cloud.environment },
      });
      expect(json({ text: stdout.trim().split('\n').at(-1) ?? '' })).toMatchObject({
        outcome: 'complete',
        items: { written: 1 },
      });
      expect(sink.bytes('raw/a.txt')?.toString()).toBe('one');
    },
  );
});
