import { BrokerError, type Logger } from '../../core/api/index.ts';
import { ended, unlessMissing } from '../google/ended.ts';
import type { Staging } from '../google/storage/staging.ts';
import type { BigQueryClient, JobInfo } from './client.ts';
import type { BigQueryConfig } from './config.ts';
import { failureOf, isPassing } from './errors.ts';
import type { Export, Unit } from './notes.ts';
import { exportData, extensionOf, queryConfiguration, type Shape, shapeOf } from './sql.ts';

/** Jobs that are begun and not over. */
const AT_ONCE = 50;
/** Jobs that fail for a passing reason are begun anew so often. */
const MOST_ATTEMPTS = 4;

export interface JobsOptions {
  readonly client: BigQueryClient;
  readonly config: BigQueryConfig;
  readonly staging: Staging | undefined;
  readonly pipeline: string;
  readonly log: Logger;
}

/** How far an export is. */
export interface Advanced {
  readonly export: Export;
  /** All its jobs are over, and well. */
  readonly over: boolean;
  /** Why one is over and not well. */
  readonly failed: BrokerError | undefined;
}

/** The jobs of one export: each has an id that says which it is, so that whoever comes again finds it. */
export class Jobs {
  readonly #client: BigQueryClient;
  readonly #config: BigQueryConfig;
  readonly #staging: Staging | undefined;
  readonly #pipeline: string;
  readonly #log: Logger;

  constructor({ client, config, staging, pipeline, log }: JobsOptions) {
    this.#client = client;
    this.#config = config;
    this.#staging = staging;
    this.#pipeline = pipeline;
    this.#log = log;
  }

  /** Rows of a table are read without one. */
  static needed({ engine, sql }: Unit): boolean {
    return engine !== 'rows' || sql !== undefined;
  }

  idOf({ id }: Pick<Export, 'id'>, index: number, attempt: number): string {
    return `isthmus_${this.#pipeline}_${id}_${index}_${attempt}`;
  }

  /** Where the files of a unit lie, below the place of staging; each attempt has a folder of its own. */
  static folder({ id }: Pick<Export, 'id'>, index: number, attempt: number): string {
    return `${id}/${index}-${attempt}/`;
  }

  shape({ engine }: Unit): Shape {
    return shapeOf(this.#config, engine === 'rows');
  }

  /**
   * Begins what is not begun, looks at what is, and writes down what is over. A job that failed for good is written
   * down too: its failure is told once, and the next run begins another.
   */
  async advance(current: Export, signal: AbortSignal): Promise<Advanced> {
    const units = [...(current.units ?? [])];
    const open = [...units.entries()].filter(([, unit]) => unit.result === undefined).slice(0, AT_ONCE);
    let failed: BrokerError | undefined;
    await Promise.all(
      open.map(async ([index, unit]) => {
        if (!Jobs.needed(unit)) {
          units[index] = { ...unit, result: {} };
          return;
        }
        const job = await this.#look(current, index, unit, signal);
        if (job.status.state !== 'DONE') return;
        const ended = this.#ended(current, index, unit, job);
        units[index] = ended instanceof BrokerError ? { ...unit, told: true } : ended;
        if (ended instanceof BrokerError) failed ??= ended;
      }),
    );
    return { export: { ...current, units }, over: units.every(({ result }) => result !== undefined), failed };
  }

  /** The job of a unit, begun if it was not. Asking first costs a request; beginning what is there costs none more. */
  async #look(current: Export, index: number, unit: Unit, signal: AbortSignal): Promise<JobInfo> {
    const { location = 'US' } = current;
    const id = this.idOf(current, index, unit.attempt);
    if (this.#begun.has(id)) {
      const found = await this.#client.job(id, location, signal).catch(unlessMissing);
      if (found !== undefined) return found;
    }
    const { job } = await this.#client.insert(id, location, this.#configuration(current, index, unit), signal);
    this.#begun.add(id);
    return job;
  }

  /** Those that this process has seen. */
  readonly #begun = new Set<string>();

