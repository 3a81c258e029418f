import type { Facts, Logger, StateStore } from '../../core/api/index.ts';
import { CredentialCache } from '../../core/auth/cached.ts';
import type { Report } from '../../core/engine/report.ts';
import { type Job, type RunOptions, run } from '../../core/engine/run.ts';
import { MemoryState } from '../../core/state/memory.ts';
import { bigquery } from '../../plugins/bigquery/index.ts';
import { MemorySink } from '../../plugins/memory/index.ts';
import type { Field, Row } from '../cloud/bigquery/tables.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, localCloud } from '../cloud/local-cloud.ts';
import { job } from '../core/job.ts';
import { pluginContext, SILENT, testRuntime } from '../support.ts';

export const PROJECT = 'acme-data';
export const STAGING = 'acme-staging';

/** Every type that a column can have, but for those that only some formats hold. */
export const FIELDS: readonly Field[] = [
  { name: 'id', type: 'INTEGER', mode: 'REQUIRED' },
  { name: 'select', type: 'STRING' },
  { name: 'price', type: 'NUMERIC' },
  { name: 'exact', type: 'BIGNUMERIC' },
  { name: 'ratio', type: 'FLOAT' },
  { name: 'paid', type: 'BOOLEAN' },
  { name: 'raw', type: 'BYTES' },
  { name: 'day', type: 'DATE' },
  { name: 'at', type: 'TIME' },
  { name: 'local', type: 'DATETIME' },
  { name: 'updated', type: 'TIMESTAMP' },
  { name: 'extra', type: 'JSON' },
  { name: 'place', type: 'GEOGRAPHY' },
];

export const ROWS: readonly Row[] = [
  {
    id: '9007199254740993',
    select: 'a "quoted", text\nover two lines; ünïcödé',
    price: '123456789012345678901234567.123456789',
    exact: '0.00000000000000000000000000000000000001',
    ratio: '0.1',
    paid: 'true',
    raw: 'AP8Q',
    day: '2026-11-24',
    at: '23:59:59.999999',
    local: '2026-11-24T01:02:03.5',
    updated: '1764000000123456',
    extra: '{"a":[1,2,{"b":null}]}',
    place: 'POINT(1 2)',
  },
  {
    id: '-9223372036854775808',
    select: '',
    price: '-0.5',
    exact: '1',
    ratio: '-1.5E300',
    paid: 'false',
    raw: '',
    day: '1999-12-31',
    at: '00:00:00',
    local: '0001-01-01T00:00:00',
    updated: '-1',
    extra: '"text"',
    place: 'POINT(0 0)',
  },
  Object.fromEntries(FIELDS.map(({ name }) => [name, name === 'id' ? '3' : null])),
];

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
