import { byteSize, identityName, integer, problemsBy, z } from '../../core/api/index.ts';
import { optionProblems } from './check-options.ts';
import { batch, gsUrl, labels, resource } from './config-jobs.ts';

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
    .optional()
    .describe('Rows of one file in the sink, 1000 if nothing is said; what a process that dies has to ask again for.'),
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
    .optional()
    .describe(
      'How many rows may fail before the run is partial; none if nothing is said. All that failed are in `_dead-letters.jsonl`, each with its reason.',
    ),
  folder: z
    .string()
    .max(512)
    .regex(/^(?:[^{}\p{Cc}]|\{(?:time|date)\})*$/u, 'knows {time} and {date} only')
    .optional()
    .describe(
      'What keys begin with; `{time}` and `{date}` are those of the begin of the run. Default: `{time}/` for rows, nothing for files.',
    ),
  labels: labels(),
};

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
    .describe(
      '`{{name}}` and `{{a.b}}` stand for members of the row, `{{row}}` for the whole; of files `{{file}}` for the URL.',
    ),
  rows: input().optional(),
  files: gsUrl()
    .refine((url) => !/[*?]/.test(url), 'must be a prefix, without wildcards: gs://bucket/invoices/')
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
  onlyNew: z
    .boolean()
    .default(false)
    .describe('Of files: only those that changed since the last complete run. Needs `state`.'),
  tokensPerMinute: integer(1, 1_000_000_000).optional().describe('Never many more than these, whatever the quota is.'),
  accept: z
    .array(z.string().regex(/^[A-Z_]+$/, 'must be a finish reason, such as STOP'))
    .min(1)
    .default(['STOP'])
    .describe('Finish reasons of a good answer. Any other makes its row a failure.'),
  budget: z
    .strictObject({ tokens: integer(1, Number.MAX_SAFE_INTEGER) })
    .optional()
    .describe(
      'The run ends when its answers have used so many tokens, prompts included. What is in flight before the first answers may exceed it.',
    ),
  ...common,
});

const options = z.strictObject({
  identity: identityName().describe('An identity of kind `gcp`.'),
  project: z
    .string()
    .regex(/^(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$|^\d+$/, 'must be a project id')
    .describe('Where the resources are.'),
  location: z
    .string()
    .regex(/^(?:global|us|eu|[a-z]+-[a-z]+\d+)$/, 'must be a region, us, eu or global')
    .describe('A region such as `europe-west4`; `us`, `eu` or `global`.'),
  transport: z
    .enum(['rest', 'grpc'])
    .default('rest')
    .describe('How jobs are asked for. Rest is smaller and starts faster.'),
  batch: batch.optional().describe('Files of a batch prediction job, new or existing.'),
  predict: predict.optional().describe('Online predictions for rows.'),
  generate: generate.optional().describe('Answers of Gemini for rows or files.'),
  resource: resource.optional().describe('The files of a model, a pipeline or a job.'),
});

export type VertexConfig = z.output<typeof options>;
export const vertexaiConfig = options.superRefine(problemsBy(optionProblems));
export type BatchConfig = NonNullable<VertexConfig['batch']>;
export type PredictConfig = NonNullable<VertexConfig['predict']>;
export type GenerateConfig = NonNullable<VertexConfig['generate']>;
export type ResourceConfig = NonNullable<VertexConfig['resource']>;
export type InputConfig = z.output<ReturnType<typeof input>>;
