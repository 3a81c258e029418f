import type { Facts, Logger, StateStore } from '../../core/api/index.ts';
import { CredentialCache } from '../../core/auth/cached.ts';
import type { Job } from '../../core/engine/job.ts';
import type { Report } from '../../core/engine/report.ts';
import { run } from '../../core/engine/run.ts';
import type { RunOptions } from '../../core/engine/run-options.ts';
import { MemoryState } from '../../core/state/memory.ts';
import { bigquery } from '../../plugins/bigquery/index.ts';
import { MemorySink } from '../../plugins/memory/index.ts';
import { FIELDS, ROWS } from '../cloud/bigquery/rows.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, localCloud } from '../cloud/local-cloud.ts';
import { job } from '../core/job.ts';
import { pluginContext, SILENT, testRuntime } from '../support.ts';

export const PROJECT = 'acme-data';
export const STAGING = 'acme-staging';

export { FIELDS, ROWS };

/** A project with one dataset, a staging bucket, and an identity that may use both. */
export async function bigQueryCloud() {
  const cloud = await localCloud();
  cloud.bigquery.users.add(LOCAL_SERVICE_ACCOUNT);
  const staging = cloud.gcs.bucket(STAGING, [LOCAL_SERVICE_ACCOUNT], [LOCAL_SERVICE_ACCOUNT]);
  const sales = cloud.bigquery.dataset(PROJECT, 'sales', 'EU');
  sales.table('orders', { fields: FIELDS, rows: ROWS });
  const state = new MemoryState();
  const cache = new CredentialCache(Date.now);
  const context = (now: () => number, log: Logger) => ({
    ...pluginContext({
      endpoints: cloud.endpoints,
      credentials: cloud.session,
      identities: { reader: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } },
      cache,
      now,
    }),
    log,
  });
  const source = (config: object, now = Date.now, log: Logger = SILENT) =>
    bigquery.create(
      bigquery.config.parse({ identity: 'reader', project: PROJECT, wait: '0s', ...config }),
      context(now, log),
    );
  return {
    ...cloud,
    staging,
    sales,
    state,
    source,
    /** Objects that are on their way. */
    staged: (): number => [...staging.from('')].length,
    /** Jobs that were begun, by their kind. */
    jobs: (kind: 'EXTRACT' | 'QUERY') => [...cloud.bigquery.jobs.values()].filter((one) => one.kind === kind),
    /** Carries everything into a sink, as a process that then ends. */
    async carry(config: object, options: CarryOptions = {}) {
      const {
        now = Date.now,
        log = SILENT,
        sink = new MemorySink(),
        runtime = {},
        lasts = 'anywhere',
        ...rest
      } = options;
      const made = source(config, now, log);
      await using _closing = { [Symbol.asyncDispose]: async () => made[Symbol.asyncDispose]?.() };
      const given: Job = job({
        sources: [made],
        sinks: [options.through ?? sink],
        state: options.state ?? state,
        lasts,
        ...options.job,
      });
      const report = await run(given, { runtime: testRuntime({ now, ...runtime }), ...rest });
      return {
        report,
        sink,
        facts: factsOf(report),
        keys: [...sink.objects.keys()].sort(),
        text: (key: string) => sink.objects.get(key)?.bytes.toString() ?? '',
      };
    },
  };
}

export interface CarryOptions extends Omit<Partial<RunOptions>, 'runtime'> {
  readonly now?: () => number;
  readonly log?: Logger;
  readonly sink?: MemorySink;
  readonly through?: Job['sinks'][number];
  readonly state?: StateStore;
  readonly lasts?: Job['lasts'];
  readonly runtime?: Partial<RunOptions['runtime']>;
  readonly job?: Partial<Job>;
}

const factsOf = ({ details }: Report): Facts => details?.[0]?.facts ?? {};
