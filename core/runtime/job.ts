import { createHash } from 'node:crypto';
import { BrokerError } from '../api/errors.ts';
import type { JsonValue } from '../api/json.ts';
import type { Endpoints, PluginContext } from '../api/plugin.ts';
import type { Logger } from '../api/runtime.ts';
import type { StateStore } from '../api/state.ts';
import type { Transport } from '../api/transport.ts';
import type { AuthRuntime } from '../auth/aws-identity.ts';
import { IdentityBroker } from '../auth/broker.ts';
import type { CredentialCache } from '../auth/cached.ts';
import type { AuthObserver } from '../auth/steps.ts';
import { filterOf } from '../engine/filter.ts';
import type { Job } from '../engine/job.ts';
import { keyMap } from '../engine/key-map.ts';
import { usesOf } from '../pipeline/grants.ts';
import { InvalidPipeline } from '../pipeline/problem.ts';
import type { Pipeline } from '../pipeline/validate.ts';
import { MemoryState } from '../state/memory.ts';
import type { Through } from '../through/index.ts';
import type { Steps } from '../through/steps.ts';
import { refuseOverlaps } from './overlaps.ts';

/** A job with what must be closed after it. */
export interface OpenJob extends AsyncDisposable {
  readonly job: Job;
  readonly pipeline: Pipeline;
  readonly credentials: IdentityBroker;
  readonly endpoints: Endpoints;
}

export interface JobOptions {
  readonly log: Logger;
  readonly now: () => number;
  readonly onAuth?: AuthObserver | undefined;
}

export interface JobFactory {
  /** Reads and validates; touches no network. */
  load(file: string): Promise<Pipeline>;
  /** Makes the sources and sinks of a pipeline; touches no network either. */
  open(file: string, options: JobOptions): Promise<OpenJob>;
}

/** Where pipelines come from: a file, or the bundle that one was compiled into. */
export type PipelineLoader = (file: string) => Promise<Pipeline>;

export function jobFactory(
  loadPipeline: PipelineLoader,
  endpoints: Endpoints,
  runtime: AuthRuntime,
  cache: CredentialCache,
  transport: () => Transport,
): JobFactory {
  const load = async (file: string): Promise<Pipeline> => {
    const pipeline = await loadPipeline(file);
    // Making the endpoints finds what one option alone does not show.
    const options = { log: SILENT, now: Date.now };
    await using _made = await make(pipeline, context(pipeline, options));
    return pipeline;
  };
  const context = (pipeline: Pipeline, { log, now, onAuth }: JobOptions): Context => ({
    transport,
    pipeline: pipeline.name,
    baseDir: pipeline.baseDir,
    endpoints,
    log,
    now,
    credentials: new IdentityBroker({
      pipeline: pipeline.name,
      identities: pipeline.identities,
      runtime,
      cache,
      observe: onAuth,
    }),
  });
  return {
    load,
    open: async (file, options) => {
      const pipeline = await loadPipeline(file);
      return make(pipeline, context(pipeline, options));
    },
  };
}

type Context = PluginContext & { readonly credentials: IdentityBroker };

const SILENT: Logger = { debug: () => {}, info: () => {}, warn: () => {} };

/** Connections have buffers of their own, some 200 KiB for the two of a transfer. */
const mostFor = (memory: number): number => Math.max(1, Math.min(256, Math.floor(memory / (256 * 1024))));

async function make(pipeline: Pipeline, given: Context): Promise<OpenJob> {
  const opened: Transport[] = [];
  const context: Context = {
    ...given,
    transport: () => {
      const transport = given.transport();
      opened.push(transport);
      return transport;
    },
  };
  const { name, concurrency, memory, retry, file, key } = pipeline;
  const uses = usesOf(pipeline);
  const filter = pipeline.filter && (await filterOf(pipeline.filter));
  try {
    const own = pipeline.sources.map(({ plugin, config }) => plugin.create(config, { ...context, use: uses.source }));
    // Only a pipeline with steps loads what they stand on.
    const through: Through | undefined =
      pipeline.through.length === 0 ? undefined : await import('../through/index.ts');
    const steps = through && stepsOf(pipeline, context, through);
    const sources = through && steps ? own.map((source) => through.throughSource(source, steps)) : own;
    const sinks = pipeline.sinks.map(({ plugin, config }) => plugin.create(config, { ...context, use: uses.sink }));
    const [receipts, deadLetters] = [pipeline.receipts, pipeline.deadLetters].map((one) =>
      one?.plugin.create(one.config, context),
    );
    const state = pipeline.state?.plugin.create(pipeline.state.config, context) ?? (new MemoryState() as StateStore);
    const template = key && keyMap(key.template, key.collisions);
    const job: Job = {
      pipeline: name,
      fingerprint: fingerprint(pipeline),
      sources,
      sinks,
      compare: pipeline.compare,
      overwrite: pipeline.overwrite,
      filter: through === undefined ? filter : through.throughFilter(filter),
      folderMarkers: pipeline.folderMarkers,
      keys: steps === undefined ? template : steps.keyMap(template, 'refuse'),
      deletes: pipeline.delete,
      move: pipeline.move,
      receipts,
      deadLetters,
      missing: pipeline.missing,
      history: pipeline.history,
      concurrency: concurrency ?? mostFor(memory),
      adapts: concurrency === undefined,
      throttled: () => opened.reduce((sum, { traffic }) => sum + traffic.throttled, 0),
      memory,
      retry: { attempts: retry.attempts, baseDelayMs: retry.baseDelay, maxDelayMs: retry.maxDelay },
      state,
      lasts: pipeline.state?.plugin.lasts ?? 'process',
    };
    refuseUnable(pipeline, job);
    if (steps !== undefined) refuseThrough(pipeline, job, steps);
    refuseOverlaps(job);
    const kept = [receipts, deadLetters].filter((sink) => sink !== undefined);
    const made = (steps?.all ?? []).map(({ step }) => step);
    const closing: (Partial<AsyncDisposable> | StateStore)[] = [...sources, ...sinks, ...made, ...kept, state];
    return {
      job,
      pipeline,
      credentials: context.credentials,
      endpoints: context.endpoints,
      [Symbol.asyncDispose]: async () => {
        await Promise.allSettled(
          closing.map((endpoint: Partial<AsyncDisposable>) => endpoint[Symbol.asyncDispose]?.()),
        );
      },
    };
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    throw new InvalidPipeline(file, [{ message: `${error.message}. ${error.hint}` }]);
  }
}

