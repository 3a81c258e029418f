/** `npm run test:compat`: builds, starts and stops the servers, and runs the suites against them. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import {
  install,
  installCfnLint,
  installReaders,
  installRuntimeClient,
  installStepFunctions,
  startServer,
} from './servers.ts';

const root = join(import.meta.dirname, '../..');
const KEYS = { MINIO_ROOT_USER: 'compat-user', MINIO_ROOT_PASSWORD: 'compat-password' };

async function main(): Promise<number> {
  const programs = install();
  const [runtimeClient, cfnLint, readers] = [installRuntimeClient(), installCfnLint(), installReaders()];
  const stepFunctions = installStepFunctions();
  const data = await mkdtemp(join(tmpdir(), 'isthmus-compat-'));
  try {
    await using minio = await startServer(
      programs.minio,
      (port) => ['server', join(data, 's3'), '--address', `127.0.0.1:${port}`, '--quiet'],
      KEYS,
    );
    await using gcs = await startServer(programs['fake-gcs-server'], (port) => [
      '-scheme',
      'http',
      '-host',
      '127.0.0.1',
      '-port',
      String(port),
      '-backend',
      'memory',
      '-public-host',
      `127.0.0.1:${port}`,
    ]);
    const { status } = spawnSync(
      process.execPath,
      [
        join(root, 'node_modules/vitest/vitest.mjs'),
        'run',
        '--config',
        'test/compat/vitest.config.ts',
        ...process.argv.slice(2),
      ],
      {
        cwd: root,
        stdio: 'inherit',
        env: {
          ...process.env,
          COMPAT_S3: minio.url,
          COMPAT_GCS: gcs.url,
          COMPAT_RIE: programs['aws-lambda-rie'],
          COMPAT_RIC: runtimeClient,
          COMPAT_CFN_LINT: cfnLint,
          COMPAT_READERS: readers,
          COMPAT_STEP_FUNCTIONS: stepFunctions,
          AWS_ACCESS_KEY_ID: KEYS.MINIO_ROOT_USER,
          AWS_SECRET_ACCESS_KEY: KEYS.MINIO_ROOT_PASSWORD,
          AWS_REGION: 'us-east-1',
        },
      },
    );
    return status ?? 1;
  } finally {
    await rm(data, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`test:compat: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
