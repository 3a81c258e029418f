// Runs the reference pipeline with the installed package, multipart upload included: what the compiler makes of the
// sources must work as they do.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { LOCAL_SERVICE_ACCOUNT, localCloud, patternBody } from 'isthmus/testing';

await using cloud = await localCloud();
const bucket = cloud.gcs.bucket('acme-exports', [LOCAL_SERVICE_ACCOUNT]);
bucket.put('2026/small', 'hello');
bucket.put('2026/large', patternBody(40 * 2 ** 20));
const lake = cloud.s3.bucket('acme-lake');
const child = spawn('npx', ['isthmus', 'run', 'pipeline.yaml', '--json'], {
  env: { ...process.env, ...cloud.environment },
  stdio: ['ignore', 'inherit', 'inherit'],
});
const [code] = await once(child, 'close');
const same = ['small', 'large'].every(
  (key) => lake.objects.get(`raw/${key}`)?.checksums.crc32c === bucket.get(`2026/${key}`)?.crc32c,
);
if (code !== 0 || !same || cloud.s3.pendingUploads() !== 0)
  throw new Error(`the build does not carry the pipeline out: exit code ${code}`);
