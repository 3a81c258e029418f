import type { IncomingMessage } from 'node:http';
import type { LocalGcs } from '../gcs.ts';
import { googleError } from '../iam-credentials.ts';
import type { GoogleToken } from '../principals.ts';
import { json, LocalServer, type Reply, ReplyError, readBody } from '../server.ts';
import {
  type BatchEnding,
  batchResource,
  carryOut,
  type Json,
  type JsonObject,
  type LocalBatchJob,
  type Model,
  objectOf,
} from './batch.ts';
import { type GrpcServer, grpcServer } from './grpc.ts';

const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
/** Shared endpoints take so much. Source: https://cloud.google.com/vertex-ai/docs/predictions/get-online-predictions */
const MOST_BYTES = 1_572_864;

/**
 * Batch jobs, predictions, Gemini, and resources that end in Cloud Storage; over REST, and over gRPC where asked for.
 * Source: https://cloud.google.com/vertex-ai/docs/reference/rest
 */
export class LocalVertexAi extends LocalServer {
  /** Who may call it. */
  readonly users = new Set<string>();
  /** What answers, by the end of the resource's name: `endpoints/7`, `models/gemini-2.5-flash`. */
  readonly models = new Map<string, Model>();
  readonly jobs = new Map<string, LocalBatchJob>();
  /** How the next batch jobs end, one each. */
  readonly endings: BatchEnding[] = [];
  /** How often a new batch job must be asked for before it is over. */
  asksUntilDone = 0;
  /** Any other resource, by its name, as the API shows it. */
  readonly resources = new Map<string, JsonObject>();
  /** Exports a model below a prefix. @returns where it is. */
  onExport: (prefix: string) => string = (prefix) => prefix;
  readonly #tokens: ReadonlyMap<string, GoogleToken>;
  readonly #gcs: LocalGcs;
  readonly #now: () => number;
  #grpc: Promise<GrpcServer> | undefined;

  constructor(tokens: ReadonlyMap<string, GoogleToken>, gcs: LocalGcs, now: () => number) {
    super(now);
    this.#tokens = tokens;
    this.#gcs = gcs;
    this.#now = now;
  }

