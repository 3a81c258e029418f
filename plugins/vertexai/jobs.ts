import type { JobServiceClient } from '@google-cloud/aiplatform/build/src/v1/job_service_client.js';
import {
  BrokerError,
  type CredentialProvider,
  type GcpAccessToken,
  googleAuthClient,
  type RetryPolicy,
  retry,
  z,
} from '../../core/api/index.ts';

const REQUEST_MS = 60_000;
const PATIENCE: RetryPolicy = { attempts: 6, baseDelayMs: 1000, maxDelayMs: 30_000 };

const count = z.union([z.string(), z.number()]).transform(Number);
const time = z.object({ seconds: z.union([z.string(), z.number()]).transform(Number), nanos: z.number().default(0) });

/** Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.batchPredictionJobs */
const jobSchema = z.object({
  name: z.string(),
  model: z.string().nullish(),
  state: z.string(),
  createTime: time.nullish(),
  error: z.object({ message: z.string().nullish() }).nullish(),
  partialFailures: z.array(z.object({ message: z.string().nullish() })).nullish(),
  outputInfo: z
    .object({
      gcsOutputDirectory: z.string().nullish(),
      bigqueryOutputDataset: z.string().nullish(),
      bigqueryOutputTable: z.string().nullish(),
    })
    .nullish(),
  completionStats: z
    .object({ successfulCount: count.nullish(), failedCount: count.nullish(), incompleteCount: count.nullish() })
    .nullish(),
});
export type BatchJob = z.output<typeof jobSchema>;

export interface BatchJobsOptions {
  /** `https://europe-west4-aiplatform.googleapis.com`; http only on this machine. */
  readonly endpoint: string;
  readonly transport: 'rest' | 'grpc';
  readonly project: string;
  readonly token: CredentialProvider<GcpAccessToken> | undefined;
  readonly policy?: RetryPolicy;
}

type Call = { readonly signal: AbortSignal; readonly timeout: number; readonly retry: null };

/** Batch prediction jobs, by Google's client, over REST or gRPC; it is loaded at the first call. */
export class BatchJobs {
  readonly #options: BatchJobsOptions;
  #client: Promise<JobServiceClient> | undefined;

  constructor(options: BatchJobsOptions) {
    this.#options = options;
  }

  async get(name: string, signal: AbortSignal): Promise<BatchJob> {
    return read(
      await this.#try(
        `look at ${name}`,
        signal,
        async (client, call) => (await client.getBatchPredictionJob({ name }, call))[0],
      ),
    );
  }

  /** The newest that matches, since the API promises no order. */
  async newest(parent: string, filter: string, signal: AbortSignal): Promise<BatchJob | undefined> {
    const found = await this.all(parent, filter, signal);
    return found.sort((a, b) => createdAt(b) - createdAt(a))[0];
  }

  async all(parent: string, filter: string, signal: AbortSignal): Promise<BatchJob[]> {
    const listed = await this.#try(`list jobs of ${parent}`, signal, async (client, call) => {
      const [jobs] = await client.listBatchPredictionJobs({ parent, filter }, { ...call, autoPaginate: true });
      return jobs;
    });
    return z.array(z.unknown()).parse(listed).map(read);
  }

  /** Not tried again: the API takes no id of ours, so a second request would be a second job. */
  async create(
    parent: string,
    batchPredictionJob: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<BatchJob> {
    const work = this.#call('create a batch prediction job', signal, async (client, call) => {
      const [job] = await client.createBatchPredictionJob({ parent, batchPredictionJob }, call);
      return job;
    });
    return read(await work);
  }

  async cancel(name: string, signal: AbortSignal): Promise<void> {
    await this.#call(`cancel ${name}`, signal, (client, call) => client.cancelBatchPredictionJob({ name }, call));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = await this.#client?.catch(() => undefined);
    await client?.close().catch(() => undefined);
  }

  #try(
    what: string,
    signal: AbortSignal,
    call: (client: JobServiceClient, options: Call) => Promise<unknown>,
  ): Promise<unknown> {
    return retry(() => this.#call(what, signal, call), { policy: this.#options.policy ?? PATIENCE, signal });
  }

  async #call(
    what: string,
    signal: AbortSignal,
    call: (client: JobServiceClient, options: Call) => Promise<unknown>,
  ): Promise<unknown> {
    this.#client ??= this.#load();
    const client = await this.#client;
    try {
      return await call(client, { signal, timeout: REQUEST_MS, retry: null });
    } catch (thrown) {
      throw signal.aborted ? new BrokerError('stopped', 'the run was stopped') : failureOf(what, thrown);
    }
  }

  async #load(): Promise<JobServiceClient> {
    const { endpoint, transport, project, token } = this.#options;
    const url = new URL(endpoint);
    const [{ JobServiceClient: Client }, { AuthClient }] = await Promise.all([
      import('@google-cloud/aiplatform/build/src/v1/job_service_client.js'),
      import('google-auth-library'),
    ]).catch((error: unknown) => {
      throw notInstalled(error);
    });
    const authClient = googleAuthClient(AuthClient, token ?? NOBODY, { projectId: project });
    const local = url.protocol === 'http:';
    const place = { apiEndpoint: url.hostname, ...(url.port === '' ? {} : { port: Number(url.port) }) };
    if (transport === 'rest') {
      const gax = await import('google-gax/fallback');
      const options = { ...place, authClient, fallback: true, ...(local ? { protocol: 'http' } : {}) };
      return new Client(options as never, gax as never);
    }
    const gax = await import('google-gax');
    // Without TLS there are no tokens either; only for a server on this machine.
    const sslCreds = local ? { sslCreds: gax.grpc.credentials.createInsecure() } : {};
    return new Client({ ...place, authClient, ...sslCreds } as never);
  }
}

