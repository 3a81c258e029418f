import { byteSize, duration, gcsBucket, identityName, integer, z } from '../../core/api/index.ts';

const gsUrl = () =>
  z.string().regex(/^gs:\/\/[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]\/[^\p{Cc}]*$/u, 'must be gs://bucket/name');

const input = () =>
  z
    .union([
      z.array(z.unknown()).min(1).max(100_000),
      z.strictObject({
        from: z
          .string()
          .regex(
            /^(?:(?:gs|s3):\/\/[^/\p{Cc}]+\/[^\p{Cc}]+|\.{0,2}\/[^\p{Cc}]+)$/u,
            'must be gs://bucket/name, s3://bucket/name or a path such as ./rows.jsonl',
          )
          .describe('A file of JSON lines.'),
        identity: identityName()
          .optional()
          .describe('Who reads `s3://`: an identity of kind `aws`. Default: the ambient one.'),
        region: z.string().optional().describe('Of the S3 bucket.'),
      }),
    ])
    .describe('Listed here, or `{ from: gs://…, s3://… or a file }` of JSON lines.');

const common = {
  rowsPerFile: integer(1, 100_000)
    .default(1000)
    .describe('Rows of one file in the sink; what a process that dies has to ask again for.'),
  concurrency: integer(1, 200).default(8).describe('Requests in flight.'),
  requestsPerMinute: integer(1, 1_000_000).optional().describe('Never more than these, whatever the quota is.'),
  key: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .describe('The member of a row that goes with its answer instead of the whole row.'),
  maxFailedRatio: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe(
      'How many rows of a file may fail. They are in the dead letters, `_dead-letters.jsonl`, each with its reason.',
    ),
  folder: z
    .string()
    .max(512)
    .regex(/^(?:[^{}\p{Cc}]|\{(?:time|date)\})*$/u, 'knows {time} and {date} only')
    .default('{time}/')
    .describe('What keys begin with.'),
};

const labels = () =>
  z
    .record(
      z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, 'must be lower-case letters, digits, - and _'),
      z.string().regex(/^[a-z0-9_-]{0,63}$/, 'must be lower-case letters, digits, - and _'),
    )
    .default({});

const batch = z.strictObject({
  job: z
    .string()
    .regex(
      /^(?:projects\/[^/]+\/locations\/[^/]+\/batchPredictionJobs\/)?\d+$/,
      'must be the number or the full name of a job',
    )
    .optional()
    .describe('A job that exists already: its number, or its full name.'),
  filter: z.string().min(1).max(2000).optional().describe('The newest job that matches: `display_name="nightly"`.'),
  model: z
    .string()
    .min(1)
    .max(1000)
    .optional()
    .describe(
      'For a new job: `publishers/google/models/gemini-2.5-flash`, or a model of the project by number or full name.',
    ),
  input: z
    .union([
      z.strictObject({
        gcs: z.array(gsUrl()).min(1),
        format: z.enum(['jsonl', 'csv', 'tf-record', 'tf-record-gzip', 'file-list']).default('jsonl'),
      }),
      z.strictObject({
        bigquery: z.string().regex(/^bq:\/\/[^.]+\.\w+\.[^.]+$/, 'must be bq://project.dataset.table'),
      }),
    ])
    .optional()
    .describe('`{ gcs: [gs://…] }` or `{ bigquery: bq://project.dataset.table }`.'),
  output: z
    .strictObject({ bucket: gcsBucket(), prefix: z.string().max(800).default('isthmus/') })
    .optional()
    .describe('Where the job writes, below a folder of the run; deleted when all is proved in the sink.'),
  format: z.enum(['jsonl', 'csv']).default('jsonl').describe('Of the predictions.'),
  displayName: z.string().max(128).optional(),
  parameters: z.unknown().optional().describe('`modelParameters`, as the model takes them.'),
  instance: z
    .strictObject({
      type: z.enum(['object', 'array']).optional(),
      keyField: z.string().optional(),
      includedFields: z.array(z.string()).optional(),
      excludedFields: z.array(z.string()).optional(),
    })
    .optional()
    .describe('How rows become instances: `keyField` is kept from the model and comes with the prediction.'),
  machine: z
    .strictObject({
      type: z.string(),
      accelerator: z.string().optional(),
      acceleratorCount: integer(1, 16).optional(),
      replicas: integer(1, 1000).default(1),
      batchSize: integer(1, 100_000).optional(),
    })
    .optional()
    .describe('For models of the project: `{ type: n1-standard-4, replicas: 4 }`.'),
  serviceAccount: z.email().optional().describe('Who the job runs as.'),
  kmsKeyName: z.string().optional(),
  labels: labels(),
  join: z
    .strictObject({ by: z.string().min(1), memory: byteSize({ min: '1MiB', max: '4GiB' }).prefault('64MiB') })
    .optional()
    .describe('Puts the row of the input beside its prediction, by this member: a job does not keep the order.'),
  maxFailedRatio: z.number().min(0).max(1).default(0).describe('How many instances of the job may fail.'),
  copyErrors: z.boolean().default(true).describe('Whether its files of errors are carried too.'),
  keepOutput: z
    .boolean()
    .default(false)
    .describe('Leave what the job wrote where it is. Output of a job that exists already is always left.'),
  wait: duration()
    .prefault('60s')
    .describe('For so long an invocation waits for the job; then the run pauses. Processes wait on.'),
});

