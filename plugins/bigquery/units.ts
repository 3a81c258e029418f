import { BrokerError, compareKeys, compileGlob, type Logger } from '../../core/api/index.ts';
import type { BigQueryClient } from './client.ts';
import type { BigQueryConfig } from './config.ts';
import { engineFor, isStored } from './engine.ts';
import { quoted, shown, type TableName, tableName } from './names.ts';
import { newsOf, unitOfNews } from './news.ts';
import type { Bookmark, Unit } from './notes.ts';
import { partitionsOf } from './partitions.ts';
import { checkFormat } from './schema.ts';
import type { Select } from './select.ts';
import { nested, parametersOf, queryConfiguration, shapeOf } from './sql.ts';

const MOST_UNITS = 4000;

/** What there is to export, and where the data are. */
export interface Planned {
  readonly location: string;
  readonly units: readonly Unit[];
  readonly until?: Bookmark;
  /** Worth telling: what is left out, or may be missing. */
  readonly told: Readonly<Record<string, string | number>>;
}

export interface PlanOptions {
  readonly config: BigQueryConfig;
  readonly client: BigQueryClient;
  readonly select: Select;
  readonly bookmark: Bookmark | undefined;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly log: Logger;
  /** Nothing that is billed is asked: what is new counts as everything above the bookmark. */
  readonly estimates: boolean;
  readonly signal: AbortSignal;
}

/** Works out what there is to export; begins nothing that is billed but the search for what is new. */
export async function planUnits(options: PlanOptions): Promise<Planned> {
  const { config } = options;
  const planned = config.query === undefined ? await ofTables(options) : await ofQuery(options, config.query);
  const folders = new Set(planned.units.map(({ folder }) => folder));
  if (folders.size < planned.units.length) {
    throw new BrokerError('invalid_config', `folder "${config.folder}" is the same for several tables or partitions`, {
      hint: 'Put {table} and {partition} into it.',
    });
  }
  // By what their keys begin with, files included.
  const units = [...planned.units].sort((a, b) => compareKeys(`${a.folder}part-`, `${b.folder}part-`));
  return { ...planned, units };
}

async function ofQuery(
  { config, client, select, bookmark, startedAt, estimates, signal }: PlanOptions,
  query: string,
): Promise<Planned> {
  const parameters = parametersOf(config.parameters);
  const looked = await client.dryRun(queryConfiguration(query, parameters, config), config.location, signal);
  const { statementType = 'SELECT', schema } = looked.statistics.query ?? {};
  if (statementType !== 'SELECT') {
    throw new BrokerError('invalid_config', `the query is a ${statementType} statement`, {
      hint: 'A source only reads: write a SELECT.',
    });
  }
  const location = config.location ?? looked.jobReference.location ?? 'US';
  const columns = schema?.fields ?? [];
  const engine = engineFor('query', 'QUERY', undefined, config);
  const { format, compression } = shapeOf(config, engine === 'rows');
  checkFormat('the query', columns, format, compression);
  const base = { folder: folderOf(config, startedAt, {}), label: 'query', engine, attempt: 0 };
  if (config.incremental?.by !== 'column') return { location, units: [{ ...base, sql: query, parameters }], told: {} };
  const from = nested(query);
  const news = await newsOf(
    { from, columns, parameters, bookmark, location, estimates, lag: config.incremental.lag },
    config.incremental.column,
    select,
  );
  return { location, told: news.told, ...unitOfNews(base, news, estimates) };
}

