import type { BigQueryConfig } from './config.ts';

export interface TableName {
  readonly project: string;
  readonly dataset: string;
  readonly table: string;
}

/** `dataset.table` or `project.dataset.table`; the project is that of the jobs where it is left out. */
export function tableName(text: string, project: string): TableName {
  const parts = text.split('.');
  const table = parts.pop() ?? '';
  const dataset = parts.pop() ?? '';
  return { project: parts.length === 0 ? project : parts.join('.'), dataset, table };
}

/** For SQL: names hold no backtick. */
export const quoted = ({ project, dataset, table }: TableName): string => `\`${project}.${dataset}.${table}\``;

export const shown = ({ project, dataset, table }: TableName): string => `${project}.${dataset}.${table}`;

/** What a source is called in reports. */
export function locationOf({ project, table, tables }: BigQueryConfig): string {
  const what = table ?? tables;
  if (what === undefined) return `bigquery://${project}/query`;
  return `bigquery://${shown(tableName(what, project))}`;
}
