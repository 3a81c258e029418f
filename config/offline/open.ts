import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { CredentialCache } from '../../core/auth/cached.ts';
import { authRuntime } from '../../core/auth/runtime.ts';
import type { Offline, OfflineRun, Stored } from '../../core/cli/offline.ts';
import type { Receipt } from '../../core/engine/receipt.ts';
import { run } from '../../core/engine/run.ts';
import { loadPipeline } from '../../core/pipeline/load.ts';
import type { Pipeline } from '../../core/pipeline/validate.ts';
import { jobFactory } from '../../core/runtime/job.ts';
import { untilReady } from '../../core/runtime/patience.ts';
import { processRuntime } from '../../core/runtime/process.ts';
import { transportsFrom } from '../../core/transport/index.ts';
import { localCloud } from '../../test/cloud/local-cloud.ts';
import { endpointsFrom } from '../endpoints.ts';
import { plugins } from '../plugins.ts';
import { BEGINS, cloudFixture, expectKnown } from './fixtures.ts';
import { localPipeline } from './local.ts';
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
    await expectKnown(written, fixtures);
    const environment = { ...withoutAws(process.env), ...cloud.environment, ...sessionFor(written, cloud) };
    const begun = Date.now();
    const now = (): number => BEGINS.getTime() + Date.now() - begun;
    const principals = trust(written, cloud);
    const world = new World(cloud, principals, fixtures);
    world.services(await cloudFixture(fixtures));
    const pipeline = await localPipeline(written, { fixtures, temporary, opened });
    await world.fill(pipeline);
    const endpoints = endpointsFrom(environment);
    const runtime = authRuntime(environment, endpoints);
    const load = async (): Promise<Pipeline> => pipeline;
    const jobs = jobFactory(load, endpoints, runtime, new CredentialCache(Date.now), transportsFrom(environment));
    const own = [...pipeline.sources, ...pipeline.sinks]
      .map(({ plugin }) => plugin)
      .filter((one) => !plugins.includes(one as never));
    return {
      notes: own.map(({ name }) => `the plugin "${name}" is your own: what it asks for is not the local cloud`),
      once: new Set(
        pipeline.through.filter(({ plugin }) => plugin.name === 'encrypt').map(({ plugin }) => plugin.name),
      ),
      run: () => runOnce(() => jobs.open(file, { log: SILENT, now }), now),
      stored: (): Promise<readonly Stored[]> => storedIn(pipeline, cloud),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

/** Who the user is elsewhere, and how the network is reached, is no business of a test. */
const withoutAws = (environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.entries(environment).filter(([name]) => !/^(?:AWS_|ECS_)|^(?:https?|all|node_use_env)_proxy$/i.test(name)),
  );

async function runOnce(
  open: () => ReturnType<ReturnType<typeof jobFactory>['open']>,
  now: () => number,
): Promise<OfflineRun> {
  using own = processRuntime(SILENT);
  const runtime = { ...own, now };
  await using opened = await open();
  const receipts: Receipt[] = [];
  const observer = { receipt: (receipt: Receipt): void => void receipts.push(receipt) };
  const report = await untilReady(() => run(opened.job, { runtime, observer }), runtime);
  return { report, receipts };
}