const predict = z.strictObject({
  endpoint: z.string().min(1).max(1000).describe('The number or full name of an endpoint, or `publishers/…/models/…`.'),
  host: z
    .string()
    .regex(/^[a-z0-9.-]+\.prediction\.vertexai\.goog$/, 'must be the DNS name of a dedicated endpoint')
    .optional()
    .describe('Of a dedicated endpoint: its `dedicatedEndpointDns`.'),
  instances: input(),
  parameters: z.unknown().optional(),
  raw: z
    .boolean()
    .default(false)
    .describe('Send each row as the whole body of a rawPredict request, and take the answer as it is.'),
  batch: z
    .strictObject({
      count: integer(1, 10_000).default(16),
      bytes: byteSize({ min: '1KiB', max: '10MiB' }).prefault('1MiB'),
    })
    .prefault({})
    .describe('How many instances, and bytes of them, go into one request.'),
  ...common,
});

const generate = z.strictObject({
  model: z.string().min(1).max(1000).describe('`gemini-2.5-flash`, or the full name of a model or endpoint.'),
  prompt: z
    .string()
    .min(1)
    .max(1_000_000)
    .describe('`{{name}}` stands for a member of the row, `{{row}}` for the whole.'),
  rows: input().optional(),
  files: gsUrl()
    .optional()
    .describe('Instead of rows: every object below `gs://bucket/prefix` goes to the model with the prompt.'),
  system: z.string().min(1).optional().describe('The system instruction.'),
  config: z
    .record(z.string(), z.unknown())
    .default({})
    .describe('`generationConfig`: temperature, maxOutputTokens, thinkingConfig …'),
  schema: z
    .record(z.string(), z.unknown())
    .optional()
    .describe('JSON Schema of the answer. It is asked for, and each answer is checked.'),
  safety: z
    .array(z.strictObject({ category: z.string(), threshold: z.string(), method: z.string().optional() }))
    .optional()
    .describe('`safetySettings`.'),
  modelArmor: z
    .strictObject({ promptTemplateName: z.string().optional(), responseTemplateName: z.string().optional() })
    .optional()
    .describe('`modelArmorConfig`; not together with safety.'),
  tools: z.array(z.record(z.string(), z.unknown())).optional(),
  toolConfig: z.record(z.string(), z.unknown()).optional(),
  cachedContent: z.string().optional(),
  labels: labels(),
  accept: z
    .array(z.string().regex(/^[A-Z_]+$/, 'must be a finish reason, such as STOP'))
    .min(1)
    .default(['STOP'])
    .describe('Finish reasons of a good answer. Any other makes its row a failure.'),
  budget: z
    .strictObject({ tokens: integer(1, Number.MAX_SAFE_INTEGER) })
    .optional()
    .describe('The run ends when its answers have used so many tokens, prompts included.'),
  ...common,
});

const resource = z.strictObject({
  name: z
    .string()
    .regex(
      /^projects\/[^/]+\/locations\/[^/]+\/(?:models|batchPredictionJobs|pipelineJobs|customJobs|hyperparameterTuningJobs|trainingPipelines|tuningJobs|endpoints)\/[^/]+$/,
      'must be the full name of a model, an endpoint, or a job',
    )
    .describe('The full name: `projects/…/locations/…/pipelineJobs/…`.'),
  artifact: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .describe('Of a pipeline: `task.output`, or an output of any task. Default: all below its root.'),
  export: z
    .strictObject({ format: z.string().min(1), bucket: gcsBucket(), prefix: z.string().max(800).default('isthmus/') })
    .optional()
    .describe(
      'Of a model: export it first, as `{ format: tf-saved-model, bucket: … }`; the copy is deleted when all is proved.',
    ),
  wait: duration().prefault('60s'),
});

export const vertexaiConfig = z.strictObject({
  identity: identityName().describe('An identity of kind `gcp`.'),
  project: z
    .string()
    .regex(/^(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$|^\d+$/, 'must be a project id')
    .describe('Where the resources are.'),
  location: z
    .string()
    .regex(/^(?:global|[a-z]+-[a-z]+\d+)$/, 'must be a region, or global')
    .describe('A region such as `europe-west4`, or `global`.'),
  transport: z
    .enum(['rest', 'grpc'])
    .default('rest')
    .describe('How jobs are asked for. Rest is smaller and starts faster.'),
  batch: batch.optional().describe('Files of a batch prediction job, new or existing.'),
  predict: predict.optional().describe('Online predictions for rows.'),
  generate: generate.optional().describe('Answers of Gemini for rows or files.'),
  resource: resource.optional().describe('The files of a model, a pipeline or a job.'),
});

export type VertexConfig = z.output<typeof vertexaiConfig>;
export type BatchConfig = NonNullable<VertexConfig['batch']>;
export type PredictConfig = NonNullable<VertexConfig['predict']>;
export type GenerateConfig = NonNullable<VertexConfig['generate']>;
export type ResourceConfig = NonNullable<VertexConfig['resource']>;
export type InputConfig = z.output<ReturnType<typeof input>>;
