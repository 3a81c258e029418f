import { BrokerError, z } from '../../core/api/index.ts';
import type { VertexApi } from './api.ts';

const text = z.string().optional();
const directory = z.object({ outputUriPrefix: text }).optional();

/** The fields of any resource that say where its files are, and how far it is. */
const resourceSchema = z.looseObject({
  state: z.union([z.string(), z.number()]).optional(),
  error: z.object({ message: text }).optional(),
  artifactUri: text,
  outputInfo: z.object({ gcsOutputDirectory: text }).optional(),
  jobSpec: z.object({ baseOutputDirectory: directory }).optional(),
  trialJobSpec: z.object({ baseOutputDirectory: directory }).optional(),
  runtimeConfig: z.object({ gcsOutputDirectory: text }).optional(),
  jobDetail: z
    .object({
      taskDetails: z
        .array(
          z.object({
            taskName: text,
            outputs: z
              .record(z.string(), z.object({ artifacts: z.array(z.object({ uri: text })).default([]) }))
              .default({}),
          }),
        )
        .default([]),
    })
    .optional(),
  modelToUpload: z.object({ name: text }).optional(),
  trainingTaskInputs: z.object({ baseOutputDirectory: directory }).optional(),
  tunedModel: z.object({ model: text }).optional(),
  outputUri: text,
  deployedModels: z.array(z.object({ model: text })).default([]),
});
type Resource = z.output<typeof resourceSchema>;

/** Models that stand for models: more of them would be a circle. */
const MOST_STEPS = 4;

/**
 * Where the files of a Vertex AI resource are, each place a folder or one object of Cloud Storage.
 *
 * @param artifact of a pipeline: `task.output`, or an output of any task.
 * @throws BrokerError `pending` while a job is not over, `invalid_config` for what has no files.
 */
export async function placesOf(
  api: VertexApi,
  name: string,
  artifact: string | undefined,
  signal: AbortSignal,
): Promise<readonly string[]> {
  return resolve(api, name, artifact, signal, MOST_STEPS);
}

async function resolve(
  api: VertexApi,
  name: string,
  artifact: string | undefined,
  signal: AbortSignal,
  steps: number,
): Promise<readonly string[]> {
  if (steps === 0) throw new BrokerError('invalid_config', `${name} leads from one model to the next, and to no files`);
  const resource = resourceSchema.parse(await api.get(name, signal));
  checkState(name, resource);
  const kind = /\/(\w+)\/[^/]+$/.exec(name)?.[1];
  const places =
    kind === 'pipelineJobs' && artifact !== undefined ? artifactsOf(resource, artifact) : [ownPlace(resource)];
  const known = places.filter((place): place is string => place !== undefined && place !== '');
  if (known.length > 0) return known;
  const { modelToUpload, tunedModel, deployedModels } = resource;
  // With a version it is a resource of its own; an endpoint may serve several.
  const next = [modelToUpload?.name, tunedModel?.model, ...deployedModels.map(({ model }) => model)].filter(Boolean);
  if (next.length === 0)
    throw new BrokerError(
      'invalid_config',
      `${name} names no files in Cloud Storage${artifact === undefined ? '' : `, or no artifact ${artifact}`}`,
      { hint: hintFor(kind) },
    );
  const found: string[] = [];
  for (const model of new Set(next as string[]))
    found.push(...(await resolve(api, model, undefined, signal, steps - 1)));
  return [...new Set(found)];
}

const ownPlace = (resource: Resource): string | undefined =>
  resource.artifactUri ||
  resource.outputInfo?.gcsOutputDirectory ||
  resource.runtimeConfig?.gcsOutputDirectory ||
  resource.jobSpec?.baseOutputDirectory?.outputUriPrefix ||
  resource.trialJobSpec?.baseOutputDirectory?.outputUriPrefix ||
  resource.outputUri ||
  (resource.modelToUpload === undefined
    ? resource.trainingTaskInputs?.baseOutputDirectory?.outputUriPrefix
    : undefined);

function artifactsOf({ jobDetail }: Resource, wanted: string): (string | undefined)[] {
  return (jobDetail?.taskDetails ?? []).flatMap(({ taskName = '', outputs }) =>
    Object.entries(outputs)
      .filter(([output]) => wanted === output || wanted === `${taskName}.${output}`)
      .flatMap(([, { artifacts }]) => artifacts.map(({ uri }) => uri)),
  );
}

function checkState(name: string, { state, error }: Resource): void {
  const told = String(state ?? '');
  if (/FAILED|CANCELLED|EXPIRED/.test(told))
    throw new BrokerError('job_failed', `${name}: ${told}: ${error?.message ?? 'no reason is given'}`);
  if (/PENDING|RUNNING|QUEUED|PAUSED|UPDATING|CANCELLING/.test(told))
    throw new BrokerError('pending', `${name} is not over: ${told}`, { retryAfterMs: 10_000 });
}

const hintFor = (kind: string | undefined): string =>
  kind === 'tuningJobs' || kind === 'models'
    ? 'Tuned Gemini models stay with Google: there is nothing to copy. Export a model with resource.export where it can be exported.'
    : 'Name another resource, or an artifact of the pipeline.';
