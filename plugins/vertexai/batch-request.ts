import type { BatchConfig } from './config.ts';

/** A model of the project by its number, or any by its full name. */
const modelName = (model: string, parent: string): string => {
  if (/^\d+(@.+)?$/.test(model)) return `${parent}/models/${model}`;
  return model;
};

/** The number at the end of the name of a job. */
export const nameOfJob = (name: string): string => name.slice(name.lastIndexOf('/') + 1);

/** Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.batchPredictionJobs#BatchPredictionJob */
export function createRequest(
  batch: BatchConfig,
  parent: string,
  labels: Readonly<Record<string, string>>,
  folder: string,
  displayName: string,
): Readonly<Record<string, unknown>> {
  const { input, output, model = '', instance, machine, serviceAccount, kmsKeyName, parameters } = batch;
  const inputConfig =
    input !== undefined && 'gcs' in input
      ? { instancesFormat: input.format, gcsSource: { uris: input.gcs } }
      : { instancesFormat: 'bigquery', bigquerySource: { inputUri: input?.bigquery ?? '' } };
  const { type: instanceType, ...fields } = instance ?? {};
  return {
    displayName: (batch.displayName ?? displayName).slice(0, 128),
    model: modelName(model, parent),
    inputConfig,
    outputConfig: {
      predictionsFormat: batch.format,
      gcsDestination: { outputUriPrefix: `gs://${output?.bucket}/${output?.prefix}${folder}` },
    },
    ...(instance === undefined ? {} : { instanceConfig: { ...(instanceType && { instanceType }), ...fields } }),
    ...(machine === undefined
      ? {}
      : {
          dedicatedResources: {
            machineSpec: {
              machineType: machine.type,
              ...(machine.accelerator && {
                acceleratorType: machine.accelerator,
                acceleratorCount: machine.acceleratorCount ?? 1,
              }),
            },
            startingReplicaCount: machine.replicas,
            maxReplicaCount: machine.replicas,
          },
          ...(machine.batchSize === undefined ? {} : { manualBatchTuningParameters: { batchSize: machine.batchSize } }),
        }),
    ...(parameters === undefined ? {} : { modelParameters: protoValue(parameters) }),
    ...(batch.generateExplanation ? { generateExplanation: true } : {}),
    ...(batch.disableContainerLogging ? { disableContainerLogging: true } : {}),
    ...(serviceAccount === undefined ? {} : { serviceAccount }),
    ...(kmsKeyName === undefined ? {} : { encryptionSpec: { kmsKeyName } }),
    labels,
  };
}

/** JSON as the `google.protobuf.Value` that the client sends. */
function protoValue(value: unknown): object {
  if (value === null || value === undefined) return { nullValue: 'NULL_VALUE' };
  if (typeof value === 'number') return { numberValue: value };
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (Array.isArray(value)) return { listValue: { values: value.map(protoValue) } };
  const fields = Object.entries(value).map(([name, member]) => [name, protoValue(member)] as const);
  return { structValue: { fields: Object.fromEntries(fields) } };
}
