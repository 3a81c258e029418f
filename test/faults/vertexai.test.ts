import { expect, it } from 'vitest';
import { vertexCloud } from '../plugins/vertexai-cloud.ts';
import { Crash } from './crash.ts';
import { live } from './live.ts';

const BATCH = {
  batch: { model: '7', input: { gcs: ['gs://acme-ml/in.jsonl'] }, output: { bucket: 'acme-ml' }, wait: '0s' },
};

async function predicted(crash: Crash) {
  await using cloud = await vertexCloud();
  cloud.data.put('in.jsonl', '{"n":1}\n{"n":2}\n{"n":3}\n');
  cloud.vertexai.asksUntilDone = 2;
  const { ends, lake } = await live(cloud, BATCH, crash, '_job.json');
  const keys = [...lake.objects.keys()].sort();
  const left = {
    jobs: cloud.vertexai.jobs.size,
    staged: cloud.staged(),
    uploads: cloud.s3.pendingUploads(),
    files: keys.filter((key) => !key.includes('_job')).map((key) => `${key} ${lake.bytes(key)}`),
    jobFiles: keys.filter((key) => key.includes('_job')).length,
  };
  return { ends, left };
}

it('a process that dies at any step of a batch prediction leaves one job, one bill, and nothing else', async () => {
  const counting = new Crash(Number.POSITIVE_INFINITY, true);
  const whole = await predicted(counting);
  expect(whole.left).toMatchObject({ jobs: 1, staged: [], uploads: 0, jobFiles: 1 });
  const { steps } = counting;
  expect(steps).toBeGreaterThan(20);
  for (let at = 1; at <= steps; at++) {
    for (const carriedOut of [true, false]) {
      const { ends, left } = await predicted(new Crash(at, carriedOut));
      expect({ at, carriedOut, ends, ...left }).toEqual({ at, carriedOut, ends, ...whole.left });
    }
  }
  console.log(`batch prediction: ${steps} steps, ${2 * steps} deaths`);
}, 300_000);