const NOBODY: CredentialProvider<GcpAccessToken> = {
  get: async () => {
    throw new BrokerError('unauthenticated', 'Vertex AI answers no one who is anonymous', {
      hint: 'Use an identity of kind gcp.',
    });
  },
};

function notInstalled(error: unknown): BrokerError {
  const { code } = error as { readonly code?: unknown };
  if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw error;
  return new BrokerError('invalid_config', "batch prediction jobs need Google's client, which is not installed", {
    hint: 'npm install @google-cloud/aiplatform google-gax',
  });
}

const createdAt = ({ createTime }: BatchJob): number => (createTime?.seconds ?? 0) + (createTime?.nanos ?? 0) / 1e9;

function read(job: unknown): BatchJob {
  const parsed = jobSchema.safeParse(job);
  if (parsed.success) return parsed.data;
  throw new BrokerError('bad_response', 'Vertex AI: the answer has not the form of a batch prediction job');
}

/** By the numbers of gRPC, which the client uses over REST too. Source: https://grpc.io/docs/guides/status-codes/ */
function failureOf(what: string, thrown: unknown): BrokerError {
  if (thrown instanceof BrokerError) return thrown;
  // Its `cause` and `config` hold the request.
  const { code, message, details, cause } = thrown as {
    code?: unknown;
    message?: unknown;
    details?: unknown;
    cause?: unknown;
  };
  if (cause instanceof BrokerError) return cause;
  const text = typeof details === 'string' ? details : String(message ?? '');
  const told = `${what}: ${text.replace(/^\d+ [A-Z_]+: /, '')}`;
  switch (code) {
    case 8:
      return new BrokerError('throttled', told);
    case 4:
      return new BrokerError('timeout', told);
    case 14:
      return new BrokerError(
        'unavailable',
        `${what}: ${/ECONN|request to /.test(text) ? 'the connection failed' : text}`,
      );
    case 13:
    case 2:
      return new BrokerError('unavailable', told);
    case 7:
      return new BrokerError('unauthenticated', told, {
        hint: 'Grant roles/aiplatform.user on the project to the identity.',
      });
    case 16:
      return new BrokerError('unauthenticated', told);
    case 5:
      return new BrokerError('invalid_config', told, { hint: 'Correct the job, model or location in the source.' });
    case 3:
    case 9:
      return new BrokerError('invalid_config', told, { hint: 'Change what the message names in the source.' });
    default:
      return new BrokerError('unavailable', told);
  }
}
