import { describe, expect, it } from 'vitest';
import { crc32c } from '../cloud/body.ts';
import { bigQueryCloud, PROJECT, STAGING } from '../plugins/bigquery-cloud.ts';
import { Crash } from './crash.ts';
import { live } from './live.ts';

const staging = { bucket: STAGING };
const MODES = {
  'extract job': { table: 'sales.orders', staging, format: 'json' },
  'EXPORT DATA': { query: `SELECT * FROM \`${PROJECT}.sales.orders\``, staging, format: 'csv' },
  rows: { query: `SELECT * FROM \`${PROJECT}.sales.orders\`` },
} as const;

async function exported(config: object, crash: Crash) {
  await using cloud = await bigQueryCloud();
  cloud.bigquery.rowsPerFile = 1;
  cloud.bigquery.asksUntilDone = 2;
  const { ends, lake } = await live(cloud, config, crash, '_manifest');
  const keys = [...lake.objects.keys()].sort();
  const manifests = keys.filter((key) => key.includes('_manifest'));
  const { files } = JSON.parse(String(lake.bytes(manifests[0] ?? ''))) as { files: { key: string; crc32c: string }[] };
  const left = {
    jobs: cloud.bigquery.jobs.size,
    staged: cloud.staged(),
    uploads: cloud.s3.pendingUploads(),
    manifests: manifests.length,
    files: keys.filter((key) => !key.includes('_manifest')).map((key) => `${key.split('/')[1]} ${lake.bytes(key)}`),
    proved: files.every(({ key, crc32c: sum }) => crc32c(lake.bytes(key) ?? Buffer.alloc(0)) === sum),
  };
  return { ends, left };
}

describe('a process that dies at any step of an export', () => {
  it.each(Object.entries(MODES))(
    'by %s: one job, one bill, nothing lost, nothing left behind',
    async (name, config) => {
      const counting = new Crash(Number.POSITIVE_INFINITY, true);
      const whole = await exported(config, counting);
      expect(whole.left).toMatchObject({ jobs: 1, staged: 0, uploads: 0, manifests: 1, proved: true });
      const { steps } = counting;
      expect(steps).toBeGreaterThan(20);
      for (let at = 1; at <= steps; at++) {
        for (const carriedOut of [true, false]) {
          const { ends, left } = await exported(config, new Crash(at, carriedOut));
          expect({ at, carriedOut, ends, ...left }).toEqual({ at, carriedOut, ends, ...whole.left });
        }
      }
      console.log(`${name}: ${steps} steps, ${2 * steps} deaths`);
    },
    300_000,
  );
});
