import { defineSource, type Grant } from '../../core/api/index.ts';
import { type InputConfig, type VertexConfig, vertexaiConfig } from './config.ts';
import { VertexSource } from './source.ts';
import { parseGs } from './storage.ts';

/** Rows that are not listed in the pipeline. */
const filesOfRows = ({ predict, generate }: Pick<VertexConfig, 'predict' | 'generate'>): readonly RowsFrom[] =>
  [predict?.instances, generate?.rows].flatMap((one) =>
    one === undefined || Array.isArray(one) ? [] : [one as RowsFrom],
  );
type RowsFrom = Exclude<InputConfig, readonly unknown[]>;

function grantsOf({ identity, project, batch, predict, generate, resource }: VertexConfig): Grant[] {
  const base = { cloud: 'gcp', identity } as const;
  const inputs = filesOfRows({ predict, generate });
  const read = [
    ...inputs.map(({ from }) => from),
    generate?.files,
    ...(batch?.join && batch.input && 'gcs' in batch.input ? batch.input.gcs : []),
  ];
  const written = [batch?.output, resource?.export].filter((one) => one !== undefined);
  return [
    { ...base, role: 'roles/aiplatform.user', on: { project }, reason: `ask Vertex AI in ${project}` },
    ...read
      .filter((url) => url?.startsWith('gs://') === true)
      .map((url): Grant => {
        // What a wildcard stands for begins with what is before it.
        const { bucket, name } = parseGs((url ?? '').replace(/[*?[].*$/s, ''));
        return { ...base, role: 'roles/storage.objectViewer', on: { bucket, prefix: name }, reason: `read ${url}` };
      }),
    ...inputs
      .filter(({ from }) => from.startsWith('s3://'))
      .map(({ from, identity: reader }): Grant => {
        const [bucket = '', ...name] = from.slice('s3://'.length).split('/');
        const resources = [`arn:aws:s3:::${bucket}/${name.join('/')}`];
        return { cloud: 'aws', identity: reader, actions: ['s3:GetObject'], resources, reason: `read ${from}` };
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
  remembers: ({ generate }) => (generate?.onlyNew === true ? 'generate.onlyNew' : undefined),
  localFiles: (config) =>
    filesOfRows(config)
      .map(({ from }) => from)
      .filter((from) => !/^(gs|s3):/.test(from)),
  grants: grantsOf,
  create: (config, context) => new VertexSource(config, context),
});
