import { BrokerError, z } from '../../core/api/index.ts';
import { COMPRESSIONS } from './check-options.ts';
import type { Format } from './config.ts';

/** A column, as the API tells it. Source: https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#TableFieldSchema */
export interface SchemaField {
  readonly name: string;
  /** In the names of the API: INTEGER, FLOAT, BOOLEAN, RECORD. */
  readonly type: string;
  readonly mode: string;
  readonly fields?: readonly SchemaField[] | undefined;
}
export type Schema = readonly SchemaField[];

export const schemaField: z.ZodType<SchemaField> = z.lazy(() =>
  z.object({
    name: z.string(),
    type: z.string().transform((type) => LEGACY[type] ?? type),
    mode: z.string().default('NULLABLE'),
    fields: z.array(schemaField).optional(),
  }),
);

/** GoogleSQL's names, where an answer has those. */
const LEGACY: Readonly<Record<string, string>> = {
  INT64: 'INTEGER',
  FLOAT64: 'FLOAT',
  BOOL: 'BOOLEAN',
  STRUCT: 'RECORD',
};

export const isNested = ({ mode, type }: SchemaField): boolean => mode === 'REPEATED' || type === 'RECORD';

/** Types that BigQuery documents no form of in a file format. Source: https://cloud.google.com/bigquery/docs/exporting-data */
const WITHOUT_FORM: Readonly<Partial<Record<Format, readonly string[]>>> = {
  avro: ['RANGE'],
  parquet: ['RANGE', 'INTERVAL'],
};

/** @throws BrokerError `invalid_config` before anything begins, for what a format cannot hold. */
export function checkFormat(what: string, schema: Schema, format: Format, compression: string): void {
  if (!COMPRESSIONS[format].includes(compression)) {
    throw new BrokerError('invalid_config', `${format} has no compression ${compression}`, {
      hint: `Set compression to one of ${COMPRESSIONS[format].join(', ')}.`,
    });
  }
  const nested = format === 'csv' ? schema.find(isNested) : undefined;
  if (nested !== undefined) {
    throw new BrokerError('invalid_config', `${what}: csv cannot hold the column "${nested.name}", which is nested`, {
      hint: 'Set format to json, avro or parquet, or select plain columns with a query.',
    });
  }
  for (const [path, field] of columns(schema)) {
    if (WITHOUT_FORM[format]?.includes(field.type) !== true) continue;
    throw new BrokerError(
      'invalid_config',
      `${what}: ${format} cannot hold the column "${path}" of type ${field.type}`,
      {
        hint: `Set format to json, or cast it in a query: CAST(${path} AS STRING).`,
      },
    );
  }
}

function* columns(schema: Schema, before = ''): Generator<readonly [path: string, field: SchemaField]> {
  for (const field of schema) {
    yield [before + field.name, field];
    if (field.fields !== undefined) yield* columns(field.fields, `${before}${field.name}.`);
  }
}