  /** Where the same is spoken over gRPC, without TLS and so without tokens: `http://127.0.0.1:port`. */
  async grpc(): Promise<string> {
    this.#grpc ??= grpcServer(async (method, path, body) => {
      const seen = { method, target: path, status: 200 };
      this.requests.push(seen);
      const { pathname, searchParams } = new URL(path, 'http://x');
      return this.#carry(method, decodeURIComponent(pathname), searchParams, body);
    });
    return (await this.#grpc).url;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    (await this.#grpc)?.close();
    await super[Symbol.asyncDispose]();
  }

  protected async answer(request: IncomingMessage, url: URL): Promise<Reply> {
    const text = String(await readBody(request));
    this.#authorize(request);
    if (text.length > MOST_BYTES)
      return googleError(400, 'INVALID_ARGUMENT', 'Request payload size exceeds the limit: 1572864 bytes.');
    const body = text === '' ? {} : (JSON.parse(text) as Json);
    const path = decodeURIComponent(url.pathname);
    return json(200, await this.#carry(request.method ?? '', path, url.searchParams, body));
  }

  #authorize(request: IncomingMessage): void {
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const token = this.#tokens.get(bearer);
    if (token === undefined || token.expiresAt <= this.#now())
      throw new ReplyError(googleError(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.'));
    if (token.scopes.includes(SCOPE) && this.users.has(token.principal)) return;
    const message = "Permission 'aiplatform.endpoints.predict' denied on resource (or it may not exist).";
    throw new ReplyError(googleError(403, 'PERMISSION_DENIED', message));
  }

  /** @throws ReplyError for what goes wrong. */
  async #carry(method: string, path: string, query: URLSearchParams, body: Json): Promise<Json> {
    const [, name = '', verb] = /^\/v1\/([^:]+(?::[^:/]+(?=:))?)(?::(\w+))?$/.exec(path) ?? [];
    if (/\/batchPredictionJobs$/.test(name))
      return method === 'POST' ? this.#create(name, objectOf(body)) : this.#list(name, query);
    if (/\/batchPredictionJobs\//.test(name)) return this.#job(name, verb);
    switch (verb) {
      case 'predict':
        return this.#predict(name, objectOf(body));
      case 'rawPredict':
      case 'generateContent':
        return this.#ask(name, body, null);
      case 'countTokens':
        return { totalTokens: Math.ceil(JSON.stringify(objectOf(body).contents ?? '').length / 4) };
      case 'export':
        return this.#export(name, objectOf(body));
      default:
        return this.#resource(name);
    }
  }

  #resource(name: string): JsonObject {
    const found = this.resources.get(name);
    if (found !== undefined) return found;
    throw new ReplyError(googleError(404, 'NOT_FOUND', `${name} is not found.`));
  }

  /** An operation that is over at once. */
  #export(name: string, { outputConfig }: JsonObject): JsonObject {
    this.#resource(name);
    const prefix = String(objectOf(objectOf(outputConfig).artifactDestination).outputUriPrefix ?? '');
    const operation = {
      name: `${name}/operations/1`,
      done: true,
      metadata: { outputInfo: { artifactOutputUri: this.onExport(prefix) } },
    };
    this.resources.set(operation.name, operation);
    return { name: operation.name };
  }

  #model(name: string): Model {
    const found = [...this.models].find(([end]) => name.endsWith(end))?.[1];
    if (found !== undefined) return found;
    const message = `Publisher Model \`${name}\` was not found or your project does not have access to it. Please ensure you are using a valid model version.`;
    throw new ReplyError(googleError(404, 'NOT_FOUND', message));
  }

  #ask(name: string, instance: Json, parameters: Json): Json {
    const model = this.#model(name);
    try {
      return model(instance, parameters);
    } catch (error) {
      if (error instanceof ReplyError) throw error;
      throw new ReplyError(googleError(400, 'INVALID_ARGUMENT', (error as Error).message));
    }
  }

  #predict(name: string, { instances = [], parameters = null }: JsonObject): JsonObject {
    const predictions = (instances as readonly Json[]).map((instance) => this.#ask(name, instance, parameters));
    return { predictions, deployedModelId: '55', model: 'projects/1/locations/l/models/7', modelVersionId: '1' };
  }

  #create(parent: string, request: JsonObject): JsonObject {
    if (typeof request.model === 'string') this.#model(request.model);
    const job: LocalBatchJob = {
      name: `${parent}/${1000 + this.jobs.size}`,
      request,
      createTime: new Date(this.#now()).toISOString(),
      asksLeft: this.asksUntilDone,
      state: 'JOB_STATE_PENDING',
      outputDirectory: undefined,
      stats: undefined,
      error: undefined,
      uncounted: false,
    };
    this.jobs.set(job.name, job);
    return batchResource(job);
  }

  #list(parent: string, query: URLSearchParams): JsonObject {
    const filter = query.get('filter') ?? '';
    const [, label = '', value = ''] = /^labels\.([\w-]+)="([^"]*)"$/.exec(filter) ?? [];
    const [, displayName] = /^display_name="([^"]*)"$/.exec(filter) ?? [];
    const found = [...this.jobs.values()].filter(({ name, request }) => {
      if (!name.startsWith(`${parent}/`)) return false;
      if (label !== '') return objectOf(request.labels)[label] === value;
      return displayName === undefined || request.displayName === displayName;
    });
    return { batchPredictionJobs: found.map(batchResource) };
  }

  async #job(name: string, verb: string | undefined): Promise<JsonObject> {
    const job = this.jobs.get(name);
    if (job === undefined)
      throw new ReplyError(googleError(404, 'NOT_FOUND', `The BatchPredictionJob ${name} does not exist.`));
    const open = /PENDING|RUNNING/.test(job.state);
    if (verb === 'cancel') {
      if (open) job.state = 'JOB_STATE_CANCELLED';
      return {};
    }
    if (open && --job.asksLeft <= 0) {
      const model = this.#model(String(job.request.model));
      await carryOut(job, model, this.#gcs, this.endings.shift() ?? {});
    } else if (open) job.state = 'JOB_STATE_RUNNING';
    return batchResource(job);
  }
}
