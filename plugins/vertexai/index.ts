import { defineSource, type Grant } from '../../core/api/index.ts';
import { type VertexConfig, vertexaiConfig } from './config.ts';
import { VertexSource } from './source.ts';
import { parseGs } from './storage.ts';

function grantsOf({ identity, project, batch, predict, generate, resource }: VertexConfig): Grant[] {
  const base = { cloud: 'gcp', identity } as const;
  const rows = predict?.instances ?? generate?.rows;
  const from = rows !== undefined && !Array.isArray(rows) ? (rows as { readonly from: string }).from : undefined;
  const read = [from, generate?.files, ...(batch?.join && batch.input && 'gcs' in batch.input ? batch.input.gcs : [])];
  const written = [batch?.output, resource?.export].filter((one) => one !== undefined);
  return [
    { ...base, role: 'roles/aiplatform.user', on: { project }, reason: `ask Vertex AI in ${project}` },
    ...read
      .filter((url) => url?.startsWith('gs://') === true)
      .map((url): Grant => {
        const { bucket, name } = parseGs(url ?? '');
        return { ...base, role: 'roles/storage.objectViewer', on: { bucket, prefix: name }, reason: `read ${url}` };
      }),
    ...written.map(
      ({ bucket, prefix }): Grant => ({
        ...base,
        role: 'roles/storage.objectUser',
        on: { bucket, prefix },
        reason: `read and delete what a job wrote to gs://${bucket}/${prefix}`,
      }),
    ),
  ];
}

/** What may be changed while a run is under way: it asks for the same. */
const TUNING = [
  'transport',
  ...['wait', 'timeout', 'labels', 'maxFailedRatio', 'keepOutput'].map((name) => `batch.${name}`),
  ...['predict', 'generate'].flatMap((mode) =>
    ['concurrency', 'requestsPerMinute', 'maxFailedRatio', 'labels'].map((name) => `${mode}.${name}`),
  ),
  'generate.tokensPerMinute',
  'generate.budget',
  'resource.wait',
];

export const vertexai = defineSource({
  name: 'vertexai',
  summary: 'Vertex AI: batch and online predictions, answers of Gemini, files of models, pipelines and jobs.',
  config: vertexaiConfig,
  identities: ['gcp'],
  waits: true,
  tuning: TUNING,
  grants: grantsOf,
  create: (config, context) => new VertexSource(config, context),
});
