import type { Item, JsonValue } from '../../core/api/index.ts';
import { type Export, queryHash, type Unit } from './notes.ts';
import type { Schema } from './schema.ts';
import type { Shape } from './sql.ts';

/** One file of an export, as it is in the sink. */
export interface ManifestFile {
  readonly key: string;
  readonly bytes: number;
  readonly crc32c: string;
}

export interface ManifestOptions {
  readonly pipeline: string;
  readonly current: Export;
  readonly unit: Unit;
  readonly jobId: string | undefined;
  readonly shape: Shape;
  readonly schema: Schema;
  readonly files: readonly ManifestFile[];
  /** Null where BigQuery does not tell how many there are. */
  readonly rows: number | null;
}

/** What a reader of the files wants to know before he trusts them; written when all of them are in the sink. */
export function manifestText({ pipeline, current, unit, jobId, shape, schema, files, rows }: ManifestOptions): string {
  const { sql, result = {} } = unit;
  const manifest: Record<string, JsonValue> = {
    source: unit.label,
    pipeline,
    export: current.id,
    startedAt: current.startedAt,
    location: current.location ?? null,
    engine: unit.engine,
    jobId: jobId ?? null,
    queryHash: sql === undefined ? null : queryHash(sql),
    format: shape.format,
    compression: shape.compression,
    rows,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    bytesProcessed: result.bytesProcessed ?? null,
    bytesBilled: result.bytesBilled ?? null,
    files: files.map(({ key, bytes, crc32c }) => ({ key, bytes, crc32c })),
    schema: schema as unknown as JsonValue,
  };
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

/** The manifest as an item; its text goes with it, so that whoever carries it needs nothing else. */
export const manifestItem = (key: string, text: string): Item => ({
  id: `manifest:${queryHash(text)}`,
  key,
  size: Buffer.byteLength(text),
  headers: { contentType: 'application/json' },
  ref: { text },
});