async function ofTables(options: PlanOptions): Promise<Planned> {
  const { config, client, bookmark, startedAt, log, estimates, signal } = options;
  const named = tableName(config.table ?? config.tables ?? '', config.project);
  const { names, leftOut } =
    config.table === undefined ? await matching(named, client, signal) : { names: [named], leftOut: 0 };
  const told: Record<string, string | number> = leftOut === 0 ? {} : { viewsLeftOut: leftOut };
  const changed: Record<string, number> =
    bookmark !== undefined && 'changed' in bookmark ? { ...bookmark.changed } : {};
  let until: Bookmark | undefined;
  let location = config.location;
  const units: Unit[] = [];
  for (const name of names) {
    const info = await client.table(name, signal);
    location ??= info.location;
    const label = shown(name);
    const waiting = info.streamingBuffer?.estimatedRows ?? 0;
    if (waiting > 0) {
      log.warn('rows are in the streaming buffer', { table: label, rows: waiting });
      told.rowsInStreamingBuffer = Number(told.rowsInStreamingBuffer ?? 0) + waiting;
    }
    const engine = engineFor(label, info.type, info.numBytes, config);
    const { format, compression } = shapeOf(config, engine === 'rows');
    const columns = info.schema?.fields ?? [];
    checkFormat(label, columns, format, compression);
    const modified = info.lastModifiedTime === undefined ? {} : { modified: info.lastModifiedTime };
    const base = { label, table: name, attempt: 0, ...(isStored(info.type) ? modified : {}) };
    const inFolder = (partition: string | undefined): string =>
      folderOf(config, startedAt, { table: name.table, partition });

    if (config.incremental?.by === 'column') {
      const { column: by, lag } = config.incremental;
      const news = await newsOf(
        { from: quoted(name), columns, parameters: [], bookmark, location: info.location, estimates, lag },
        by,
        options.select,
      );
      Object.assign(told, news.told);
      const { units: found, until: next } = unitOfNews(
        { folder: inFolder(undefined), label, engine: engine === 'extract' ? 'export' : engine, attempt: 0 },
        news,
        estimates,
      );
      units.push(...found);
      until = next ?? until;
      continue;
    }
    if (config.incremental?.by === 'change') {
      // That of a view is when its definition changed, and says nothing about its rows.
      if (!isStored(info.type)) throw notStored(label, info.type);
      const last = info.lastModifiedTime ?? 0;
      if (last <= (changed[label] ?? -1)) continue;
      changed[label] = last;
    }
    const chosen = await partitionsOf(name, info, changed[label], config, options.select);
    if (chosen === undefined) units.push(tableUnit({ ...base, engine, folder: inFolder(undefined) }, name, config));
    for (const partition of chosen?.ids ?? []) {
      if (engine === 'export') throw cannotPart(label, info.type);
      units.push({ ...base, engine, partition, folder: inFolder(partition), label: `${label}$${partition}` });
    }
    if (chosen?.newest !== undefined) changed[label] = chosen.newest;
  }
  if (units.length > MOST_UNITS) {
    throw new BrokerError('invalid_config', `${units.length} tables or partitions at once, more than ${MOST_UNITS}`, {
      hint: 'Narrow tables or partitions, or make several pipelines.',
    });
  }
  const by = config.incremental?.by;
  const next: Bookmark | undefined = by === 'change' || by === 'partition' ? { changed } : until;
  return { location: location ?? 'US', units, told, ...(next === undefined ? {} : { until: next }) };
}

const notStored = (label: string, type: string): BrokerError =>
  new BrokerError('invalid_config', `${label} is a ${type}: when it changed does not say whether its rows did`, {
    hint: 'Set incremental by column, or leave it out.',
  });

const cannotPart = (label: string, type: string): BrokerError =>
  new BrokerError('invalid_config', `${label} is a ${type}: it has no partitions that can be named`, {
    hint: 'Select what you want with a query, or leave partitions out.',
  });

/** A table as a whole; as a query where only a query can read it. */
function tableUnit(base: Omit<Unit, 'sql'>, name: TableName, { asOf }: BigQueryConfig): Unit {
  if (base.engine === 'extract' || (base.engine === 'rows' && asOf === undefined && base.modified !== undefined))
    return base;
  const then = asOf === undefined ? '' : ' FOR SYSTEM_TIME AS OF @isthmus_as_of';
  const parameters = asOf === undefined ? [] : [{ name: 'isthmus_as_of', type: 'TIMESTAMP', value: asOf }];
  return { ...base, sql: `SELECT * FROM ${quoted(name)}${then}`, parameters };
}

async function matching(named: TableName, client: BigQueryClient, signal: AbortSignal) {
  const { project, dataset } = named;
  const matches = compileGlob(named.table);
  const names: TableName[] = [];
  let leftOut = 0;
  for await (const { id, type } of client.tables(project, dataset, signal)) {
    if (!matches(id)) continue;
    if (type === 'TABLE' || type === 'SNAPSHOT') names.push({ project, dataset, table: id });
    else leftOut++;
  }
  if (names.length === 0) {
    const views = leftOut === 0 ? '' : `, only ${leftOut} views and external tables`;
    throw new BrokerError('invalid_config', `no table of ${project}.${dataset} matches ${named.table}${views}`, {
      hint: 'Correct tables in the source.',
    });
  }
  return { names, leftOut };
}

/** `20261125T030000123Z`, as in names of files. */
const compact = (time: string): string => time.replace(/[-:.]/g, '');

interface Names {
  readonly table?: string | undefined;
  readonly partition?: string | undefined;
}

function folderOf(
  { folder, partitions, incremental, tables }: BigQueryConfig,
  startedAt: string,
  names: Names,
): string {
  const parted = partitions !== undefined || incremental?.by === 'partition';
  const usual = `${tables === undefined ? '' : '{table}/'}${parted ? '{partition}/' : ''}{time}/`;
  const time = compact(startedAt);
  return (folder ?? usual).replace(/\{(\w+)\}/g, (_, name: string) => {
    if (name === 'time') return time;
    if (name === 'date') return startedAt.slice(0, 10);
    return (name === 'table' ? names.table : names.partition) ?? '';
  });
}
