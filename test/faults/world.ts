import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compose } from '../../config/composition.ts';
import { tokens } from '../../config/tokens.ts';
import type { AuthStep } from '../../core/auth/steps.ts';
import type { Receipt } from '../../core/engine/receipt.ts';
import type { Report } from '../../core/engine/report.ts';
import { run } from '../../core/engine/run.ts';
import type { RunOptions } from '../../core/engine/run-options.ts';
import type { OpenJob } from '../../core/runtime/job.ts';
import { jsonLogger } from '../../core/runtime/logger.ts';
import type { GcsBucket } from '../cloud/gcs-objects.ts';
import { LOCAL_AUDIENCE, LOCAL_SERVICE_ACCOUNT, type LocalCloud, localCloud } from '../cloud/local-cloud.ts';
import type { S3Bucket } from '../cloud/s3-objects.ts';
import { searchForLeaks, searchValue } from '../leaks.ts';
import { temporaryFolder, testRuntime } from '../support.ts';

export interface CarryOptions {
  /** Of the sink and the source. */
  readonly sink?: object;
  readonly source?: object;
  /** Of the top of the pipeline. */
  readonly top?: object;
  /** Another address of S3. */
  readonly s3?: string;
  readonly runtime?: Parameters<typeof testRuntime>[0];
  readonly run?: Partial<RunOptions>;
  /** Something that lies between the run and what it was opened with. */
  readonly through?: (open: OpenJob) => OpenJob['job'];
}

export interface World extends AsyncDisposable {
  readonly cloud: LocalCloud;
  readonly bucket: GcsBucket;
  readonly lake: S3Bucket;
  readonly folder: string;
  /** What was logged by the last run. */
  readonly lines: string[];
  /** Writes the pipeline file. */
  write(options?: CarryOptions): Promise<string>;
  /** Runs the pipeline GCS → S3 once, in this process. */
  carry(options?: CarryOptions): Promise<Report>;
}

/** The local cloud with a bucket to read, one to write, and one for the state. */
export async function world(): Promise<World> {
  const cloud = await localCloud();
  const folder = await temporaryFolder();
  const bucket = cloud.gcs.bucket('exports', [LOCAL_SERVICE_ACCOUNT]);
  const lake = cloud.s3.bucket('lake');
  cloud.s3.bucket('state');
  Object.assign(process.env, cloud.environment);
  const lines: string[] = [];
  const write = async ({ sink = {}, source = {}, top = {} }: CarryOptions = {}): Promise<string> => {
    const file = join(folder.path, 'pipeline.yaml');
    const spec = {
      name: 'faults',
      identities: { reader: { kind: 'gcp', audience: LOCAL_AUDIENCE, serviceAccount: LOCAL_SERVICE_ACCOUNT } },
      source: { use: 'gcs', with: { bucket: 'exports', identity: 'reader', ...source } },
      sink: { use: 's3', with: { bucket: 'lake', region: 'eu-west-1', partSize: '5MiB', ...sink } },
      retry: { attempts: 3, baseDelay: '1ms', maxDelay: '5ms' },
      ...top,
    };
    await writeFile(file, JSON.stringify(spec));
    return file;
  };
  return {
    cloud,
    bucket,
    lake,
    folder: folder.path,
    lines,
    write,
    async carry(options = {}) {
      const { s3 = cloud.endpoints.s3, runtime, run: more, through = ({ job }) => job } = options;
      const file = await write(options);
      const environment = { ...cloud.environment, ISTHMUS_ENDPOINTS: JSON.stringify({ ...cloud.endpoints, s3 }) };
      lines.length = 0;
      const log = jsonLogger((line) => lines.push(line), Date.now, 'debug');
      const onAuth = ({ step, detail }: AuthStep): void => log.debug('auth', { step, detail });
      await using open = await compose(environment).get(tokens.jobs).open(file, { log, now: Date.now, onAuth });
      const receipt = ({ failure, ...rest }: Receipt): void => log.info('item', { key: rest.key, ...failure });
      const report = await run(through(open), {
        runtime: testRuntime({ log, ...runtime }),
        observer: { receipt },
        ...more,
      });
      searchForLeaks('log of a run', lines.join('\n'));
      searchValue('report', report);
      return report;
    },
    async [Symbol.asyncDispose]() {
      await folder[Symbol.asyncDispose]();
      await cloud[Symbol.asyncDispose]();
    },
  };
}

/** State that outlives a process. */
export const LASTING = { state: { use: 's3', with: { bucket: 'state', region: 'eu-west-1' } } };
