import { describe, expect, it } from 'vitest';
import { s3 } from '../../plugins/s3/index.ts';
import { crc32c } from '../cloud/body.ts';
import { bigQueryCloud, PROJECT, STAGING } from '../plugins/bigquery-cloud.ts';
import { pluginContext } from '../support.ts';
import { Crash } from './crash.ts';

const RETRY = { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 };
const staging = { bucket: STAGING };
const MODES = {
  'extract job': { table: 'sales.orders', staging, format: 'json' },
  'EXPORT DATA': { query: `SELECT * FROM \`${PROJECT}.sales.orders\``, staging, format: 'csv' },
  rows: { query: `SELECT * FROM \`${PROJECT}.sales.orders\`` },
} as const;

/** One process after the other, the first of which may die; until the export is complete. */
async function live(config: object, crash: Crash) {
  await using cloud = await bigQueryCloud();
  cloud.bigquery.rowsPerFile = 1;
  cloud.bigquery.asksUntilDone = 2;
  const lake = cloud.s3.bucket('lake', 'eu-west-1');
  const sinkOf = () => {
    const context = pluginContext({ endpoints: cloud.endpoints, credentials: cloud.session });
    return s3.create(s3.config.parse({ bucket: 'lake', region: 'eu-west-1' }), context);
  };
  crash.watch([cloud.bigquery, cloud.gcs, cloud.s3]);
  let now = Date.now();
  const ends: string[] = [];
  const process = async (first: boolean): Promise<boolean> => {
    const sink = sinkOf();
    const invocation = cloud.carry(config, {
      through: sink,
      state: first ? crash.state(cloud.state) : cloud.state,
      now: () => now,
      job: { retry: RETRY, memory: 64 * 1024 ** 2 },
      ...(first ? { runtime: { signal: crash.signal } } : {}),
    });
    try {
      const { report } = await invocation;
      ends.push(report.error?.code ?? report.outcome);
      return report.outcome === 'complete';
    } catch {
      ends.push('died');
      return false;
    } finally {
      await sink[Symbol.asyncDispose]?.();
    }
  };
  // A process that does not die is paused and called again like any other.
  for (let left = 8; left > 0 && !crash.signal.aborted; left--) if (await process(true)) break;
  for (const server of [cloud.bigquery, cloud.gcs, cloud.s3]) server.faults.clear();
  // Whoever says nothing for so long is dead.
  now += 60_000;
  const manifestOf = (): string => [...lake.objects.keys()].find((key) => key.includes('manifest')) ?? '';
  // Whose last step was to take the run off the record had nothing more to do: the next run would be another one.
  const over = manifestOf() !== '' && (await cloud.state.load('p')) === undefined;
  for (let left = 8; left > 0 && !over && ends.at(-1) !== 'complete'; left--) await process(false);
  const files = [...lake.objects.keys()].sort();
  const manifest = manifestOf();
  return {
    ends,
    jobs: cloud.bigquery.jobs.size,
    staged: cloud.staged(),
    uploads: cloud.s3.pendingUploads(),
    manifests: files.filter((key) => key.includes('manifest')).length,
    files: files.filter((key) => !key.includes('manifest')).map((key) => `${key.split('/')[1]} ${lake.bytes(key)}`),
    proved: (JSON.parse(String(lake.bytes(manifest))) as { files: { key: string; crc32c: string }[] }).files.every(
      ({ key, crc32c: sum }) => crc32c(lake.bytes(key) ?? Buffer.alloc(0)) === sum,
    ),
  };
}

describe('a process that dies at any step of an export', () => {
  it.each(Object.entries(MODES))(
    'by %s: one job, one bill, nothing lost, nothing left behind',
    async (name, config) => {
      const counting = new Crash(Number.POSITIVE_INFINITY, true);
      const whole = await live(config, counting);
      const { steps } = counting;
      expect(whole).toMatchObject({ jobs: 1, staged: 0, uploads: 0, manifests: 1, proved: true });
      expect(steps).toBeGreaterThan(20);
      for (let at = 1; at <= steps; at++) {
        for (const carriedOut of [true, false]) {
          const { ends, ...left } = await live(config, new Crash(at, carriedOut));
          const { ends: _, ...expected } = whole;
          expect({ at, carriedOut, ends, ...left }).toEqual({ at, carriedOut, ends, ...expected });
        }
      }
      console.log(`${name}: ${steps} steps, ${2 * steps} deaths`);
    },
    300_000,
  );
});
