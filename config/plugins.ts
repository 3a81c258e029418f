import type { PluginDefinition } from '../core/api/index.ts';
import { fileState } from '../core/state/file.ts';
import { memoryState } from '../core/state/memory.ts';
import { bigquery } from '../plugins/bigquery/index.ts';
import { fileSink, fileSource } from '../plugins/file/index.ts';
import { gcs, gcsSink } from '../plugins/gcs/index.ts';
import { http } from '../plugins/http/index.ts';
import { memorySink, memorySource } from '../plugins/memory/index.ts';
import { s3, s3Source, s3State } from '../plugins/s3/index.ts';
import { checksum, encrypt, filter, gunzip, gzip, rename, zstd } from '../plugins/steps/index.ts';
import { vertexai } from '../plugins/vertexai/index.ts';

/** Every plugin there is. A new one is one more line here. */
export const plugins: readonly PluginDefinition[] = [
  gcs,
  bigquery,
  vertexai,
  s3Source,
  http,
  fileSource,
  memorySource,
  s3,
  gcsSink,
  fileSink,
  memorySink,
  gzip,
  gunzip,
  zstd,
  rename,
  filter,
  checksum,
  encrypt,
  fileState,
  memoryState,
  s3State,
];
