import { byteSize, duration, gcsBucket, integer, z } from '../../core/api/index.ts';

export const gsUrl = () =>
  z
    .string()
    .regex(
      /^gs:\/\/[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]\/[^\p{Cc}]*$/u,
      'must be gs://bucket/name, the bucket with at least three characters',
    );

export const labels = () =>
  z
    .record(
      z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, 'must be lower-case letters, digits, - and _'),
      z.string().regex(/^[a-z0-9_-]{0,63}$/, 'must be lower-case letters, digits, - and _'),
    )
    .default({});

/** A batch prediction job, new or existing. */
export const batch = z.strictObject({
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
    .union(
      [
        z.strictObject({
          gcs: z.array(gsUrl()).min(1),
          format: z.enum(['jsonl', 'csv', 'tf-record', 'tf-record-gzip', 'file-list']).default('jsonl'),
        }),
        z.strictObject({
          bigquery: z.string().regex(/^bq:\/\/[^.]+\.\w+\.[^.]+$/, 'must be bq://project.dataset.table'),
        }),
      ],
      'must be { gcs: [gs://…], format: jsonl } or { bigquery: bq://project.dataset.table }, and not both',
    )
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
  generateExplanation: z.boolean().default(false).describe('Whether predictions are explained, where the model can.'),
  disableContainerLogging: z.boolean().default(false),
  timeout: duration().optional().describe('A job of ours that takes longer is cancelled.'),
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

/** The files of a resource. */
export const resource = z.strictObject({
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
