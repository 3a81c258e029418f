import { createRequire } from 'node:module';
import type { UntypedHandleCall } from '@grpc/grpc-js';
import { ReplyError } from '../server.ts';
import type { Json, JsonObject } from './batch.ts';

export interface GrpcServer {
  readonly url: string;
  close(): void;
}

/** Carries out what a REST request would ask for. */
export type Carry = (method: string, path: string, body: Json) => Promise<Json>;

const PACKAGE = 'google.cloud.aiplatform.v1';

/** How methods translate into requests. Source: the `google.api.http` annotations of the published protos. */
const METHODS: Readonly<Record<string, (request: JsonObject) => readonly [method: string, path: string, body: Json]>> =
  {
    'JobService/CreateBatchPredictionJob': ({ parent, batchPredictionJob = {} }) => [
      'POST',
      `/v1/${parent}/batchPredictionJobs`,
      batchPredictionJob,
    ],
    'JobService/GetBatchPredictionJob': ({ name }) => ['GET', `/v1/${name}`, {}],
    'JobService/CancelBatchPredictionJob': ({ name }) => ['POST', `/v1/${name}:cancel`, {}],
    'JobService/ListBatchPredictionJobs': ({ parent, filter = '' }) => [
      'GET',
      `/v1/${parent}/batchPredictionJobs?filter=${encodeURIComponent(String(filter))}`,
      {},
    ],
    'PredictionService/Predict': ({ endpoint, ...body }) => ['POST', `/v1/${endpoint}:predict`, body],
    'PredictionService/GenerateContent': ({ model, ...body }) => ['POST', `/v1/${model}:generateContent`, body],
  };

/** The same service over gRPC, from the protos that Google publishes with its client. */
export async function grpcServer(carry: Carry): Promise<GrpcServer> {
  const [{ Server, ServerCredentials, status }, protobuf, { fromProto3JSON, toProto3JSON }] = await Promise.all([
    import('@grpc/grpc-js'),
    import('protobufjs'),
    import('proto3-json-serializer'),
  ]);
  const protos = createRequire(import.meta.url)('@google-cloud/aiplatform/build/protos/protos.json') as object;
  const root = protobuf.default.Root.fromJSON(protos);
  root.resolveAll();
  const server = new Server();
  for (const [name, translate] of Object.entries(METHODS)) {
    const [service = '', method = ''] = name.split('/');
    const definition = root.lookupService(`${PACKAGE}.${service}`).methods[method];
    const asked = root.lookupType(`${PACKAGE}.${definition?.requestType.split('.').pop()}`);
    const responseName = definition?.responseType ?? '';
    const answered = root.lookupType(responseName.startsWith('google.') ? responseName : `${PACKAGE}.${responseName}`);
    const handle: UntypedHandleCall = (call: unknown, callback: unknown) => {
      const { request } = call as { request: object };
      const reply = callback as (error: object | null, value?: object) => void;
      carry(...translate(toProto3JSON(request as never) as JsonObject)).then(
        (value) => reply(null, fromProto3JSON(answered, value as never) ?? {}),
        (error: unknown) => reply(failure(error)),
      );
    };
    server.register(
      `/${PACKAGE}.${service}/${method}`,
      handle as never,
      (value: object) => Buffer.from(answered.encode(value).finish()),
      (bytes: Buffer) => asked.decode(bytes),
      'unary',
    );
  }
  const failure = (error: unknown): object => {
    const body = error instanceof ReplyError ? String(error.reply.body) : '';
    const told =
      body === '' ? undefined : (JSON.parse(body) as { error: { status: keyof typeof status; message: string } }).error;
    return {
      code: told === undefined ? status.INTERNAL : status[told.status],
      details: told?.message ?? String(error),
    };
  };
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
    error === null ? resolve(port) : reject(error),
  );
  const port = await promise;
  return { url: `http://127.0.0.1:${port}`, close: () => server.forceShutdown() };
}
