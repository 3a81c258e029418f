import { defineSource, type Grant } from '../../core/api/index.ts';
import { type BigQueryConfig, bigqueryConfig } from './config.ts';
import { tableName } from './names.ts';
import { TUNING } from './notes.ts';
import { BigQuerySource } from './source.ts';

function grantsOf({ identity, project, table, tables, staging }: BigQueryConfig): Grant[] {
  const base = { cloud: 'gcp', identity } as const;
  const named = table ?? tables;
  const name = named === undefined ? undefined : tableName(named, project);
  return [
    { ...base, role: 'roles/bigquery.jobUser', on: { project }, reason: `run jobs in ${project}` },
    {
      ...base,
      role: 'roles/bigquery.dataViewer',
      // What a query reads only its author knows.
      on: name === undefined ? { project } : { project: name.project, dataset: name.dataset },
      reason:
        name === undefined
          ? `read what the query reads in ${project}`
          : `read and export ${name.project}.${name.dataset}`,
    },
    ...(staging === undefined
      ? []
      : [
          {
            ...base,
            role: 'roles/storage.objectUser',
            on: { bucket: staging.bucket, prefix: staging.prefix },
            reason: `write, read and delete files on their way in gs://${staging.bucket}/${staging.prefix}`,
          },
          {
            ...base,
            role: 'roles/storage.bucketViewer',
            on: { bucket: staging.bucket, prefix: '' },
            reason: `see where gs://${staging.bucket} is`,
          },
        ]),
  ];
}

export const bigquery = defineSource({
  name: 'bigquery',
  summary: 'Tables, partitions and query results of BigQuery as Parquet, Avro, JSON or CSV files, with a manifest.',
  config: bigqueryConfig,
  identities: ['gcp'],
  waits: true,
  tuning: TUNING,
  remembers: ({ incremental }) => incremental && 'incremental',
  grants: grantsOf,
  create: (config, context) => new BigQuerySource(config, context),
});
