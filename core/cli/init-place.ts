import { visible } from '../api/text.ts';

/** A place that `init` was told of. */
export type Place =
  | { readonly use: 'gcs' | 's3'; readonly bucket: string; readonly prefix: string }
  | { readonly use: 'bigquery'; readonly project: string; readonly dataset: string; readonly table: string }
  | { readonly use: 'http'; readonly url: string }
  | { readonly use: 'file'; readonly path: string };

const BUCKET = /^(gs|s3):\/\/([a-z0-9][a-z0-9._-]{1,220})(?:\/(.*))?$/s;
const TABLE = /^bq:\/\/([a-z0-9:.-]+)[./]([A-Za-z0-9_]+)\.([^\s./]+)$/;

/** Reads `gs://bucket/prefix`, `s3://bucket/prefix`, `bq://project.dataset.table`, `https://…`, `./folder`; undefined for anything else. */
export function placeIn(text: string): Place | undefined {
  const bucket = BUCKET.exec(text);
  if (bucket !== null) {
    const [, scheme, name = '', prefix = ''] = bucket;
    // People mean a folder: `2026` would take `2026-old/`, too.
    const folder = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`;
    return { use: scheme === 'gs' ? 'gcs' : 's3', bucket: name, prefix: folder };
  }
  const table = TABLE.exec(text);
  if (table !== null) {
    const [, project = '', dataset = '', name = ''] = table;
    return { use: 'bigquery', project, dataset, table: name };
  }
  if (/^https:\/\/[^/]+\/./.test(text)) return { use: 'http', url: text };
  return /^\.{0,2}\/./.test(text) ? { use: 'file', path: text } : undefined;
}

/** What is wrong with the URL of a bucket, where it is meant as one. */
export function placeProblem(text: string): string | undefined {
  const [, scheme = '', name = ''] = /^([a-z0-9]+):\/\/([^/]*)/i.exec(text) ?? [];
  if (/^(?:gcs|google|storage)$/i.test(scheme)) return `"${visible(text)}": did you mean gs://${visible(name)}/?`;
  if (!/^(?:gs|s3)$/.test(scheme)) return undefined;
  return `"${visible(name)}" is no name of a bucket: 3 to 63 lower-case letters, digits, ".", "-" and "_"`;
}

/** What can be read from, and what can be written to. */
export const FROM =
  'gs://bucket/prefix/, s3://bucket/prefix/, bq://project.dataset.table, https://host/file or ./folder';
export const TO = 's3://bucket/prefix/, gs://bucket/prefix/ or ./folder';
export const isSink = ({ use }: Place): boolean => ['gcs', 's3', 'file'].includes(use);
/** Whether an identity of Google Cloud is needed. */
export const isGoogle = ({ use }: Place): boolean => use === 'gcs' || use === 'bigquery';
