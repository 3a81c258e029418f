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
// The same, by the handler that `isthmus package` has made of the build.
Object.assign(process.env, cloud.environment);
const { handler } = await import('./dist/nightly-exports/index.mjs');
const context = {
  awsRequestId: 'smoke',
  invokedFunctionArn: 'arn:aws:lambda:eu-west-1:111122223333:function:isthmus-nightly-exports',
  getRemainingTimeInMillis: () => 60_000,
};
const answer = await handler({}, context);
if (answer.outcome !== 'complete' || lake.objects.size !== 2) throw new Error(JSON.stringify(answer));
for (const key of [...lake.objects.keys()]) lake.remove(key);

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
