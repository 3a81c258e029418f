import {
  BrokerError,
  type Check,
  type Facts,
  type Item,
  type ListOptions,
  type PluginContext,
  type RunContext,
  type Source,
  type SourceFailure,
} from '../../core/api/index.ts';
import { GoogleClient } from '../google/http.ts';
import { VertexApi } from './api.ts';
import { BatchMode } from './batch.ts';
import type { VertexConfig } from './config.ts';
import { Generating } from './generate.ts';
import { BatchJobs } from './jobs.ts';
import type { Mode } from './mode.ts';
import { FilesMode } from './over-files.ts';
import { Predicting } from './predict.ts';
import { ResourceMode } from './resource.ts';
import { RowMode } from './row-mode.ts';
import { Storage } from './storage.ts';

const CLOUD_PLATFORM = 'https://www.googleapis.com/auth/cloud-platform';
const CLOSING_MS = 8000;

/** Predictions, answers and files of Vertex AI. */
export class VertexSource implements Source {
  readonly location: string;
  readonly ranges = true;
  readonly transient = true;
  readonly #mode: Mode;
  readonly #api: VertexApi;
  /** Of an endpoint that has a host of its own. */
  readonly #dedicated: VertexApi | undefined;
  readonly #storage: Storage;
  readonly #jobs: BatchJobs;
  #lasts: RunContext['lasts'] = 'process';

  constructor(config: VertexConfig, context: PluginContext) {
    const { identity, project, location, transport, predict } = config;
    const { credentials, endpoints, now } = context;
    const token = credentials.gcp(identity, { scopes: [CLOUD_PLATFORM] });
    const shared = endpoints.vertexai(credentials.universeDomain(identity), location);
    // A large batch may take its time.
    const apiAt = (endpoint: string): VertexApi =>
      new VertexApi(new GoogleClient({ endpoint, token, now, idleMs: 600_000, transport: context.transport() }));
    this.#api = apiAt(shared);
    this.#dedicated = predict?.host === undefined ? undefined : apiAt(`https://${predict.host}`);
    this.#storage = new Storage(identity, token, context);
    this.#jobs = new BatchJobs({ endpoint: shared, transport, project, token });
    this.#mode = modeOf(config, {
      api: this.#api,
      dedicated: this.#dedicated,
      storage: this.#storage,
      jobs: this.#jobs,
      context,
    });
    this.location = this.#mode.location;
  }

  list(options: ListOptions): AsyncIterable<Item> {
    if (options.run.purpose === 'run') this.#lasts = options.run.lasts;
    return this.#mode.list(options);
  }

  last(options: ListOptions): AsyncIterable<Item> {
    return this.#mode.last?.(options) ?? nothing();
  }

  open(item: Item, options: Parameters<Source['open']>[1]): ReturnType<Source['open']> {
    return this.#mode.open(item, options);
  }

  async finish(options: Parameters<NonNullable<Source['finish']>>[0]): Promise<void> {
    await this.#mode.finish?.(options);
  }

  failures(): readonly SourceFailure[] {
    return this.#mode.failures?.() ?? [];
  }

  facts(): Facts | undefined {
    return this.#mode.facts();
  }

  check({ signal }: { readonly signal: AbortSignal }): Promise<readonly Check[]> {
    return this.#mode.check(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mode.close(this.#lasts, AbortSignal.timeout(CLOSING_MS)).catch(() => undefined);
    this.#api[Symbol.dispose]();
    this.#dedicated?.[Symbol.dispose]();
    this.#storage[Symbol.dispose]();
    await this.#jobs[Symbol.asyncDispose]();
  }
}

interface Parts {
  readonly api: VertexApi;
  readonly dedicated: VertexApi | undefined;
  readonly storage: Storage;
  readonly jobs: BatchJobs;
  readonly context: PluginContext;
}

function modeOf(config: VertexConfig, { api, dedicated, storage, jobs, context }: Parts): Mode {
  const { batch, predict, generate, resource } = config;
  if (batch !== undefined) return new BatchMode({ config, batch, jobs, storage, context });
  if (predict !== undefined)
    return new RowMode(new Predicting(config, predict, dedicated ?? api, api), storage, context);
  if (resource !== undefined) return new ResourceMode(resource, api, storage, context);
  if (generate === undefined) throw new BrokerError('internal', 'no mode');
  const asking = new Generating(config, generate, api, context.pipeline);
  if (generate.files !== undefined) return new FilesMode(asking, generate.files, storage, context);
  return new RowMode(asking, storage, context);
}

async function* nothing(): AsyncGenerator<never> {}
