import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import type { PluginDefinition } from '../../core/api/index.ts';
import { CredentialCache } from '../../core/auth/cached.ts';
import { authRuntime } from '../../core/auth/runtime.ts';
import type { Offline, OfflineRun, Stored } from '../../core/cli/offline.ts';
import type { Receipt } from '../../core/engine/receipt.ts';
import { run } from '../../core/engine/run.ts';
import { loadPipeline } from '../../core/pipeline/load.ts';
import type { Configured, Pipeline } from '../../core/pipeline/validate.ts';
import { jobFactory } from '../../core/runtime/job.ts';
import { untilReady } from '../../core/runtime/patience.ts';
import { processRuntime } from '../../core/runtime/process.ts';
import { transportsFrom } from '../../core/transport/index.ts';
import { localCloud } from '../../test/cloud/local-cloud.ts';
import { endpointsFrom } from '../endpoints.ts';
import { plugins } from '../plugins.ts';
import { cloudFixture, fixturesIn } from './fixtures.ts';
import { storedIn } from './stored.ts';
import { sessionFor, trust, World } from './world.ts';

const SILENT = { debug: () => {}, info: () => {}, warn: () => {} };

/** Opens a pipeline with a local cloud around it that has what its fixtures hold, and trusts whom it expects to be. */
export async function openOffline(file: string, fixtures: string): Promise<Offline> {
  const opened = new AsyncDisposableStack();
  try {
    const cloud = opened.use(await localCloud());
    const temporary = await mkdtemp(join(tmpdir(), 'isthmus-test-'));
    opened.defer(() => rm(temporary, { recursive: true, force: true }));
    // What the variables of a pipeline name is the user's; who it is, is the local cloud's.
    const written = await loadPipeline(file, { plugins, environment: process.env });
    const environment = { ...process.env, ...cloud.environment, ...sessionFor(written, cloud) };
    const principals = trust(written, cloud);
    const world = new World(cloud, principals, fixtures);
    world.services(await cloudFixture(fixtures));
    const served = await servedFiles(written, fixtures, opened);
    const pipeline = await local(written, { fixtures, temporary, served });
    await world.fill(pipeline);
    const endpoints = endpointsFrom(environment);
    const runtime = authRuntime(environment, endpoints);
    const load = async (): Promise<Pipeline> => pipeline;
    const jobs = jobFactory(load, endpoints, runtime, new CredentialCache(Date.now), transportsFrom(environment));
    return {
      run: () => runOnce(() => jobs.open(file, { log: SILENT, now: Date.now })),
      stored: (): Promise<readonly Stored[]> => storedIn(pipeline, cloud),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

async function runOnce(open: () => ReturnType<ReturnType<typeof jobFactory>['open']>): Promise<OfflineRun> {
  using runtime = processRuntime(SILENT);
  await using opened = await open();
  const receipts: Receipt[] = [];
  const observer = { receipt: (receipt: Receipt): void => void receipts.push(receipt) };
  const report = await untilReady(() => run(opened.job, { runtime, observer }), runtime);
  return { report, receipts };
}

interface Places {
  readonly fixtures: string;
  readonly temporary: string;
  /** Where files of the source are served over HTTP. */
  readonly served: string;
}

/** Files of this machine are those of the fixtures, and of a folder that is gone afterwards; URLs are served here. */
async function local(pipeline: Pipeline, { fixtures, temporary, served }: Places): Promise<Pipeline> {
  const moved = <Definition extends PluginDefinition>(one: Configured<Definition>, path: string) =>
    one.plugin.name === 'file' ? { ...one, config: { ...one.config, path } } : one;
  const source = (index: number): string => (pipeline.sources.length === 1 ? 'source' : `source.${index}`);
  const kept = <Definition extends PluginDefinition>(one: Configured<Definition> | undefined, name: string) =>
    one && moved(one, join(temporary, name));
  return {
    ...pipeline,
    sources: pipeline.sources.map((one, index) =>
      one.plugin.name === 'http' ? overHttp(one, served) : moved(one, join(fixtures, source(index))),
    ),
    sinks: pipeline.sinks.map((one, index) => moved(one, join(temporary, `sink.${index}`))),
    state: kept(pipeline.state, 'state'),
    receipts: kept(pipeline.receipts, 'receipts'),
    deadLetters: kept(pipeline.deadLetters, 'dead-letters'),
  };
}

function overHttp<Definition extends PluginDefinition>(one: Configured<Definition>, served: string) {
  const { urls } = one.config as {
    readonly urls: readonly (string | { readonly url: string; readonly key?: string })[];
  };
  const there = urls.map((entry) => {
    const { url, ...rest } = typeof entry === 'string' ? { url: entry } : entry;
    const { pathname, search } = new URL(url);
    const key = 'key' in rest && rest.key !== undefined ? rest.key : decodeURIComponent(pathname.slice(1));
    return { ...rest, url: `${served}${pathname}${search}`, key };
  });
  return { ...one, config: { ...one.config, urls: there } };
}

/** A web server for the fixtures of a source that is a list of URLs: by the path of the URL. */
async function servedFiles({ sources }: Pipeline, fixtures: string, opened: AsyncDisposableStack): Promise<string> {
  if (!sources.some(({ plugin }) => plugin.name === 'http')) return '';
  const folder =
    sources.length === 1 ? 'source' : `source.${sources.findIndex(({ plugin }) => plugin.name === 'http')}`;
  const files = new Map((await fixturesIn(join(fixtures, folder))).map(({ key, bytes }) => [key, bytes]));
  const server = createServer((request, response) => {
    const bytes = files.get(decodeURIComponent((request.url ?? '/').slice(1).split('?')[0] ?? ''));
    if (bytes === undefined) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-length': bytes.length, etag: `"${bytes.length}"` });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  opened.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