/** What is asked of endpoints that cannot do it. */
function refuseUnable({ key, move, delete: deletes }: Pipeline, { sources, sinks, keys, compare }: Job): void {
  const refuse = (what: string, location: string, hint: string): never => {
    throw new BrokerError('invalid_config', `${what}: ${location}`, { hint });
  };
  const transient = sources.find((source) => source.transient === true);
  if (key !== undefined && transient !== undefined)
    refuse('key: this source names its items itself', transient.location, 'Leave key out, and use its own options.');
  if (deletes !== undefined && transient !== undefined)
    refuse('delete: this source makes its items anew in each run', transient.location, 'Leave delete out.');
  const unable = sinks.find((sink) => sink.list === undefined || sink.delete === undefined);
  if (deletes !== undefined && unable !== undefined)
    refuse('delete: this sink cannot list and delete', unable.location, 'Leave delete out.');
  const unlooked = sinks.find((sink) => sink.list !== undefined && sink.stat === undefined);
  if (keys?.ordered === false && compare !== 'always' && unlooked !== undefined)
    refuse(
      'names come in another order than items, and this sink cannot be asked for one by itself',
      unlooked.location,
      'Use a key.template such as some/prefix/{key} and no step that changes names, or give the sink a stat.',
    );
  const unmovable = sources.find((source) => source.remove === undefined);
  const unasked = sinks.find((sink) => sink.stat === undefined);
  if (move && unasked !== undefined) refuse('move: this sink cannot be asked', unasked.location, 'Leave move out.');
  if (move && unmovable !== undefined) refuse('move: this source cannot delete', unmovable.location, 'Leave move out.');
}

function stepsOf({ through }: Pipeline, context: Context, { Steps }: Through): Steps {
  const all = through.map(({ plugin, config }) => ({ name: plugin.name, step: plugin.create(config, context) }));
  return new Steps(all, JSON.stringify(through.map(({ written }) => written)));
}

/** What does not go together with steps. */
function refuseThrough({ move, push, delete: deletes }: Pipeline, { sources, keys }: Job, steps: Steps): void {
  const refuse = (what: string, hint: string): never => {
    throw new BrokerError('invalid_config', `through: ${what}`, { hint });
  };
  const transient = sources.find((source) => source.transient === true);
  if (transient !== undefined)
    refuse(`what ${transient.location} writes names its files itself`, 'Leave through out, and use its own options.');
  if (move && steps.makes)
    refuse('what is made on the way does not prove what is deleted in the source', 'Leave move out.');
  if (deletes !== undefined && steps.all.some(({ step }) => step.leaves !== undefined))
    refuse(
      'what a step leaves out would be deleted in the sink',
      'Use filter: of the pipeline, which protects it there.',
    );
  if (deletes !== undefined && keys?.ordered === false)
    refuse('from the keys that the steps make it cannot be told what is in no source', 'Leave delete out.');
  if (push !== undefined && keys?.unique === false && keys.mayCome === undefined)
    refuse('with push each item comes by itself, and whose key it is must be in it', 'Use steps that keep keys apart.');
}

/** A checkpoint and a plan are good for the same items in the same places only; how they are carried may change. */
const fingerprint = ({ sources, sinks, through, filter, key, folderMarkers }: Pipeline): string =>
  createHash('sha256')
    .update(
      JSON.stringify([
        sources.map(({ plugin, written }) => without(written, (plugin.tuning ?? []).map(toWith))),
        sinks.map(({ written }) => written),
        ...(filter === undefined && key === undefined && folderMarkers === 'copy'
          ? []
          : [{ filter, key, folderMarkers }]),
        ...(through.length === 0 ? [] : [{ through: through.map(({ written }) => written) }]),
      ]),
    )
    .digest('hex')
    .slice(0, 32);

/** Options stand below `with`. */
const toWith = (path: string): readonly string[] => ['with', ...path.split('.')];

/** A copy of a value that lacks the members at these paths. */
function without(value: JsonValue, paths: readonly (readonly string[])[]): JsonValue {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value as Readonly<Record<string, JsonValue>>)
      .filter(([name]) => !paths.some((path) => path.length === 1 && path[0] === name))
      .map(([name, inner]) => {
        const below = paths.filter((path) => path.length > 1 && path[0] === name).map((path) => path.slice(1));
        return [name, without(inner, below)];
      }),
  );
}
