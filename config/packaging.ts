import { fileURLToPath } from 'node:url';
import type { Packaging } from '../core/package/bundle.ts';
import { trimVertex } from './trim-vertex.ts';

const SUFFIX = import.meta.filename.endsWith('.ts') ? '.ts' : '.js';
const at = (path: string): string => fileURLToPath(new URL(`../${path}${SUFFIX}`, import.meta.url));

/** Where `package` finds what it puts into a bundle; a test holds the list against the plugins. */
export const packaging: Packaging = {
  root: fileURLToPath(new URL('..', import.meta.url)),
  api: at('core/api/index'),
  templates: fileURLToPath(new URL('templates', import.meta.url)),
  guard: at('core/guard/definition'),
  entries: { lambda: at('config/main-lambda'), container: at('config/main-container') },
  trim: trimVertex,
  plugins: {
    'source gcs': { module: at('plugins/gcs/index'), exported: 'gcs', splits: true },
    'source bigquery': { module: at('plugins/bigquery/index'), exported: 'bigquery' },
    'source vertexai': { module: at('plugins/vertexai/index'), exported: 'vertexai' },
    'source s3': { module: at('plugins/s3/as-source'), exported: 's3Source', splits: true },
    'source http': { module: at('plugins/http/index'), exported: 'http', splits: true },
    'source file': { module: at('plugins/file/index'), exported: 'fileSource', splits: true },
    'source memory': { module: at('plugins/memory/index'), exported: 'memorySource', splits: true },
    'sink s3': { module: at('plugins/s3/index'), exported: 's3', splits: true },
    'sink gcs': { module: at('plugins/gcs/as-sink'), exported: 'gcsSink', splits: true },
    'sink file': { module: at('plugins/file/index'), exported: 'fileSink', splits: true },
    'sink memory': { module: at('plugins/memory/index'), exported: 'memorySink', splits: true },
    'step gzip': { module: at('plugins/steps/gzip'), exported: 'gzip', splits: true },
    'step gunzip': { module: at('plugins/steps/gzip'), exported: 'gunzip', splits: true },
    'step zstd': { module: at('plugins/steps/zstd'), exported: 'zstd', splits: true },
    'step rename': { module: at('plugins/steps/rename'), exported: 'rename', splits: true },
    'step filter': { module: at('plugins/steps/filter'), exported: 'filter', splits: true },
    'step checksum': { module: at('plugins/steps/checksum'), exported: 'checksum', splits: true },
    'step encrypt': { module: at('plugins/steps/encrypt'), exported: 'encrypt' },
    'state file': { module: at('core/state/file'), exported: 'fileState', splits: true },
    'state memory': { module: at('core/state/memory'), exported: 'memoryState', splits: true },
    'state s3': { module: at('plugins/s3/index'), exported: 's3State', splits: true },
  },
};
