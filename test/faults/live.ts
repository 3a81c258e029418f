import type { Report } from '../../core/engine/report.ts';
import { s3 } from '../../plugins/s3/index.ts';
import type { LocalCloud } from '../cloud/local-cloud.ts';
import type { S3Bucket } from '../cloud/s3-objects.ts';
import type { CarryOptions } from '../plugins/bigquery-cloud.ts';
import { pluginContext } from '../support.ts';
import type { Crash } from './crash.ts';

const RETRY = { attempts: 1, baseDelayMs: 1, maxDelayMs: 1 };
const MEMORY = 64 * 1024 ** 2;
/** So often a run is called again at most. */
const MOST = 8;

type Carrying = LocalCloud & {
  readonly state: NonNullable<CarryOptions['state']>;
  carry(config: object, options: CarryOptions): Promise<{ readonly report: Report }>;
};

export interface Lived {
  /** How each process ended. */
  readonly ends: readonly string[];
  readonly lake: S3Bucket;
}

/**
 * One process after the other, the first of which may die, until the run is complete; each is new, and all that they
 * share is the cloud.
 *
 * @param last a part of the key of what is written last.
 */
export async function live(cloud: Carrying, config: object, crash: Crash, last: string): Promise<Lived> {
  const lake = cloud.s3.bucket('lake', 'eu-west-1');
  const servers = [cloud.bigquery, cloud.vertexai, cloud.gcs, cloud.s3];
  crash.watch(servers);
  let now = Date.now();
  const ends: string[] = [];
  const oneProcess = async (mayDie: boolean): Promise<void> => {
    const context = pluginContext({ endpoints: cloud.endpoints, credentials: cloud.session });
    const sink = s3.create(s3.config.parse({ bucket: 'lake', region: 'eu-west-1' }), context);
    try {
      const { report } = await cloud.carry(config, {
        through: sink,
        state: mayDie ? crash.state(cloud.state) : cloud.state,
        now: () => now,
        job: { retry: RETRY, memory: MEMORY },
        ...(mayDie ? { runtime: { signal: crash.signal } } : {}),
      });
      ends.push(report.error?.code ?? report.outcome);
    } catch {
      ends.push('died');
    } finally {
      await sink[Symbol.asyncDispose]?.();
    }
  };
  const isComplete = (): boolean => ends.at(-1) === 'complete';
  // A process that does not die is paused and called again like any other.
  for (let left = MOST; left > 0 && !isComplete() && !crash.signal.aborted; left--) await oneProcess(true);
  for (const server of servers) server.faults.clear();
  // Whoever says nothing for so long is dead.
  now += 60_000;
  // Whose last step was to take the run off the record had nothing more to do: the next run would be another one.
  const wroteLast = [...lake.objects.keys()].some((key) => key.includes(last));
  const over = wroteLast && (await cloud.state.load('p', { signal: new AbortController().signal })) === undefined;
  for (let left = MOST; left > 0 && !over && !isComplete(); left--) await oneProcess(false);
  return { ends, lake };
}