  #ended(current: Export, index: number, unit: Unit, { status, statistics }: JobInfo): Unit | BrokerError {
    const id = this.idOf(current, index, unit.attempt);
    const { errorResult } = status;
    const filtered = isFiltered(statistics) && !this.#config.allowFiltered;
    const passing = errorResult !== undefined && isPassing(errorResult) && unit.attempt + 1 < MOST_ATTEMPTS;
    // What was told already was looked at by somebody: another job shows whether it is mended.
    if ((errorResult !== undefined || filtered) && (unit.told === true || passing)) {
      this.#log.info('a job is begun anew', { job: id, reason: errorResult?.reason ?? 'rows were filtered' });
      const { told: _, ...rest } = unit;
      return { ...rest, attempt: unit.attempt + 1 };
    }
    if (errorResult !== undefined) return failureOf(`job ${id} (${unit.label})`, errorResult);
    if (filtered)
      return new BrokerError('rows_filtered', `${unit.label}: a row access policy or a mask was applied in job ${id}`);
    const { query, extract, totalBytesProcessed } = statistics;
    const files = extract?.destinationUriFileCounts[0] ?? query?.exportDataStatistics?.fileCount;
    const rows = query?.exportDataStatistics?.rowCount;
    const bytesProcessed = extract?.inputBytes ?? query?.totalBytesProcessed ?? totalBytesProcessed;
    const result = {
      ...(files === undefined ? {} : { files }),
      ...(rows === undefined ? {} : { rows }),
      ...(bytesProcessed === undefined ? {} : { bytesProcessed }),
      ...(query?.totalBytesBilled === undefined ? {} : { bytesBilled: query.totalBytesBilled }),
    };
    return { ...unit, result };
  }

  #configuration(current: Export, index: number, unit: Unit): Readonly<Record<string, unknown>> {
    const { labels, jobTimeout } = this.#config;
    const common = {
      labels: { ...labels, 'isthmus-pipeline': this.#pipeline },
      ...(jobTimeout === undefined ? {} : { jobTimeoutMs: String(jobTimeout) }),
    };
    const { sql = '', parameters = [] } = unit;
    if (unit.engine === 'rows') return { ...common, query: queryConfiguration(sql, parameters, this.#config) };
    const shape = this.shape(unit);
    const folder = Jobs.folder(current, index, unit.attempt);
    const uri = this.#staging?.url(`${folder}part-*${extensionOf(shape)}`) ?? '';
    if (unit.engine === 'export') {
      return { ...common, query: queryConfiguration(exportData(sql, uri, shape), parameters, this.#config) };
    }
    const { project = '', dataset = '', table = '' } = unit.table ?? {};
    const partition = unit.partition === undefined ? '' : `$${unit.partition}`;
    return {
      ...common,
      // Source: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationExtract
      extract: {
        sourceTable: { projectId: project, datasetId: dataset, tableId: `${table}${partition}` },
        destinationUris: [uri],
        destinationFormat: shape.format === 'json' ? 'NEWLINE_DELIMITED_JSON' : shape.format.toUpperCase(),
        compression: shape.compression.toUpperCase(),
        ...(shape.format === 'csv' ? { fieldDelimiter: shape.delimiter, printHeader: shape.header } : {}),
        ...(shape.format === 'avro' ? { useAvroLogicalTypes: shape.logicalTypes } : {}),
      },
    };
  }

  /**
   * Ends the jobs that are under way, and waits until they write no more.
   *
   * @throws BrokerError `pending` when one takes longer than the signal or the patience allow.
   */
  async end(current: Export, signal: AbortSignal): Promise<void> {
    const { location = 'US', units = [] } = current;
    const open = [...units.entries()].filter(([, unit]) => unit.result === undefined && Jobs.needed(unit));
    await Promise.all(
      open.map(async ([index, { attempt }]) => {
        const id = this.idOf(current, index, attempt);
        const isOver = async (): Promise<boolean> => {
          const job = await this.#client.job(id, location, signal).catch(unlessMissing);
          return job === undefined || job.status.state === 'DONE';
        };
        const cancel = (): Promise<unknown> => this.#client.cancel(id, location, signal).catch(unlessMissing);
        await ended({ name: `job ${id}`, isOver, cancel }, signal);
      }),
    );
  }
}

const isFiltered = ({ rowLevelSecurityStatistics, dataMaskingStatistics }: JobInfo['statistics']): boolean =>
  rowLevelSecurityStatistics?.rowLevelSecurityApplied === true || dataMaskingStatistics?.dataMaskingApplied === true;
